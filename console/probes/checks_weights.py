"""Preflight checks of the weights (36 to 40): configuration, shards, equality on all nodes, file system.

One script reads the directory once; the checks only read its output.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from console.model.counting import counted
from console.model.shortening import list_text
from console.probes.check_types import (
    Answer,
    Check,
    CheckOutcome,
    NodeRequirements,
    ProbeCommand,
    failed,
    passed,
    unknown,
    warned,
)
from console.probes.sanitize import clean

_MODEL_TYPES = ("deepseek_v4", "deepseek_v41")
_WEIGHTS = """exec python3 - "$1" <<'END'
import hashlib, json, os, sys
root = sys.argv[1]
found = {"config": None, "model_type": None, "index": 0, "missing": [], "empty": []}
try:
    names = sorted(os.listdir(root))
except OSError as problem:
    print(json.dumps({"error": str(problem)})); sys.exit(0)
try:
    with open(os.path.join(root, "config.json"), "rb") as file:
        text = file.read()
    found["config"] = hashlib.sha256(text).hexdigest()[:16]
    found["model_type"] = json.loads(text.decode("utf-8")).get("model_type")
except (OSError, ValueError) as problem:
    found["config_error"] = str(problem)
found["quantization"] = [name for name in names if name.startswith("quant_model_description") and name.endswith(".json")]
found["tokenizer"] = [name for name in names if name in ("tokenizer.json", "tokenizer.model", "tokenizer_config.json")]
found["partial"] = [name for name in names if name.endswith((".incomplete", ".part", ".lock", ".tmp"))]
indexes = [name for name in names if name.endswith(".safetensors.index.json")]
shards = set() if indexes else {"model.safetensors"} & set(names)
for index in indexes:
    try:
        with open(os.path.join(root, index)) as file:
            shards |= set(json.load(file)["weight_map"].values())
    except (OSError, ValueError, KeyError, AttributeError) as problem:
        found["index_error"] = index + ": " + str(problem)
found["index"] = len(shards)
sizes = []
for name in sorted(shards):
    try:
        size = os.stat(os.path.join(root, name)).st_size
    except OSError:
        found["missing"].append(name)
        continue
    if size == 0:
        found["empty"].append(name)
    sizes.append([name, size])
found["bytes"] = sum(size for _, size in sizes)
found["manifest"] = hashlib.sha256(json.dumps([found["config"], sizes]).encode()).hexdigest()[:16]
print(json.dumps(found))
END"""
_PLACE = """df -PTk "$1" | tail -n 1; echo '== end'"""

SHARED_TYPES = ("nfs", "nfs4", "lustre", "cifs", "fuse.glusterfs", "ceph", "gpfs", "beegfs", "fuse.juicefs")


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights of one node."""

    trouble: str = ""
    """Why nothing is known, or why there are no weights."""
    shards: int = 0
    bytes: int = 0
    manifest: str = ""
    """A digest of configuration, names and sizes; equal weights have equal digests."""
    lacking: tuple[str, ...] = ()
    """Files that are missing, empty or incomplete, as text."""

    @property
    def complete(self) -> bool:
        """Whether every shard of the index exists and no download is incomplete."""
        return not self.trouble and not self.lacking and bool(self.shards)


def parse_weights(answer: Answer | None) -> Weights:
    """The weights in the output of the command `weights`. Never raises."""
    if answer is None or not answer.whole:
        return Weights("no answer in time")
    data = _weights(answer)
    if not data:
        return Weights(answer.refused or "the weights were not read")
    if data.get("error"):
        return Weights(clean(str(data["error"]))[:160])
    size, shards = data.get("bytes"), data.get("index")
    lacking = [clean(each) for each in _wrong(data)]
    if data.get("config_error"):
        why = str(data["config_error"])
        lacking.append("config.json is missing" if "No such file" in why else clean(f"config.json: {why}")[:160])
    return Weights(
        shards=shards if isinstance(shards, int) else 0,
        bytes=size if isinstance(size, int) else 0,
        manifest=str(data.get("manifest") or ""),
        lacking=tuple(lacking),
    )


def _has_model(wanted: NodeRequirements) -> bool:
    return bool(wanted.model)


