"""A checker for the part of JSON Schema that Kubernetes and the schemas of this project use; anything else in one is an error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]
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
    "const",
    "anyOf",
    "prefixItems",
    "minItems",
    "maxItems",
}
_IGNORED = {"title", "description", "$defs", "$schema"}


def faults(value: Any, schema: Schema, definitions: Schema) -> list[str]:
    """What is wrong with a value by a schema, whose `$ref` is looked up in the definitions by its last word."""
    return list(_faults(value, schema, definitions, "$"))


def _faults(value: Any, schema: Schema, definitions: Schema, where: str) -> Iterator[str]:
    if "$ref" in schema:
        yield from _faults(value, definitions[schema["$ref"].rpartition("/")[2]], definitions, where)
        return
    unread = {key for key in schema if key not in _READ | _IGNORED and not key.startswith("x-")}
    assert not unread, f"this checker does not know {unread}"
    if "oneOf" in schema:
        if sum(not list(_faults(value, each, definitions, where)) for each in schema["oneOf"]) != 1:
            yield f"{where}: {value!r} fits not exactly one of {schema['oneOf']}"
        return
    if "anyOf" in schema:
        each_way = [list(_faults(value, each, definitions, where)) for each in schema["anyOf"]]
        if all(each_way):
            yield from min(
                each_way, key=lambda found: (any(each.startswith(f"{where}: ") for each in found), len(found))
            )
        return
    kinds = schema.get("type", list(_TYPES))
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if not any(isinstance(value, _TYPES[kind]) and (kind == "boolean") == isinstance(value, bool) for kind in kinds):
        yield f"{where}: {value!r} is not {kinds}"
        return
    if value not in schema.get("enum", [value]) or value != schema.get("const", value):
        yield f"{where}: {value!r} is not one of {schema.get('enum', schema.get('const'))}"
    if isinstance(value, dict):
        yield from _object_faults(value, schema, definitions, where)
    if isinstance(value, list):
        yield from _list_faults(value, schema, definitions, where)


def _list_faults(value: list[Any], schema: Schema, definitions: Schema, where: str) -> Iterator[str]:
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        yield f"{where}: has {len(value)} items"
    first = schema.get("prefixItems", [])
    for index, item in enumerate(value):
        part = first[index] if index < len(first) else schema.get("items", {})
        yield from _faults(item, part, definitions, f"{where}[{index}]")


def _object_faults(value: dict[str, Any], schema: Schema, definitions: Schema, where: str) -> Iterator[str]:
    known = schema.get("properties", {})
    other = schema.get("additionalProperties", True)
    for key in schema.get("required", []):
        if key not in value:
            yield f"{where}: {key} is missing"
    for key, item in value.items():
        if key in known:
            yield from _faults(item, known[key], definitions, f"{where}.{key}")
        elif other is False:
            yield f"{where}: {key} is not a key"
        elif isinstance(other, dict):
            yield from _faults(item, other, definitions, f"{where}.{key}")
