"""The first code that runs on a node: reads the bundle from stdin, checks it, and starts the helper.

It is sent as text before other modules can be imported, so it imports none of them. Interpreters that are too old for the
bundle can still parse it and report their version.
"""

import hashlib
import json
import sys
import zlib
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType
from typing import BinaryIO, Dict, List, Optional

TOO_OLD = 97
DAMAGED = 98
"""Exit codes that the console recognizes."""


class Bundle:
    """Finds the modules of the bundle in memory, before modules of the node with the same names."""

    def __init__(self, sources: Dict[str, str]) -> None:
        self.sources = sources

    def find_spec(self, name: str, path: object = None, target: object = None) -> Optional[ModuleSpec]:
        """The spec of a module of the bundle, or None."""
        if name not in self.sources and name != "console":
            return None
        return ModuleSpec(name, self, is_package=name in ("console", "console.node"))  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> Optional[ModuleType]:
        """Use the default module type."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Run the source of a module."""
        name = module.__name__
        code: CodeType = compile(self.sources.get(name, ""), "<dsv4-console %s>" % name, "exec")
        exec(code, module.__dict__)


def receive(stream: BinaryIO) -> Dict[str, str]:
    """Read `LENGTH SHA256`, then the bundle: module name → source. Ends the process when it is damaged."""
    words = stream.readline().split()
    data = stream.read(int(words[0])) if len(words) == 2 else b""
    if len(words) != 2 or hashlib.sha256(data).hexdigest().encode() != words[1]:
        sys.stderr.write("dsv4-console: the helper arrived damaged\n")
        sys.exit(DAMAGED)
    sources: Dict[str, str] = json.loads(zlib.decompress(data).decode("utf-8"))
    return sources


def start(argv: List[str]) -> None:
    """Receive the bundle and run the helper, or with `supervise RUNDIR` a supervisor."""
    if sys.version_info < (3, 7):
        sys.stderr.write("dsv4-console: Python 3.7 or later is needed, this is %s\n" % sys.version.split()[0])
        sys.exit(TOO_OLD)
    sources = receive(sys.stdin.buffer)
    sys.meta_path.insert(0, Bundle(sources))
    if argv[:1] == ["supervise"]:
        from console.node.supervisor import supervise

        supervise(argv[1], stay="stay" in argv[2:])
    else:
        from console.node.helper import main

        main(sources)
