"""A checker for the part of JSON Schema that the Kubernetes definitions use; anything else in a schema is an error here."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DEFINITIONS: dict[str, Any] = json.loads((Path(__file__).parent / "kubernetes" / "definitions.json").read_text())

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
_READ = {
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "enum",
    "oneOf",
    "$ref",
    "format",
    "default",
}


def faults(value: Any, definition: str) -> list[str]:
    """What is wrong with a value by a definition, for example `io.k8s.api.core.v1.PodTemplateSpec`."""
    return list(_faults(value, DEFINITIONS[definition], "$"))


def _faults(value: Any, schema: dict[str, Any], where: str) -> Iterator[str]:
    if "$ref" in schema:
        yield from _faults(value, DEFINITIONS[schema["$ref"].rpartition("/")[2]], where)
        return
    unread = {key for key in schema if key not in _READ and not key.startswith("x-")}
    assert not unread, f"this checker does not know {unread}"
    if "oneOf" in schema:
        if sum(not list(_faults(value, each, where)) for each in schema["oneOf"]) != 1:
            yield f"{where}: {value!r} fits not exactly one of {schema['oneOf']}"
        return
    kinds = schema.get("type", list(_TYPES))
    kinds = [kinds] if isinstance(kinds, str) else kinds
    fits = any(isinstance(value, _TYPES[kind]) and (kind == "boolean") == isinstance(value, bool) for kind in kinds)
    if not fits:
        yield f"{where}: {value!r} is not {kinds}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where}: {value!r} is not one of {schema['enum']}"
    if isinstance(value, dict):
        yield from _object_faults(value, schema, where)
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _faults(item, schema.get("items", {}), f"{where}[{index}]")


def _object_faults(value: dict[str, Any], schema: dict[str, Any], where: str) -> Iterator[str]:
    known = schema.get("properties", {})
    other = schema.get("additionalProperties", True)
    for key in schema.get("required", []):
        if key not in value:
            yield f"{where}: {key} is missing"
    for key, item in value.items():
        if key in known:
            yield from _faults(item, known[key], f"{where}.{key}")
        elif other is False:
            yield f"{where}: {key} is not a key"
        elif isinstance(other, dict):
            yield from _faults(item, other, f"{where}.{key}")


def is_label(name: str) -> bool:
    """Whether a name is an RFC 1123 label."""
    return re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name) is not None
