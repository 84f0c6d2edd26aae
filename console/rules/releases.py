"""Rules about the flags, values, variables, keys and connectors that a release accepts: V1–V6.

The facts come from the parsers of the releases (console.releases). A release without facts is not judged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping

from pydantic import JsonValue

from console.model.findings import Severity
from console.model.image_name import tag_of
from console.model.shortening import list_text, shortened
from console.model.suggestions import slip_of, suggestions
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
from console.rules.rule import INERT, Rule, RuleContext, Violation, json_of
from console.rules.transfer import at_connector

_LIKE = 0.75
"""Least similarity of a suggestion; it is high because these names have many words in common."""
_MOST = 12
"""Most values that a message lists."""
_SIZE = re.compile(r"-1|auto|\d+(?:\.\d+)?[kKmMgGtT]?")
_OF_OTHERS = frozenset(
    (
        *("ACL_OP_INIT_MODE", "ASCEND_AGGREGATE_ENABLE", "ASCEND_BASE_PORT", "ASCEND_BUFFER_POOL"),
        *("ASCEND_CONNECT_TIMEOUT", "ASCEND_GLOBAL_LOG_LEVEL", "ASCEND_LAUNCH_BLOCKING"),
        *("ASCEND_RT_VISIBLE_DEVICES", "ASCEND_TRANSFER_TIMEOUT", "ASCEND_TRANSPORT_PRINT"),
        *("CPU_AFFINITY_CONF", "GLOO_SOCKET_IFNAME", "HCCL_BUFFSIZE", "HCCL_CONNECT_TIMEOUT"),
        *("HCCL_DETERMINISTIC", "HCCL_EXEC_TIMEOUT", "HCCL_IF_BASE_PORT", "HCCL_IF_IP"),
        *("HCCL_INTRA_PCIE_ENABLE", "HCCL_INTRA_ROCE_ENABLE", "HCCL_OP_EXPANSION_MODE", "HCCL_SOCKET_IFNAME"),
        *("LD_LIBRARY_PATH", "LD_PRELOAD", "MOONCAKE_CONFIG_PATH", "NUMEXPR_MAX_THREADS", "OMP_NUM_THREADS"),
        *("OMP_PROC_BIND", "PYTHONHASHSEED", "PYTORCH_NPU_ALLOC_CONF", "TASK_QUEUE_ENABLE"),
        *("TP_SOCKET_IFNAME",),
    )
)
"""Variables that CANN, torch_npu, Mooncake and the C libraries read, as upstream's tutorials and CI configurations set them."""
_OBJECT_OR_TEXT = ("additional-config", "hf-overrides", "model-loader-extra-config")
"""Flags whose value is JSON when it stands in braces, else a text (vllm/engine/arg_utils.py, union_dict_and_str)."""
_NOTHING = ("", "None", "null")
"""Texts by which a JSON flag keeps its default."""
_NUMBERS = {
    "int": re.compile(r"[+-]?\d+"),
    "float": re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"),
    "size": _SIZE,
}
_WANTED = {
    "int": "a whole number",
    "float": "a number",
    "size": "a whole number, with k, m or g at its end if needed",
    "json": "JSON, or a mapping in the layout",
    "text": "a value",
}


def like(name: str, known: Collection[str]) -> tuple[str, ...]:
    """The known names that are similar to `name`, the most similar first, three at most."""
    return suggestions(name, known, least=_LIKE)


def _with_facts(
    check: Callable[[RuleContext, Release], Iterator[Violation]],
) -> Callable[[RuleContext], Iterator[Violation]]:
    """The check, for layouts of a release with facts only."""

    def checked(context: RuleContext) -> Iterator[Violation]:
        release = release_of(context.layout)
        return check(context, release) if release is not None else iter(())

    return checked


def _no_facts(context: RuleContext) -> Iterator[Violation]:
    named = context.layout.version or tag_of(context.layout.image)
    if release_of(context.layout) is None and named:
        known = f"{names()[0]} to {names()[-1]}"
        message = f"{named} is not a known release: its flags, variables and keys are not checked (known: {known})"
        yield Violation(message, context.at_top("version"))


@_with_facts
def _flags(context: RuleContext, release: Release) -> Iterator[Violation]:
    for group in context.groups:
        for written, _, path in context.written(group):
            flag = written.partition(".")[0]
            negated = flag.removeprefix("no-")
            if flag in release.flags or (negated in release.flags and release.flags[negated].takes == "switch"):
                continue
            whole = [name for name in release.flags if name.startswith(flag) and not release.flags[name].same_as]
            if len(whole) == 1:
                message = (
                    f"{group}: --{flag} is an abbreviation of --{whole[0]}; in a later release it may be ambiguous"
                )
                yield Violation(message, context.at_path(group, path), Severity.WARNING)
            else:
                message = f"{group}: {release.name} has no flag --{flag}{instead('flags', flag, release, '--')}"
                yield Violation(message, context.at_path(group, path))


@_with_facts
def _values(context: RuleContext, release: Release) -> Iterator[Violation]:
    for group in context.groups:
        for written, value, path in context.written(group):
            flag = release.flags.get(written)
            trouble = value_trouble(written, flag, value, release) if flag is not None else ""
            if trouble:
                yield Violation(f"{group}: --{written} {trouble}", context.at_path(group, path))


