"""The release facts: whole for each release, agreeing with real parsers, and findings that name what was meant."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import pytest

from console.files import load_layout, parse_layout
from console.model.findings import Finding
from console.releases.facts import Release, facts_of, first_and_last, names, release_name, whole_data
from console.rules import check
from console.services.placement.edits import example
from tests.releases.collect import TARGET, differences, kept
from tests.releases.collect import flags as collected_flags
from tests.shared import SHARED, needs_shared

V = ("V2", "V3", "V4", "V5", "V6")


def test_every_release_is_whole() -> None:
    found = [facts_of(name) for name in names()]
    assert len(found) >= 15
    for release in found:
        assert release is not None
        assert {"max-num-seqs", "data-parallel-size", "kv-transfer-config"} <= set(release.flags), release.name
        assert "VLLM_ASCEND_ENABLE_FLASHCOMM1" in release.env, release.name
        assert "MooncakeHybridConnector" in release.connectors or release.name < "0.20", release.name
        assert "enable_dsa_cp" in release.additional or release.name < "0.20", release.name
        assert all(not flag.same_as or flag.same_as in release.flags for flag in release.flags.values())


@pytest.mark.parametrize("which", ["vllm", "ascend"])
def test_releases_that_are_kept_are_written_again_as_they_were(which: str) -> None:
    text = (TARGET / f"{which}.json").read_text(encoding="utf-8")
    assert json.dumps(dict(differences(kept(which)))) == json.dumps(json.loads(text))


def test_the_opposite_of_a_flag_is_no_other_name_of_it() -> None:
    """As the parser of vLLM 0.33.0 has it: `--disable-expert-parallel` undoes `--enable-expert-parallel`."""
    asked = {"names": ["--enable-expert-parallel", "-ep", "--disable-expert-parallel"], "nargs": 0}
    flags = dict(collected_flags([{**asked, "action": "EnableDisableAction"}]))
    alias = {"takes": "switch", "same_as": "enable-expert-parallel"}
    assert flags == {"disable-expert-parallel": "nothing", "enable-expert-parallel": "switch", "ep": alias}
    newest = whole_data("vllm")["0.33.0"]["flags"]
    assert {name: newest[name] for name in flags} == flags
    assert newest["trust-remote-code"] == "switch"


def test_known_differences_are_there() -> None:
    """Facts that were read by hand in the wheels (reference of releases)."""
    assert first_and_last("env", "VLLM_ASCEND_ENABLE_MATMUL_ALLREDUCE")[1] == "0.24.0rc1"
    assert first_and_last("flags", "calculate-kv-scales")[1] < "0.28"
    assert first_and_last("flags", "fault-tolerance-config")[0] > "0.21.0rc1"
    old, new = facts_of("0.21.0rc1"), facts_of("0.28.0rc1")
    assert old is not None
    assert new is not None
    assert old.flags["all2all-backend"].choices != new.flags["all2all-backend"].choices


def test_keys_that_moved_are_known_where_they_are_still_read() -> None:
    """Read by hand in ascend_config.py: from 0.25.1rc1 on these belong into scheduler_config and are read beside it too."""
    for name in names():
        release = facts_of(name)
        assert release is not None
        assert "recompute_scheduler_enable" in release.additional, name
        assert not {each for each in release.additional if each.startswith("_")}
        assert release.strict == (names().index(name) >= names().index("0.27.1rc1"))


def test_keys_of_a_key_are_no_keys_themselves() -> None:
    """enable_npugraph_ex is read in ascend_compilation_config only; 0.27.1rc1 and later refuse it one level too high."""
    for name in names():
        release = facts_of(name)
        assert release is not None
        assert "ascend_compilation_config" in release.additional
        assert not {"enable_npugraph_ex", "enable_static_kernel", "fuse_allreduce_rms"} & release.additional, name


@pytest.mark.parametrize(
    ("setting", "release", "before", "since"),
    [
        ("gpu-memory-utilization", "0.20.2rc1", "0.9", "0.92"),
        ("safetensors-load-strategy", "0.19.1rc1", '"lazy"', "null"),
        ("eplb-config.use_async", "0.23.0rc1", "false", "true"),
        ("VLLM_ENFORCE_STRICT_TOOL_CALLING", "0.24.0rc1", "false", "true"),
        ("additional-config.multistream_dsv4_dsa_overlap", "0.22.1rc1", "false", "true"),
    ],
)
def test_defaults_that_changed(setting: str, release: str, before: str, since: str) -> None:
    """As read in the parsers' help and in ascend_config.py of both releases."""
    later, earlier = facts_of(release), facts_of(names()[names().index(release) - 1])
    assert later is not None
    assert earlier is not None
    assert (earlier.defaults[setting], later.defaults[setting]) == (before, since)