PROBE_COMMANDS = (
    ProbeCommand("weights", "container", _WEIGHTS, lambda wanted: (wanted.model,), 60.0, _has_model),
    ProbeCommand("weights-place", "container", _PLACE, lambda wanted: (wanted.model,), needed=_has_model),
)


def _weights(answer: Answer) -> Mapping[str, JsonValue]:
    try:
        data = json.loads(answer.stdout)
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _names(data: Mapping[str, JsonValue], key: str) -> list[str]:
    value = data.get(key)
    return [str(each) for each in value] if isinstance(value, list) else []


def _of_weights(
    judge: Callable[[Mapping[str, JsonValue], NodeRequirements], CheckOutcome],
) -> Callable[[Answer, NodeRequirements], CheckOutcome]:
    def outer(answer: Answer, wanted: NodeRequirements) -> CheckOutcome:
        data = _weights(answer)
        if not data:
            return unknown("the weights were not read")
        return failed(str(data["error"])[:160]) if data.get("error") else judge(data, wanted)

    return outer


def _config(data: Mapping[str, JsonValue], wanted: NodeRequirements) -> CheckOutcome:
    if data.get("config_error") or not data.get("config"):
        return failed(f"config.json: {data.get('config_error', 'missing')}"[:160])
    if data.get("model_type") not in _MODEL_TYPES:
        return warned(f"model_type is {data.get('model_type')}")
    return (
        passed(str(data["model_type"])) if _names(data, "quantization") else warned("no quant_model_description*.json")
    )


def _shards(data: Mapping[str, JsonValue], wanted: NodeRequirements) -> CheckOutcome:
    if bad := _wrong(data):
        return failed(list_text(bad, 3, "; "))
    shards = data.get("index")
    return passed(counted(shards if isinstance(shards, int) else 0, "shard"))


def _wrong(data: Mapping[str, JsonValue]) -> list[str]:
    if data.get("index_error"):
        return [str(data["index_error"])[:160]]
    bad = [f"{each} is missing" for each in _names(data, "missing")]
    bad += [f"{each} is empty" for each in _names(data, "empty")]
    bad += [f"{each} is an incomplete download" for each in _names(data, "partial")]
    return bad or ([] if data.get("index") else ["neither *.safetensors.index.json nor model.safetensors"])


def _manifest(data: Mapping[str, JsonValue], wanted: NodeRequirements) -> CheckOutcome:
    if _names(data, "missing") or _names(data, "empty"):
        return unknown("not compared: shards are missing", "fix check 37 first")
    size = data.get("bytes")
    value = str(data.get("manifest") or "")
    return passed(f"{size / 2**30:.1f} GiB", value) if isinstance(size, int) and value else unknown("no list of sizes")


def _tokenizer(data: Mapping[str, JsonValue], wanted: NodeRequirements) -> CheckOutcome:
    found = _names(data, "tokenizer")
    return (
        passed(", ".join(found)) if {"tokenizer.json", "tokenizer.model"} & set(found) else failed("no tokenizer.json")
    )


def _place(answer: Answer, wanted: NodeRequirements) -> CheckOutcome:
    words = answer.lines[0].split() if answer.lines else []
    if len(words) < 7:
        return unknown("df printed nothing")
    return warned(f"{words[1]} ({words[0]})") if words[1] in SHARED_TYPES else passed(f"{words[1]} ({words[0]})")


_GROUP = "The start fails with a missing or incomplete file, after minutes of loading."

CHECKS = (
    Check("36", "model configuration", "weights", _of_weights(_config), "The layout is for DeepSeek-V4.",
          "check the path and its mount", applies=_has_model),
    Check("37", "all shards", "weights", _of_weights(_shards), _GROUP,
          "dsv4-console weights copy --from NODE, or download them again",
          applies=_has_model),
    Check("38", "same weights on all nodes", "weights", _of_weights(_manifest), "Different weights give wrong answers.",
          "dsv4-console weights copy --from NODE", same=True, applies=_has_model),
    Check("39", "file system of the weights", "weights-place", _place, "With 16 readers per node a shared file system is slow.",
          "keep the weights on local NVMe", blocks=False, applies=_has_model),
    Check("40", "tokenizer", "weights", _of_weights(_tokenizer), _GROUP, "copy the tokenizer files", applies=_has_model),
)  # fmt: skip
