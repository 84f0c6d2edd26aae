"""Run by an interpreter that can import vLLM: reads command lines as JSON, writes what its parser says of each to a file.

`vllm_accepts.py IN OUT`: IN is a list of lists of words that start with `vllm serve`; OUT gets the version and, for each of them,
the parser's objection, empty where it accepts the words.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NoReturn


class _Refused(Exception):
    """What the parser would have ended the process with."""


def main(source: Path, target: Path) -> None:
    """Ask for every command line."""
    import vllm  # type: ignore[import-not-found]
    from vllm.utils.argparse_utils import FlexibleArgumentParser  # type: ignore[import-not-found]

    sys.path.append(str(Path(__file__).resolve().parents[1] / "releases"))
    from vllm_parser import cli_args  # type: ignore[import-not-found]

    module = cli_args()
    parser = module.make_arg_parser(FlexibleArgumentParser(prog="vllm serve"))
    parser.error = _refuse
    objections = [_objection(module, parser, words[2:]) for words in json.loads(source.read_text())]
    target.write_text(json.dumps({"version": vllm.__version__, "objections": objections}))


def _refuse(message: str) -> NoReturn:
    raise _Refused(message)


def _objection(module: Any, parser: Any, words: list[str]) -> str:
    try:
        args = parser.parse_args(words)
        module.validate_parsed_serve_args(args)
        if args.headless and (args.api_server_count or 0) > 0:  # what ServeSubcommand.cmd refuses first
            return f"--api-server-count={args.api_server_count} cannot be used with --headless"
    except (_Refused, TypeError, ValueError) as error:
        return str(error) or type(error).__name__
    return ""


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