@pytest.mark.parametrize(
    ("text", "name"),
    [("v0.21.0rc1", "0.21.0rc1"), ("v0.21.0rc1-a3", "0.21.0rc1"), ("0.23.0.post1-openeuler", "0.23.0.post1")]
    + [(text, "") for text in ("main", "nightly-a3", "deepseek-v4.1-flash-a3", "", "latest")],
)
def test_a_version_or_a_tag_names_a_release(text: str, name: str) -> None:
    assert release_name(text) == name


def found_in(version: str, *, args: dict[str, Any] | None = None, env: dict[str, str] | None = None) -> list[Finding]:
    """What the rules about releases find in a layout with these settings."""
    shipped = load_layout("a3-mixed")
    layout = shipped.model_copy(update={"version": version, "image": "", "args": args or {}, "env": env or {}})
    layout = layout.model_copy(
        update={
            "groups": {name: each.model_copy(update={"args": {}, "env": {}}) for name, each in shipped.groups.items()}
        }
    )
    return [finding for finding in check(example(layout)) if finding.rule.startswith("V")]


TYPO = {"kv_connector": "MooncakeHybridConector", "kv_role": "kv_both"}


@pytest.mark.parametrize(
    ("version", "settings", "rule", "text"),
    [
        ("v0.21.0rc1", {"args": {"max-num-seqz": 4}}, "V2", "did you mean --max-num-seqs?"),
        ("v0.21.0rc1", {"args": {"fault-tolerance-config": {}}}, "V2", "it was added in 0.2"),
        ("v0.28.0rc1", {"args": {"calculate-kv-scales": True}}, "V2", "it was removed in 0.2"),
        ("v0.21.0rc1", {"args": {"max-num-seqs": "many"}}, "V3", "a whole number"),
        ("v0.21.0rc1", {"args": {"headless": False}}, "V3", "no --no- form"),
        ("v0.21.0rc1", {"args": {"enable-prefix-caching": "yes"}}, "V3", "takes no value"),
        ("v0.21.0rc1", {"args": {"seed": True}}, "V3", "needs a whole number"),
        ("v0.21.0rc1", {"args": {"all2all-backend": "naiv"}}, "V3", "did you mean naive?"),
        ("v0.21.0rc1", {"args": {"additional-config": "{'a': 1}"}}, "V3", "is \"{'a': 1}\", which is no JSON"),
        ("v0.25.1rc1", {"args": {"speculative-config": "{bad"}}, "V3", "which is no JSON"),
        (
            "v0.21.0rc1",
            {"env": {"VLLM_ASCEND_ENABLE_FUSED_MC3": "1"}},
            "V4",
            "did you mean VLLM_ASCEND_ENABLE_FUSED_MC2?",
        ),
        ("v0.21.0rc1", {"env": {"VLM_USE_MODELSCOPE": "1"}}, "V4", "did you mean VLLM_USE_MODELSCOPE?"),
        ("v0.21.0rc1", {"env": {"HCCL_BUFSIZE": "1"}}, "V4", "did you mean HCCL_BUFFSIZE?"),
        ("v0.25.1rc1", {"env": {"VLLM_ASCEND_ENABLE_MATMUL_ALLREDUCE": "1"}}, "V4", "it was removed in 0.25.1rc1"),
        ("v0.21.0rc1", {"args": {"additional-config": {"enable_dsa_pc": True}}}, "V5", "did you mean enable_dsa_cp?"),
        ("v0.21.0rc1", {"args": {"additional-config.enable_dsa_pc": True}}, "V5", "did you mean enable_dsa_cp?"),
        ("v0.21.0rc1", {"args": {"speculative-config": {"method": "mpt"}}}, "V5", "did you mean mtp?"),
        ("v0.21.0rc1", {"args": {"speculative-config": '{"metod": "mtp"}'}}, "V5", "did you mean method?"),
        (
            "v0.21.0rc1",
            {"args": {"kv-transfer-config": {"kv_connector": "MooncakeHybridConector", "kv_role": "kv_both"}}},
            "V6",
            "did you mean MooncakeHybridConnector?",
        ),
        ("v0.99.0", {"args": {"max-num-seqz": 4}}, "V1", "v0.99.0 is not a known release"),
    ],
)
def test_a_setting_that_the_release_does_not_know_is_found(
    version: str, settings: dict[str, Any], rule: str, text: str
) -> None:
    (finding,) = found_in(version, **settings)
    assert finding.rule == rule
    assert text in finding.message


