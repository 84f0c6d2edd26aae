"""The file of `vllm serve --config`, as the flags that vLLM makes of it (vLLM 0.21 utils/argparse_utils.py)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import JsonValue

from console.files import read_document
from console.services.importing.shell_scripts.builtins import not_read
from console.services.importing.shell_scripts.script_state import fault
from console.services.importing.shell_scripts.wrappers import program

if TYPE_CHECKING:
    from console.services.importing.shell_scripts.interpreter import Shell


def with_config(shell: Shell, words: list[str]) -> list[str]:
    """The words behind `vllm serve`, with the flags of the file that `--config` names; those among the words count.

    Without that file the words stay as they are, and a note says so. Raises FileError when the file is no mapping.
    """
    at = next((at for at, word in enumerate(words) if word.partition("=")[0] == "--config"), None)
    if at is None:
        return words
    _, equals, path = words[at].partition("=")
    path = path if equals else "".join(words[at + 1 : at + 2])
    script = shell.world.files.get(program(path))
    if script is None:
        not_read(shell, path)
        return words
    shell.world.ran.add(script.path)
    value = read_document(("\n" * (script.line - 1) + script.text).encode(), script.path, schema="1.1").value
    if not isinstance(value, dict):
        raise fault(script.path, script.line, "is no file of --config: it must be a mapping of flags")
    rest = [*words[:at], *words[at + (1 if equals else 2) :]]
    model = 1 if rest and not rest[0].startswith("-") else 0
    given = {word.partition("=")[0] for word in rest} | ({"--model"} if model else set())
    return [
        *rest[:model],
        *_flags({key: each for key, each in value.items() if f"--{key}" not in given}),
        *rest[model:],
    ]


def _flags(config: dict[str, JsonValue]) -> Iterator[str]:
    for key, value in config.items():
        if isinstance(value, bool):
            yield f"--{key}" if value else f"--no-{key}"
        elif isinstance(value, list):
            yield from (f"--{key}", *map(str, value)) if value else ()
        elif value is not None:
            yield from (f"--{key}", json.dumps(value) if isinstance(value, dict) else str(value))
