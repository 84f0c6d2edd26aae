"""Fields of the files an operator writes and of what `-o json` prints: tables and JSON Schemas, from the program's types."""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema
from typing_extensions import get_original_bases

from console.model.cluster import Cluster
from console.model.layout import Layout

_WIDTH = 116
Models = Mapping[str, type[BaseModel]]


def _lineage(model: type) -> Iterator[type]:
    """Its base classes of this project, the first ancestor first, then itself; a TypedDict has no bases in its `__mro__`."""
    for base in get_original_bases(model):
        if inspect.isclass(base) and base.__module__.startswith("console."):
            yield from _lineage(base)
    yield model


def texts(model: type) -> dict[str, str]:
    """Field → the text under it in the source; base classes included."""
    found: dict[str, str] = {}
    for each in _lineage(model):
        try:
            (tree,) = ast.parse(textwrap.dedent(inspect.getsource(each))).body
        except OSError:  # made by a call, so it has no text in the source
            continue
        assert isinstance(tree, ast.ClassDef)
        for before, after in zip(tree.body, tree.body[1:], strict=False):
            if (
                isinstance(before, ast.AnnAssign)
                and isinstance(before.target, ast.Name)
                and isinstance(after, ast.Expr)
            ):
                value = after.value
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    found[before.target.id] = " ".join(value.value.split())
    return found


def _inside(annotation: Any) -> Iterator[type[BaseModel]]:
    """Models an annotation holds."""
    if (
        inspect.isclass(annotation)
        and not isinstance(annotation, types.GenericAlias)
        and issubclass(annotation, BaseModel)
    ):
        yield annotation
    for each in typing.get_args(annotation):
        yield from _inside(each)


def models(root: type[BaseModel], name: str = "") -> dict[str, type[BaseModel]]:
    """Dotted place in the file → the model that reads it, the root first under an empty place."""
    found = {name: root}
    for key, field in root.model_fields.items():
        if field.exclude:
            continue
        many = "*." if typing.get_origin(field.annotation) is dict else ""
        for inner in _inside(field.annotation):
            if inner not in found.values():
                found |= models(inner, f"{name}{key}.{many}")
    return found


def described(made: dict[str, Any], model: type) -> dict[str, Any]:
    """The schema of a class with the text of each field."""
    for key, text in texts(model).items():
        if key in made.get("properties", {}):
            made["properties"][key]["description"] = text
    return made


class FileSchema(GenerateJsonSchema):
    """A schema whose fields have the texts of the source."""

    def model_schema(self, schema: core_schema.ModelSchema) -> dict[str, Any]:
        """Of a pydantic model."""
        return described(super().model_schema(schema), schema["cls"])


def schema_text(made: Mapping[str, Any]) -> str:
    """A schema as the text of its file."""
    return _written({"$schema": "https://json-schema.org/draft/2020-12/schema", **made}, 0) + "\n"


def _written(value: Any, depth: int) -> str:
    """JSON with everything on one line that fits there."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    if depth + len(text) <= _WIDTH or not isinstance(value, dict | list):
        return text
    pad = "\n" + " " * (depth + 1)
    if isinstance(value, list):
        return f"[{pad}" + f",{pad}".join(_written(each, depth + 1) for each in value) + f"{pad[:-1]}]"
    parts = (f"{json.dumps(key)}: {_written(each, depth + 1)}" for key, each in sorted(value.items()))
    return f"{{{pad}" + f",{pad}".join(parts) + f"{pad[:-1]}}}"


def schema(root: type[BaseModel]) -> str:
    """JSON Schema of a file, with the text of each field."""
    return schema_text(root.model_json_schema(schema_generator=FileSchema))


def tables(root: type[BaseModel]) -> Iterator[str]:
    """A table of fields for each mapping of a file."""
    for place, model in models(root).items():
        known = texts(model)
        title = place.rstrip(".") or "The file"
        yield from ("", f"### `{title}`" if place else f"### {title}", "")
        if model.__doc__ and place:
            yield from (" ".join(model.__doc__.split()), "")
        yield from ("| field | type | default | meaning |", "|---|---|---|---|")
        for key, field in model.model_fields.items():
            if not field.exclude:
                default = "required" if field.is_required() else _default(field.get_default(call_default_factory=True))
                text = known.get(key, "").replace("|", "&#124;")
                yield f"| `{key}` | {_type(field.annotation)} | {default} | {text} |"


def _default(value: object) -> str:
    if value is None or value in ("", (), {}, []) or isinstance(value, BaseModel):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _type(annotation: Any) -> str:
    """A type in the words of YAML."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return ", ".join(f"`{each}`" for each in inner)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(_type(each) for each in inner if each is not type(None)))
    if origin is dict:
        return "mapping"
    if origin in (tuple, list):
        return "list"
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return "mapping"
    return {"str": "text", "int": "integer", "float": "number", "bool": "true or false", "SecretStr": "text"}.get(
        getattr(annotation, "__name__", ""), "any"
    )


SCHEMAS: Models = {"cluster": Cluster, "layout": Layout}