def value_trouble(name: str, flag: Flag, value: JsonValue, release: Release) -> str:
    """What is wrong with the value of a flag; empty when the parser accepts it."""
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
        braced = name in _OBJECT_OR_TEXT and re.fullmatch(r"(?s)\s*\{.*\}\s*", text)
        if (flag.takes == "json" or braced) and text not in _NOTHING and json_of(text) is None:
            return f"is {shortened(text, 40)!r}, which is no JSON; write JSON, or a mapping in the layout"
        if "{" in text and flag.takes != "json":
            continue
        if flag.choices and text not in flag.choices:
            return f"is {text!r}; {_allowed(text, flag.choices, value_history(name, '', text, release.name))}"
        if flag.takes in _NUMBERS and not _NUMBERS[flag.takes].fullmatch(text):
            return f"is {text!r}; it takes {_WANTED[flag.takes]}"
    return ""


def _allowed(text: str, texts: Collection[str], history: str) -> str:
    """What to use instead of a value that is not allowed: its history, the similar value, or all allowed values."""
    if history:
        return f"it was {history}"
    if close := like(text, texts):
        return f"did you mean {close[0]}?"

    return f"it takes one of {list_text(list(texts), _MOST)}"


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value)


@_with_facts
def _variables(context: RuleContext, release: Release) -> Iterator[Violation]:
    for group in context.groups:
        for name in context.env(group):
            if name in release.env or name in INERT or name in _OF_OTHERS:
                continue
            if name.startswith("VLLM_"):
                message = f"{group}: {release.name} reads no variable {name}{instead('env', name, release)}"
            elif close := slip_of(name, release.env | _OF_OTHERS):
                message = f"{group}: nothing known reads a variable {name}; did you mean {close}?"
            else:
                continue
            yield Violation(message, context.at(group, "env", name))


@_with_facts
def _keys(context: RuleContext, release: Release) -> Iterator[Violation]:
    for group in context.groups:
        for written, value, path in context.written(group):
            flag, _, dotted = written.partition(".")
            if flag == "additional-config":
                for key in json_keys(value, dotted):
                    if key not in release.additional:
                        more = instead("additional", key, release)
                        message = f"{group}: {release.name} reads no {key} in --additional-config{more}"
                        severity = Severity.ERROR if release.strict else None
                        yield Violation(message, context.at_path(group, path, key), severity)
            elif (known := release.flags.get(flag)) is not None and known.keys is not None:
                for key, message in key_troubles(flag, known.keys, json_keys(value, dotted), release):
                    yield Violation(f"{group}: {message}", context.at_path(group, path, key))


def key_troubles(
    flag: str, known: Mapping[str, tuple[str, ...]], written: Mapping[str, JsonValue], release: Release
) -> Iterator[tuple[str, str]]:
    """(key, what is wrong with it) for the wrong keys of a JSON flag."""
    for key, value in written.items():
        if key not in known:
            history, close = key_history(flag, key, release.name), like(key, known)
            meant = f"; it was {history}" if history else f"; did you mean {close[0]}?" if close else ""
            yield key, f"--{flag} has no key {key}{meant}"
        elif known[key] and isinstance(value, str) and value not in known[key] and "{" not in value:
            meant = _allowed(value, known[key], value_history(flag, key, value, release.name))
            yield key, f"--{flag} has {key} {value!r}, which this release does not know; {meant}"


def json_keys(value: JsonValue, dotted: str) -> dict[str, JsonValue]:
    """The keys of a JSON flag: from a mapping, from its text, or from the `flag.key` form (`dotted`)."""
    if dotted:
        return {dotted.partition(".")[0]: value if "." not in dotted else None}
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return value if isinstance(value, dict) else {}


@_with_facts
def _connectors(context: RuleContext, release: Release) -> Iterator[Violation]:
    for group in context.groups:
        transfer = context.transfer(group)
        name = transfer.get("kv_connector")
        if isinstance(name, str) and name not in release.connectors and "kv_connector_module_path" not in transfer:
            more = instead("connectors", name, release)
            yield Violation(f"{group}: {release.name} has no KV connector {name}{more}", at_connector(context, group))


def instead(kind: Kind, name: str, release: Release, dashes: str = "") -> str:
    """Why a release lacks a name: it was added later, it was removed, or the name is misspelt; empty when nothing is known."""
    if since := gone_since(kind, name, release.name):
        renamed = rename_of(f"additional-config.{name}" if kind == "additional" else name, release)
        new = f"; {shown_setting(renamed.new)} replaces it" if renamed and renamed.new else ""
        return f"; it was removed in {since}{new or (renamed and f': {renamed.hint}') or ''}"
    if first := first_and_last(kind, name)[0]:
        return f"; it was added in {first}"
    close = like(name, release.known(kind))
    return f"; did you mean {dashes}{close[0]}?" if close else ""


_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE
_WHY = "`vllm serve` refuses an unknown flag or an invalid value and exits, after the containers were started on every node."
_SOURCE = "the parser and the source of the release, collected by `make releases`"
RULES = (
    Rule(
        "V1",
        "The release is known",
        _N,
        "The console compares flags, variables and keys with the facts of the release.",
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
        "An unknown variable is ignored without a message. Other names than VLLM_… are reported when one letter differs from "
        "a known one.",
        "Correct the name, or remove the variable.",
        _SOURCE,
        _variables,
    ),
    Rule(
        "V5",
        "The release knows every key of a JSON flag",
        _W,
        "Up to 0.26.0rc1 vllm-ascend ignores an unknown key of --additional-config without a message; from 0.27.1rc1 "
        "on it refuses "
        "to start. Other JSON flags always refuse an unknown key.",
        "Correct the key, or remove it.",
        _SOURCE,
        _keys,
    ),
    Rule(
        "V6",
        "The release has the KV connector",
        _E,
        "With an unknown connector no engine of the group starts.",
        "Use a connector of this release.",
        _SOURCE,
        _connectors,
    ),
)