def test_variables_that_are_like_no_known_one_are_nobodys_business() -> None:
    env = dict.fromkeys(("MY_SETTING", "MASTER_PORT", "OMP_PLACES", "HCCL_ALGO", "PATH"), "1")
    assert found_in("v0.25.1rc1", env=env) == []


@pytest.mark.parametrize("text", ['{"level": {dp_rank}}', "3", "", "None", " {}\n"])
def test_json_with_facts_of_the_rank_and_no_value_are_no_trouble(text: str) -> None:
    assert found_in("v0.25.1rc1", args={"compilation-config": text}) == []


def test_an_abbreviation_is_accepted_with_a_warning() -> None:
    (finding,) = found_in("v0.21.0rc1", args={"max-num-seq": 4})
    assert (finding.rule, finding.severity) == ("V2", "warning")
    assert "--max-num-seqs" in finding.message


LAYOUT = """name: mine
version: v0.21.0rc1
hardware: a3
model: {path: /model, served_name: dsv4}
args:
  additional-config:
    enable_cpu_binding: true
    enable_dsa_pc: true
groups:
  mixed:
    role: mixed
    nodes: 1
    tensor_parallel: 16
    data_parallel: {size: 1, per_node: 1, balance: external}
    port: 7100
    args:
      speculative-config: {num_speculative_tokens: 1,
        method: mpt}
      compilation-config: |
        {"cudagraph_mod": "FULL"}
      kv-transfer-config:
        kv_role: kv_both
        kv_connector: MooncakeHybridConector
    by_node:
      0:
        args:
          additional-config:
            layer_shardin: 1
"""


def test_a_finding_names_the_line_of_the_key_inside_a_mapping() -> None:
    layout = parse_layout(LAYOUT.encode(), "mine.yaml")
    lines = LAYOUT.splitlines()
    found = [
        (each.rule, lines[int(each.where.rpartition(":")[2]) - 1].strip())
        for each in check(example(layout))
        if each.rule in V
    ]
    assert sorted(found) == [
        ("V5", "compilation-config: |"),
        ("V5", "enable_dsa_pc: true"),
        ("V5", "layer_shardin: 1"),
        ("V5", "method: mpt}"),
        ("V6", "kv_connector: MooncakeHybridConector"),
    ]


@needs_shared
@pytest.mark.shared
@pytest.mark.parametrize("version", ["v0.23.0", "v0.24.0rc1"])
def test_nothing_false_is_found_in_the_commands_of_the_tutorials(version: str) -> None:
    """19 commands of 2026-08-22. vLLM 0.23.0 has no method dspark (read in its wheel); no vLLM reads VLLM_RPC_TIMEOUT."""
    commands = json.loads((SHARED / "fixtures" / "tutorials" / "deepseek-v4-2026-08-22.json").read_text())
    assert len(commands) == 19
    for command in commands:
        args: dict[str, Any] = {}
        for word in command["argv"][3:]:
            if word.startswith("--"):
                flag, _, value = word[2:].partition("=")
                args[flag] = value or True
            else:
                args[flag] = re.sub(r"^\$\d$", "8", word)
        args = {key.removeprefix("no-"): value if key[:3] != "no-" else False for key, value in args.items()}
        found = found_in(version, args=args, env=command["env"])
        known = "has method 'dspark', which this release does not know" if version == "v0.23.0" else "nothing"
        assert [finding for finding in found if known not in finding.message] == []


