"""Rules about what the layout's release knows: flags, their values, variables, keys and connectors. V1–V6.

The facts come from the releases' own parsers (console.releases). Nothing is claimed of a release without facts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping

from pydantic import JsonValue

from console.model.findings import Severity
from console.model.image_name import tag_of
from console.model.suggestions import suggestions
from console.releases.facts import (
    Flag,
    Kind,
    Release,
    first_and_last,
    gone_since,
    key_history,
    names,
    release_of,
    value_history,
)
from console.releases.renames import rename_of, shown_setting
from console.rules.rule import INERT, Hit, Rule, RuleContext
from console.rules.transfer import at_connector

_LIKE = 0.75
"""The likeness that a suggestion needs here: these names have many words in common."""
_MOST = 12
"""How many values are listed."""
_SIZE = re.compile(r"-1|auto|\d+(?:\.\d+)?[kKmMgGtT]?")
_NUMBERS = {
    "int": re.compile(r"[+-]?\d+"),
    "float": re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"),
    "size": _SIZE,
}
_WANTED = {
    "int": "a whole number",
    "float": "a number",
    "size": "a whole number, which may end with k, m or g",
    "json": "JSON, or a mapping in the layout",
    "text": "a value",
}


def like(name: str, known: Collection[str]) -> tuple[str, ...]:
    """The known names that `name` may have been meant for, the likeliest first, three at most."""
    return suggestions(name, known, least=_LIKE)


def _with_facts(check: Callable[[RuleContext, Release], Iterator[Hit]]) -> Callable[[RuleContext], Iterator[Hit]]:
    """The check for layouts of a release with facts; of others it claims nothing."""

    def checked(scene: RuleContext) -> Iterator[Hit]:
        release = release_of(scene.layout)
        return check(scene, release) if release is not None else iter(())

    return checked


def _no_facts(scene: RuleContext) -> Iterator[Hit]:
    said = scene.layout.version or tag_of(scene.layout.image)
    if release_of(scene.layout) is None and said:
        held = f"{names()[0]} to {names()[-1]}"
        message = f"no facts about {said}: its flags, variables and keys are not checked (there are facts for {held})"
        yield Hit(message, scene.at_top("version"))


@_with_facts
def _flags(scene: RuleContext, release: Release) -> Iterator[Hit]:
    for group in scene.groups:
        for written, _, path in scene.written(group):
            flag = written.partition(".")[0]
            negated = flag.removeprefix("no-")
            if flag in release.flags or (negated in release.flags and release.flags[negated].takes == "switch"):
                continue
            whole = [name for name in release.flags if name.startswith(flag) and not release.flags[name].same_as]
            if len(whole) == 1:
                message = f"{group}: --{flag} is short for --{whole[0]}; a later release may have a second flag that starts so"
                yield Hit(message, scene.at_path(group, path), Severity.WARNING)
            else:
                message = f"{group}: {release.name} has no flag --{flag}{instead('flags', flag, release, '--')}"
                yield Hit(message, scene.at_path(group, path))


@_with_facts
def _values(scene: RuleContext, release: Release) -> Iterator[Hit]:
    for group in scene.groups:
        for written, value, path in scene.written(group):
            flag = release.flags.get(written)
            trouble = value_trouble(written, flag, value, release) if flag is not None else ""
            if trouble:
                yield Hit(f"{group}: --{written} {trouble}", scene.at_path(group, path))


def value_trouble(name: str, flag: Flag, value: JsonValue, release: Release) -> str:
    """What is wrong with a value, in words; empty when the parser accepts it."""
    if flag.takes in ("switch", "nothing"):
        if value is True or (value is False and flag.takes == "switch"):
            return ""
        if value is False:
            return "has no --no- form"
        return "takes no value: write true or false"
    if value is True:
        return "" if flag.optional else f"needs {_WANTED[flag.takes]}"
    if value is False:
        return f"has no --no- form; it takes {_WANTED[flag.takes]}"
    texts = [_text(each) for each in value] if isinstance(value, list) and flag.many else [_text(value)]
    for text in texts:
        if "{" in text and flag.takes != "json":
            continue
        if flag.choices and text not in flag.choices:
            return f"is {text!r}; {_allowed(text, flag.choices, value_history(name, '', text, release.name))}"
        if flag.takes in _NUMBERS and not _NUMBERS[flag.takes].fullmatch(text):
            return f"is {text!r}; it takes {_WANTED[flag.takes]}"
    return ""


def _allowed(text: str, texts: Collection[str], history: str) -> str:
    """What to write in the place of a value that is not allowed: since when it is not, what was meant, or what there is."""
    if history:
        return f"that is {history}"
    if close := like(text, texts):
        return f"did you mean {close[0]}?"
    some = list(texts)[:_MOST]
    return f"it takes one of {', '.join(some)}{f' and {len(texts) - _MOST} more' if len(texts) > _MOST else ''}"


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value)


@_with_facts
def _variables(scene: RuleContext, release: Release) -> Iterator[Hit]:
    for group in scene.groups:
        for name in scene.env(group):
            if name.startswith("VLLM_") and name not in release.env and name not in INERT:
                more = instead("env", name, release)
                yield Hit(f"{group}: {release.name} reads no variable {name}{more}", scene.at(group, "env", name))


@_with_facts
def _keys(scene: RuleContext, release: Release) -> Iterator[Hit]:
    for group in scene.groups:
        for written, value, path in scene.written(group):
            flag, _, dotted = written.partition(".")
            if flag == "additional-config":
                for key in json_keys(value, dotted):
                    if key not in release.additional:
                        more = instead("additional", key, release)
                        message = f"{group}: {release.name} reads no {key} in --additional-config{more}"
                        severity = Severity.ERROR if release.strict else None
                        yield Hit(message, scene.at_path(group, path, key), severity)
            elif (known := release.flags.get(flag)) is not None and known.keys is not None:
                for key, message in key_troubles(flag, known.keys, json_keys(value, dotted), release):
                    yield Hit(f"{group}: {message}", scene.at_path(group, path, key))


def key_troubles(
    flag: str, known: Mapping[str, tuple[str, ...]], written: Mapping[str, JsonValue], release: Release
) -> Iterator[tuple[str, str]]:
    """(key, what is wrong with it) of the keys of a JSON flag."""
    for key, value in written.items():
        if key not in known:
            history, close = key_history(flag, key, release.name), like(key, known)
            meant = f"; it is {history}" if history else f"; did you mean {close[0]}?" if close else ""
            yield key, f"--{flag} has no key {key}{meant}"
        elif known[key] and isinstance(value, str) and value not in known[key] and "{" not in value:
            meant = _allowed(value, known[key], value_history(flag, key, value, release.name))
            yield key, f"--{flag} has {key} {value!r}, which this release does not know; {meant}"


def json_keys(value: JsonValue, dotted: str) -> dict[str, JsonValue]:
    """The keys that a JSON flag gets, from a mapping, from its text, or from `flag.key` itself."""
    if dotted:
        return {dotted.partition(".")[0]: value if "." not in dotted else None}
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return value if isinstance(value, dict) else {}


@_with_facts
def _connectors(scene: RuleContext, release: Release) -> Iterator[Hit]:
    for group in scene.groups:
        transfer = scene.transfer(group)
        name = transfer.get("kv_connector")
        if isinstance(name, str) and name not in release.connectors and "kv_connector_module_path" not in transfer:
            more = instead("connectors", name, release)
            yield Hit(f"{group}: {release.name} has no KV connector {name}{more}", at_connector(scene, group))


def instead(kind: Kind, name: str, release: Release, dashes: str = "") -> str:
    """Why a release may lack a name: it came later or is gone, or another name was meant; empty when nothing is known."""
    if since := gone_since(kind, name, release.name):
        renamed = rename_of(f"additional-config.{name}" if kind == "additional" else name, release)
        new = f"; {shown_setting(renamed.new)} takes its place" if renamed and renamed.new else ""
        return f"; it is gone since {since}{new or (renamed and f': {renamed.hint}') or ''}"
    if first := first_and_last(kind, name)[0]:
        return f"; it is there since {first}"
    close = like(name, release.known(kind))
    return f"; did you mean {dashes}{close[0]}?" if close else ""


_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE
_WHY = "The parser of `vllm serve` ends the start with it, after the image was started on every node."
_SOURCE = "the release's own parser and source, collected by `make releases`"
RULES = (
    Rule(
        "V1",
        "The release is one with known facts",
        _N,
        "Flags, variables and keys are compared with what each release knows.",
        "Set `version` to the vllm-ascend release of the image, or read the release notes.",
        _SOURCE,
        _no_facts,
    ),
    Rule(
        "V2",
        "The release knows every flag",
        _E,
        _WHY,
        "Correct the flag, or use a release that has it.",
        _SOURCE,
        _flags,
    ),
    Rule("V3", "Flags have values that their parser accepts", _E, _WHY, "Correct the value.", _SOURCE, _values),
    Rule(
        "V4",
        "The release reads every VLLM_ variable",
        _W,
        "A variable that nothing reads is ignored without a message.",
        "Correct the name, or remove the variable.",
        _SOURCE,
        _variables,
    ),
    Rule(
        "V5",
        "The release knows every key of a JSON flag",
        _W,
        "An unknown key of --additional-config is ignored in silence up to 0.26.0rc1 and ends the start from 0.27.1rc1 on. "
        "Other JSON flags refuse it when the engine starts.",
        "Correct the key, or remove it.",
        _SOURCE,
        _keys,
    ),
    Rule(
        "V6",
        "The release has the KV connector",
        _E,
        "An unknown connector ends the start of every engine of the group.",
        "Use a connector of this release.",
        _SOURCE,
        _connectors,
    ),
)
