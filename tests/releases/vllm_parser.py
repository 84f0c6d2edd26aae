"""Run by an interpreter that can import vLLM: `vllm_parser.py VERSION OUT` writes the flags of `vllm serve`, the keys of its JSON
flags, the variables, and the defaults of all three, as this release itself has them.
"""

from __future__ import annotations

import argparse
import dataclasses
import enum
import importlib
import inspect
import json
import os
import sys
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

JSON_FLAGS = {"speculative-config": "SpeculativeConfig", "kv-transfer-config": "KVTransferConfig"}
"""Flags whose parser only loads JSON and whose class is known by name."""


def main(version: str, target: Path) -> None:
    """Write what the importable vLLM knows."""
    from vllm import envs  # type: ignore[import-not-found]
    from vllm.utils.argparse_utils import FlexibleArgumentParser  # type: ignore[import-not-found]

    actions = cli_args().make_arg_parser(FlexibleArgumentParser(prog="vllm serve"))._actions
    flags = [described(action) for action in actions if action.option_strings and action.dest != "help"]
    for name in [name for name in os.environ if name.startswith("VLLM_")]:
        del os.environ[name]
    env = {name: _called(read) for name, read in sorted(envs.environment_variables.items())}
    target.write_text(json.dumps({"vllm": version, "flags": flags, "env": env}, indent=0))
    with_keys = [f"{each['names'][0]} {len(each['keys'])}" for each in flags if "keys" in each]
    print(
        version, f"{len(flags)} flags,", f"{len(envs.environment_variables)} variables; keys of", ", ".join(with_keys)
    )


def cli_args() -> Any:
    """The module that makes the parser. It was moved in 0.29.0 and in 0.33.0; the newest place comes first."""
    for package in ("common", "launchers"):
        try:
            return importlib.import_module(f"vllm.entrypoints.{package}.cli_args")
        except ModuleNotFoundError:
            continue
    return importlib.import_module("vllm.entrypoints.openai.cli_args")


def described(action: argparse.Action) -> dict[str, Any]:
    """What the parser says of one flag, as plain data."""
    kinds = list(_inner(action.type))
    found: dict[str, Any] = {
        "names": list(action.option_strings),
        "nargs": action.nargs,
        "action": type(action).__name__,
        "type": getattr(kinds[-1], "__name__", None) if kinds else None,
        "choices": [_plain(each) for each in action.choices] if action.choices is not None else None,
        "default": _default(action.default),
    }
    classes = [kind for kind in kinds if inspect.isclass(kind) and dataclasses.is_dataclass(kind)]
    classes += [_named(JSON_FLAGS[name[2:]]) for name in action.option_strings if name[2:] in JSON_FLAGS]
    if classes:
        found["keys"] = _keys(classes[-1])
        found["key_defaults"] = _key_defaults(classes[-1])
    return found


def _inner(kind: Any) -> Iterator[Any]:
    """A type of an argument and what it wraps: vLLM makes optional and dataclass types by closures and by default arguments."""
    if kind is None:
        return
    yield kind
    wrapped = [cell.cell_contents for cell in getattr(kind, "__closure__", None) or ()]
    for each in (*wrapped, *(getattr(kind, "__defaults__", None) or ())):
        if callable(each):
            yield from _inner(each)


def _named(name: str) -> Any:
    import vllm.config  # type: ignore[import-not-found]

    return getattr(vllm.config, name)


def _keys(cls: Any) -> dict[str, list[str] | None]:
    """The keys of a configuration class, each with the texts it allows, None where it allows others."""
    try:
        hints = typing.get_type_hints(cls, include_extras=True)
    except (NameError, TypeError):
        hints = {}
    return {each.name: _texts(hints.get(each.name)) for each in dataclasses.fields(cls) if each.init}


def _key_defaults(cls: Any) -> dict[str, str]:
    """The defaults of a configuration class, as JSON, of those keys that have a plain one."""
    found = {}
    for each in dataclasses.fields(cls):
        if each.init and each.default is not dataclasses.MISSING:
            found[each.name] = _default(getattr(each.default, "default", each.default))
        elif each.init and each.default_factory is not dataclasses.MISSING:
            found[each.name] = _called(each.default_factory)
    return {name: text for name, text in found.items() if text}


def _called(make: Callable[[], Any]) -> str:
    """What a function without arguments gives, as JSON; empty when it is not plain, or cannot be made here."""
    try:
        return _default(make())
    except (ArithmeticError, AttributeError, ImportError, LookupError, OSError, RuntimeError, TypeError, ValueError):
        return ""


def _default(value: Any) -> str:
    """A default as JSON; empty when it is no plain value or holds a path of this machine."""
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, set | frozenset):
        value = sorted(value, key=str)
    try:
        text = json.dumps(value)
    except (TypeError, ValueError):
        return ""
    return "" if os.path.expanduser("~") in text or "/tmp" in text else text


def _texts(hint: Any) -> list[str] | None:
    origin, args = typing.get_origin(hint), [each for each in typing.get_args(hint) if each is not type(None)]
    if origin is typing.Literal:
        return [str(each) for each in args]
    if origin is typing.Annotated:
        return _texts(args[0])
    if origin in (typing.Union, types.UnionType):
        found = [_texts(each) for each in args]
        return (
            sorted({text for texts in found for text in texts or ()})
            if all(each is not None for each in found)
            else None
        )
    if inspect.isclass(hint) and issubclass(hint, enum.Enum) and all(isinstance(each.value, str) for each in hint):
        return [each.value for each in hint]
    return None


def _plain(value: Any) -> str:
    return str(value.value if isinstance(value, enum.Enum) else value)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