def test_a_variable_that_no_release_reads_is_one_note() -> None:
    for version in ("v0.21.0rc1", "v0.23.0"):
        layout = parse_layout(LAYOUT.replace("v0.21.0rc1", version).encode(), "mine.yaml")
        layout = layout.model_copy(update={"env": {"VLLM_RPC_TIMEOUT": "3600000"}})
        (finding,) = [each for each in check(example(layout)) if "VLLM_RPC_TIMEOUT" in each.message]
        assert (finding.rule, finding.severity) == ("E3", "note")


ELSEWHERE = """auto_tool_without_parser headless_plus_api_server_count rank_and_start_rank extra_positional no_model bad_json_spec
bad_json_kv load_extra_badjson kv_no_role cudagraph_mode_bad abbrev short_tp no_bool_value kv_made_up_connector
additional_config_unknown"""


@needs_shared
def test_findings_agree_with_what_the_real_parser_said() -> None:
    """Captured verdicts of the parser of vLLM 0.21.0 on odd argument lists; only what flags and values decide is compared."""
    cases = json.loads((SHARED / "fixtures" / "vllm" / "parser_cases.json").read_text())
    compared = 0
    for name, case in cases.items():
        if name in ELSEWHERE.split():
            continue
        args: dict[str, Any] = {}
        words = case["argv"][2:]
        for word in words:
            if word.startswith("--"):
                flag = word[2:]
                args[flag] = True
            else:
                args[flag] = word if args[flag] is True else [args[flag], word]
        args = {
            flag.removeprefix("no-"): False if flag.startswith("no-") else value
            for flag, value in args.items()
            if flag != "no-such-flag"
        } or {"no-such-flag": True}
        found = [finding for finding in found_in("v0.21.0rc1", args=args) if finding.rule in V]
        assert (not found) == case["ok"], (name, [finding.message for finding in found])
        compared += 1
    assert compared >= 30


def misspelt(name: str, dice: random.Random) -> str:
    """The name with one letter lost, doubled, swapped with its neighbour or taken for another."""
    at = dice.randrange(1, len(name) - 1)
    kind = dice.choice(["lose", "double", "swap", "other"])
    head, char, tail = name[:at], name[at], name[at + 1 :]
    changed = {"lose": "", "double": char * 2, "swap": tail[:1] + char, "other": dice.choice("aeiost")}[kind]
    return head + changed + (tail[1:] if kind == "swap" else tail)


@pytest.mark.parametrize("seed", [7, 101, 2026])
def test_misspelt_names_are_found_and_the_right_one_is_suggested_first(seed: int, record_property: Any) -> None:
    """200 random misspellings of real flags, variables and keys over all releases, for each of three seeds."""
    dice = random.Random(seed)
    total = found = first = 0
    while total < 200:
        release: Release | None = facts_of(dice.choice(names()))
        assert release is not None
        kind = dice.choice(("flags", "env", "additional"))
        name = dice.choice(sorted(each for each in release.known(kind) if len(each) > 4))  # type: ignore[arg-type]
        wrong = misspelt(name, dice)
        if wrong in release.known(kind) or name.startswith(wrong):  # type: ignore[arg-type]
            continue
        by_kind: dict[str, dict[str, Any]] = {
            "flags": {"args": {wrong: "1"}},
            "env": {"env": {wrong: "1"}},
            "additional": {"args": {"additional-config": {wrong: 1}}},
        }
        settings = by_kind[kind]
        total += 1
        messages = [finding.message for finding in found_in(release.name, **settings) if finding.rule in V]
        found += bool(messages)
        first += any(f"did you mean {'--' if kind == 'flags' else ''}{name}?" in message for message in messages)
    record_property("found", found)
    print(f"misspellings: {total}, found {found}, right one first {first}")
    assert found >= 0.95 * total
    assert first >= 0.90 * total
