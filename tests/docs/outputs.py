"""What each command prints with `-o json` and `-o jsonl`: its type, from which the schemas and docs/json-output.md are made."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import core_schema

from console.cli.bench_eval import EvaluationPlanData, StartedRunData
from console.cli.containers import ContainerData
from console.cli.diagnose import CauseData, CausesData
from console.cli.keys import KeyData
from console.cli.layouts import LayoutData
from console.cli.logs import LogLineData
from console.cli.main import COMMANDS
from console.cli.output import EndLine, OperationDocument, PlanLine, StepLine
from console.cli.plan import DeploymentData, ProxyLine, RankData, ServiceProcessData
from console.cli.preflight import ReportData
from console.cli.status_data import EngineData, NodeLine, StatusData
from console.cli.tune import HostTuningData
from console.cli.validate import FileReportData
from console.cli.verify import VerificationData
from console.cli.watch import AlertLine, EventLine, OverLine, StartLine
from console.cli.weights import NodeWeightsLine, WeightsData
from console.evaluation.records import Record
from console.model.snapshot import Event, Task
from console.probes.check_types import Result
from console.services.audit_log import AuditEntry
from console.services.operations.step_text import PlanData
from console.services.placement.upgrade_report import ChangeData, UpgradeData
from console.services.serving.verification import Proof
from tests.docs.fields import FileSchema, described, schema_text
from tests.json_schema import faults


@dataclass(frozen=True)
class Printed:
    """One kind of data that commands print."""

    name: str
    """Of its schemas."""
    json: Any = None
    """Type of the document; None when there is none."""
    jsonl: Any = None
    """Type of each line; None when there is none."""
    when: str = ""
    """Of a command that prints several kinds: for which words."""

    def schemas(self) -> dict[str, dict[str, Any]]:
        """Form of output → JSON Schema."""
        return {form: _schema(kind) for form, kind in (("json", self.json), ("jsonl", self.jsonl)) if kind is not None}

    def files(self) -> dict[str, str]:
        """Form of output → file of its schema below docs/schemas/outputs, for a class in another file with its place there."""
        found = {}
        for form in self.schemas():
            found[form] = f"{self.name}.schema.json" if form == "json" else f"{self.name}.line.schema.json"
        line = getattr(self.jsonl, "__name__", "")
        if self.json is not None and line in _schema(self.json).get("$defs", {}):
            found["jsonl"] = f"{found['json']}#/$defs/{line}"
        return found


OPERATION = Printed("operation", OperationDocument | PlanData, PlanLine | StepLine | EndLine)
EVALUATION = (
    Printed("results", list[Record], Record),
    Printed("evaluation-plans", list[EvaluationPlanData], EvaluationPlanData, "--dry-run"),
    Printed("started-runs", list[StartedRunData], StartedRunData, "--detach"),
)
OUTPUTS: Mapping[str, tuple[Printed, ...]] = {
    "layouts": (Printed("layouts", list[LayoutData], LayoutData),),
    "validate": (Printed("validate", list[FileReportData], FileReportData),),
    "plan": (Printed("plan", DeploymentData, RankData | ServiceProcessData | ProxyLine),),
    "upgrade": (Printed("upgrade", UpgradeData, ChangeData),),
    "diagnose": (Printed("diagnose", CausesData, CauseData),),
    "preflight": (Printed("preflight", ReportData, Result),),
    "containers": (Printed("containers", list[ContainerData], ContainerData, "show"), OPERATION),
    "tune": (Printed("tune", list[HostTuningData], HostTuningData, "show"), OPERATION),
    "weights": (Printed("weights", WeightsData, NodeWeightsLine, "show"), OPERATION),
    **dict.fromkeys(("start", "stop", "restart", "kill", "scale", "sync-proxy"), (OPERATION,)),
    "auto-restart": (Printed("auto-restart", None, Event),),
    "watch": (Printed("watch", None, StartLine | EventLine | AlertLine | OverLine),),
    "bench": EVALUATION,
    "eval": EVALUATION,
    "results": EVALUATION[:1],
    "status": (Printed("status", StatusData, NodeLine | EngineData | Task),),
    "verify": (Printed("verify", VerificationData, Proof),),
    "logs": (Printed("logs", list[LogLineData], LogLineData),),
    "journal": (Printed("journal", list[AuditEntry], AuditEntry),),
    "keys": (Printed("keys", list[KeyData]),),
}
"""Command → what it prints."""


class _PrintedSchema(FileSchema):
    """Of data that is printed: every key is there, and no other."""

    def typed_dict_schema(self, schema: core_schema.TypedDictSchema) -> dict[str, Any]:
        """Of a dict that a command makes."""
        return _closed(super().typed_dict_schema(schema), schema["cls"])

    def dataclass_schema(self, schema: core_schema.DataclassSchema) -> dict[str, Any]:
        """Of a dataclass that is printed whole."""
        return _closed(super().dataclass_schema(schema), schema["cls"])

    def field_is_required(self, field: Any, total: bool) -> bool:
        """A dataclass is printed with all its fields, whatever their defaults."""
        return field["type"] == "dataclass-field" or super().field_is_required(field, total)

    def field_title_should_be_set(self, schema: Any) -> bool:
        """A title would only repeat the key."""
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> dict[str, Any]:
        """A reader needs no default of a key that is always there."""
        return self.generate_inner(schema["schema"])


def _closed(made: dict[str, Any], model: type) -> dict[str, Any]:
    """The schema of a class with the texts of its fields, where None is null."""
    for each in described(made, model)["properties"].values():
        if "description" in each:
            each["description"] = re.sub(r"(^|\. )None\b", r"\1Null", each["description"]).replace("None", "null")
    return {**made, "additionalProperties": False}


@cache
def _schema(kind: Any) -> dict[str, Any]:
    return TypeAdapter(kind).json_schema(mode="serialization", schema_generator=_PrintedSchema)


def files() -> dict[str, str]:
    """Name of a schema file below docs/schemas/outputs → its text."""
    return {
        file: schema_text(printed.schemas()[form])
        for kinds in OUTPUTS.values()
        for printed in kinds
        for form, file in printed.files().items()
        if "#" not in file
    }


def must_fit(words: Sequence[str], text: str) -> None:
    """Fail unless what a command line printed for programs is as its schemas say; nothing is printed when it failed."""
    form = next((after for before, after in pairwise(words) if before == "-o"), "")
    if form not in ("json", "jsonl") or words[0] not in OUTPUTS:
        return
    made = [schemas[form] for each in OUTPUTS[words[0]] if form in (schemas := each.schemas())]
    for each in [text] if form == "json" and text.strip() else text.splitlines():
        ways = [faults(json.loads(each), schema, schema.get("$defs", {})) for schema in made]
        assert [] in ways, "\n".join(
            (f"{' '.join(words)} printed other than docs/schemas/outputs says:", *min(ways, key=len))
        )


def page() -> str:
    """docs/json-output.md."""
    outputs = [(command, OUTPUTS[command]) for command in COMMANDS if command in OUTPUTS]
    lines = [*_HEAD, ", ".join(f"[{command}](#{command})" for command, _ in outputs)]
    seen: dict[str, dict[str, Any]] = {}
    for command, kinds in outputs:
        lines += ["", f"## {command}", "", f"{_sentence(COMMANDS[command][1])}{_exit_codes(command)}", ""]
        for printed in kinds:
            lines += _forms(printed)
        for printed in kinds:
            for made in printed.schemas().values():
                lines += _tables(made, seen)
    return "\n".join(lines) + "\n"


_HEAD = (
    "# JSON output",
    "",
    "`-o json` prints one document at the end, `-o jsonl` one document on each line. Results go to stdout, messages to stderr;",
    "a command that fails before it has a result prints nothing to stdout.",
    "`null` means that a value is not known; it is never replaced by 0. A time is in seconds since the epoch on the",
    "clock of the machine the console runs on, a key that ends in `_s` is in seconds, one that ends in `_mib` in MiB. Every key",
    "is always there unless its description says when. [JSON Schemas](schemas/outputs) describe each document exactly. A command",
    "whose exit codes are not given here has the [usual ones](operate.md#output-and-exit-codes).",
    "",
)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _exit_codes(command: str) -> str:
    """What the docstring of a command says of its exit codes."""
    text = " ".join((importlib.import_module(COMMANDS[command][0]).run.__doc__ or "").split())
    found = re.search(r"Exit code (of `\w+` )?\d.*?\.(?= |$)", text)
    return f" {found[0]}" if found else ""


def _forms(printed: Printed) -> Iterator[str]:
    when = f" (`{printed.when}`)" if printed.when else ""
    for form, made in printed.schemas().items():
        line = " on each line" if form == "jsonl" else ""
        file = printed.files()[form]
        yield f"- `-o {form}`{when}: {_kind(made, made)}{line}; schema [`{file}`](schemas/outputs/{file.partition('#')[0]})"


def _tables(made: dict[str, Any], seen: dict[str, dict[str, Any]]) -> Iterator[str]:
    """The fields of each class in a schema that none had before, in the order in which they are met."""
    for name, part in dict(_classes(made, made)).items():
        if name in seen:
            assert seen[name]["properties"] == part["properties"], f"two classes are called {name}"
            continue
        seen[name] = part
        yield from ("", f"### {name}", "", " ".join(part["description"].split()).replace("|", "&#124;"), "")
        yield from ("| key | type | meaning |", "|---|---|---|")
        for key, value in part["properties"].items():
            more = "" if key in part.get("required", []) else " (not always there)"
            text = value.get("description", "").replace("|", "&#124;")
            yield f"| `{key}`{more} | {_kind(value, made)} | {text} |"


def _classes(part: Any, whole: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and schema of every class in a part of a schema, the outer one first."""
    if isinstance(part, dict) and "$ref" in part:
        part = whole["$defs"][part["$ref"].rpartition("/")[2]]
    if isinstance(part, dict) and "properties" in part:
        yield part["title"], part
    inner = {key: each for key, each in part.items() if key != "$defs"}.values() if isinstance(part, dict) else part
    for each in inner:
        if isinstance(each, dict | list):
            yield from _classes(each, whole)


def _kind(part: Mapping[str, Any], whole: Mapping[str, Any]) -> str:
    """The type of a value in words."""
    if "$ref" in part:
        name = part["$ref"].rpartition("/")[2]
        other = whole["$defs"][name]
        return f"[{name}](#{name.lower()})" if "properties" in other else _kind(other, whole)
    if "anyOf" in part:
        return " or ".join(dict.fromkeys(_kind(each, whole) for each in part["anyOf"]))
    if "const" in part or "enum" in part:
        return ", ".join(f"`{each}`" for each in part.get("enum", [part.get("const")]))
    if part.get("type") == "array":
        items = part.get("prefixItems") or [part.get("items", {})]
        return f"list of {', '.join(_kind(each, whole) for each in items)}"
    if "properties" in part:
        return f"[{part['title']}](#{part['title'].lower()})"
    if part.get("type") == "object":
        return f"mapping of text to {_kind(part.get('additionalProperties', {}), whole)}"
    return {"string": "text", "boolean": "true or false", None: "any"}.get(part.get("type"), str(part.get("type")))
