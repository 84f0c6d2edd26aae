"""A layout for another release: every kind of change with real facts, the file changed in place, and the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from console.cli.main import main
from console.files import load_layout, parse_layout, shipped_layouts
from console.model.errors import UsageError
from console.releases.facts import facts_of, names
from console.releases.renames import _changes, _renames, known_setting
from console.rules import check
from console.services.placement.edits import example
from console.services.placement.layout_upgrade import Upgrade, upgrade
from tests.releases.test_upstream_settings import tutorial_layouts
from tests.shared import needs_shared

HEAD = """# mine
name: mine
hardware: a3
version: v{release}   # the image's
image: quay.io/ascend/vllm-ascend:v{release}-a3-openeuler
model: {{path: /model, served_name: dsv4}}
{more}
groups:
  mixed:
    role: mixed
    nodes: 1
    tensor_parallel: 16
    data_parallel: {{size: 1, per_node: 1, balance: external}}
    port: 7100
    {inner}
"""


def made(tmp_path: Path, release: str, more: str = "", inner: str = "") -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(HEAD.format(release=release, more=more, inner=inner))
    return path


def upgraded(tmp_path: Path, old: str, new: str, more: str = "", inner: str = "") -> Upgrade:
    return upgrade(load_layout(str(made(tmp_path, old, more, inner))), f"v{new}")


def of_kinds(found: Upgrade) -> list[tuple[str, str]]:
    """(kind, setting) of everything but defaults."""
    return [(str(each.kind), each.setting) for each in found.changes if each.kind != "default"]


def added(found: Upgrade) -> list[str]:
    """Lines that are new in the file, without its release and image."""
    new = [line[1:].strip() for line in found.diff() if line.startswith("+") and not line.startswith("+++")]
    return [line for line in new if not line.startswith(("version:", "image:"))]


@pytest.mark.parametrize(
    ("old", "new", "more", "kind", "setting", "text", "lines"),
    [
        (
            *("0.21.0rc1", "0.28.0rc1", "args: {calculate-kv-scales: true, seed: 1}"),
            *("gone", "calculate-kv-scales", "--calculate-kv-scales was removed in 0.28.0rc1", ["args: {seed: 1}"]),
        ),
        (
            *("0.19.1rc1", "0.27.1rc1", "args:\n  max-num-partial-prefills: 2   # two"),
            *("gone", "max-num-partial-prefills", "was removed in 0.27.1rc1"),
            ["# args:   # gone in v0.27.1rc1", "#   max-num-partial-prefills: 2   # two"],
        ),
        (
            *("0.18.0", "0.21.0rc1", "env:\n  VLLM_ASCEND_ENABLE_CONTEXT_PARALLEL: 1\n  OMP_NUM_THREADS: 10"),
            *("gone", "VLLM_ASCEND_ENABLE_CONTEXT_PARALLEL", "was removed in 0.21.0rc1"),
            ["# VLLM_ASCEND_ENABLE_CONTEXT_PARALLEL: 1   # gone in v0.21.0rc1"],
        ),
        (
            *("0.24.0rc1", "0.25.1rc1", "args: {additional-config: {enable_async_exponential: true, refresh: true}}"),
            *("gone", "additional-config.enable_async_exponential", "was removed in 0.25.1rc1"),
            ["args: {additional-config: {refresh: true}}"],
        ),
        (
            *("0.22.1rc1", "0.23.0rc1", "args: {additional-config: {enable_sparse_c8: true}}"),
            *("gone", "additional-config.enable_sparse_c8", "split into enable_sparse_sfa_c8 and enable_sparse_li_c8"),
            ["# args: {additional-config: {enable_sparse_c8: true}}   # gone in v0.23.0rc1"],
        ),
        (
            *(
                "0.20.2rc1",
                "0.21.0rc1",
                'args: {speculative-config: \'{"method": "mtp", "speculative_token_tree": "x"}\'}',
            ),
            *(
                "gone",
                "speculative-config.speculative_token_tree",
                "speculative_token_tree; it was removed in 0.21.0rc1",
            ),
            ["args: {speculative-config: {method: mtp}}"],
        ),
        (
            *("0.30.0rc2", "0.28.0rc1", "args: {engram-config: {cpu_offload: true}}"),
            *("unknown", "engram-config", "it was added in 0.30.0rc1", []),
        ),
        (
            *("0.21.0rc1", "0.25.1rc1", "args: {max-num-seqz: 4}"),
            *("unknown", "max-num-seqz", "did you mean --max-num-seqs?", []),
        ),
        (
            *("0.22.1rc1", "0.23.0rc1", "args: {all2all-backend: mori}"),
            *("refused", "all2all-backend", "is 'mori'; it was removed in 0.23.0rc1", []),
        ),
        (
            *("0.21.0rc1", "0.22.1rc1", "args: {speculative-config: {method: mtp, draft_sample_method: gumbel}}"),
            *("refused", "speculative-config.draft_sample_method", "it was removed in 0.22.1rc1", []),
        ),
        (
            *(
                "0.26.0rc1",
                "0.27.1rc1",
                "args: {additional-config: {refresh: true}}\nenv: {VLLM_ASCEND_ENABLE_MLAPO: 0, A: b}",
            ),
            *("renamed", "VLLM_ASCEND_ENABLE_MLAPO", "enable_mlapo of --additional-config replaces it"),
            ["args: {additional-config: {refresh: true, enable_mlapo: false}}", "env: {A: b}"],
        ),
        (
            *("0.29.0rc1", "0.30.0rc2", "args: {seed: 1}\nenv: {VLLM_PREFIX_CACHE_RETENTION_INTERVAL: 4096, A: b}"),
            *("renamed", "VLLM_PREFIX_CACHE_RETENTION_INTERVAL", "--prefix-cache-retention-interval replaces it"),
            ["args: {seed: 1, prefix-cache-retention-interval: 4096}", "env: {A: b}"],
        ),
        (
            *("0.28.0rc1", "0.29.0rc1", "env: {VLLM_TRITON_ATTN_USE_TD: 1, A: b}"),
            *("renamed", "VLLM_TRITON_ATTN_USE_TD", "VLLM_TRITON_USE_TD replaces it"),
            ["env: {A: b, VLLM_TRITON_USE_TD: '1'}"],
        ),
        (
            *("0.21.0rc1", "0.25.1rc1", "args: {additional-config: {recompute_scheduler_enable: true}}"),
            *(
                "deprecated",
                "additional-config.recompute_scheduler_enable",
                "scheduler_config.recompute_scheduler_enable",
                [],
            ),
        ),
        (
            *("0.25.1rc1", "0.26.0rc1", "args: {additional-config: {enable_shared_expert_dp: true}}"),
            *(
                "meaning",
                "additional-config.enable_shared_expert_dp",
                "in v0.26.0rc1 it does not turn on sequence parallelism",
                [],
            ),
        ),
        (
            *("0.26.0rc1", "0.25.1rc1", "args: {additional-config: {enable_shared_expert_dp: true}}"),
            *(
                "meaning",
                "additional-config.enable_shared_expert_dp",
                "in v0.25.1rc1 it also turns on sequence parallelism",
                [],
            ),
        ),
        (
            *("0.27.1rc1", "0.28.0rc1", "args: {data-parallel-start-rank: 0}"),
            *("meaning", "data-parallel-start-rank", "balance its own ranks only", []),
        ),
        (
            *("0.24.0rc1", "0.25.1rc1", "args: {kv-cache-dtype: auto}"),
            *("choices", "kv-cache-dtype", "--kv-cache-dtype accepts other values: new:", []),
        ),
    ],
)
def test_every_kind_of_change_is_found_and_written(
    tmp_path: Path, old: str, new: str, more: str, kind: str, setting: str, text: str, lines: list[str]
) -> None:
    found = upgraded(tmp_path, old, new, more)
    (change,) = [each for each in found.changes if each.kind != "default"]
    assert (change.kind, change.setting) == (kind, setting)
    assert text in change.text
    assert added(found) == lines
    assert found.comments_kept
    assert found.line(change) is not None
    assert found.fits == (kind not in ("gone", "unknown", "refused"))
    parse_layout(found.changed.encode(), "changed.yaml")


def test_a_connector_that_is_gone_is_left_to_the_operator(tmp_path: Path) -> None:
    inner = "kv_transfer: {connector: LMCacheAscendConnector, port: 30000}"
    found = upgraded(tmp_path, "0.26.0rc1", "0.27.1rc1", inner=inner)
    assert of_kinds(found) == [("gone", "kv_transfer.connector")]
    assert inner in found.changed
    assert not found.fits


@pytest.mark.parametrize(
    ("old", "new", "more", "says"),
    [
        ("0.19.1rc1", "0.20.2rc1", "", "--gpu-memory-utilization is not set; its default is 0.92, it was 0.9"),
        ("0.19.1rc1", "0.20.2rc1", "args: {gpu-memory-utilization: 0.9}", ""),
        ("0.19.1rc1", "0.20.2rc1", "args: {gpu_memory_utilization: 0.9}", ""),
        ("0.24.0rc1", "0.26.0rc1", "", "mega_moe_max_tokens of --additional-config is not set; its default is 65536"),
        ("0.24.0rc1", "0.26.0rc1", "args: {additional-config: {mega_moe_max_tokens: 9}}", ""),
        ("0.22.1rc1", "0.23.0rc1", "", ""),
        ("0.22.1rc1", "0.23.0rc1", "args: {eplb-config: {window_size: 9}}", "use_async of --eplb-config is not set"),
    ],
)
def test_defaults_count_where_the_layout_leaves_them(tmp_path: Path, old: str, new: str, more: str, says: str) -> None:
    told = [each.text for each in upgraded(tmp_path, old, new, more).changes if each.kind == "default"]
    about = [text for text in told if any(name in text for name in ("gpu-memory", "mega_moe", "use_async"))]
    assert len(about) == bool(says)
    assert not says or says in about[0]


def test_a_default_names_the_groups_that_leave_it(tmp_path: Path) -> None:
    inner = "args: {gpu-memory-utilization: 0.8}\n  other:\n    role: mixed\n    nodes: 1\n    tensor_parallel: 1\n"
    inner += "    port: 8100\n    data_parallel: {size: 1, per_node: 1, balance: external}"
    told = [each.text for each in upgraded(tmp_path, "0.19.1rc1", "0.20.2rc1", inner=inner).changes]
    assert "--gpu-memory-utilization is not set in other; its default is 0.92, it was 0.9" in told


FUSED = "VLLM_ASCEND_ENABLE_FUSED_MC2: 1"


@pytest.mark.parametrize(
    ("more", "inner", "lines"),
    [
        (
            f"env: {{{FUSED}}}\nargs:\n  additional-config: {{refresh: true}}",
            "args: {additional-config: {enable_dsa_cp: true}}",
            [
                f"# env: {{{FUSED}}}   # now enable_fused_mc2 of --additional-config",
                "args: {additional-config: {enable_dsa_cp: true, enable_fused_mc2: 1}}",
            ],
        ),
        (
            "args:\n  additional-config: {refresh: true}",
            f"env: {{{FUSED}}}",
            [
                "args: {additional-config: {refresh: true, enable_fused_mc2: 1}}",
                f"# env: {{{FUSED}}}   # now enable_fused_mc2 of --additional-config",
            ],
        ),
        (
            "",
            f"env: {{{FUSED}}}\n    args: {{additional-config.refresh: true}}",
            [
                f"# env: {{{FUSED}}}   # now enable_fused_mc2 of --additional-config",
                "args: {additional-config.refresh: true, additional-config.enable_fused_mc2: 1}",
            ],
        ),
        (
            "",
            f"env: {{{FUSED}}}\n    args: {{additional-config: '{{\"refresh\": true}}'}}",
            [
                f"# env: {{{FUSED}}}   # now enable_fused_mc2 of --additional-config",
                "args: {additional-config: {refresh: true, enable_fused_mc2: 1}}",
            ],
        ),
        (
            "",
            f"env: {{{FUSED}}}\n    args: {{additional-config: {{enable_fused_mc2: 0}}}}",
            [f"# env: {{{FUSED}}}   # now enable_fused_mc2 of --additional-config"],
        ),
        (
            f"env: {{{FUSED}}}",
            "env: {VLLM_ASCEND_ENABLE_FUSED_MC2: 0}\n    args: {additional-config: {refresh: true}}",
            [
                f"# env: {{{FUSED}}}   # now enable_fused_mc2 of --additional-config",
                "# env: {VLLM_ASCEND_ENABLE_FUSED_MC2: 0}   # now enable_fused_mc2 of --additional-config",
                "args: {additional-config: {refresh: true, enable_fused_mc2: 0}}",
            ],
        ),
    ],
)
def test_a_renamed_variable_goes_into_the_mapping_that_counts(
    tmp_path: Path, more: str, inner: str, lines: list[str]
) -> None:
    found = upgraded(tmp_path, "0.26.0rc1", "0.27.1rc1", more, inner)
    assert added(found) == lines
    after = parse_layout(found.changed.encode(), "changed.yaml")
    assert not [each.message for each in check(example(after)) if each.rule in ("V2", "V4", "V5")]
    assert found.fits


def test_several_changes_of_one_mapping_are_all_written(tmp_path: Path) -> None:
    more = "args:\n  additional-config: {refresh: true}"
    inner = f"env: {{{FUSED}, VLLM_ASCEND_ENABLE_MLAPO: 0, VLLM_ASCEND_ENABLE_NZ: 2}}"
    found = upgraded(tmp_path, "0.26.0rc1", "0.27.1rc1", more, inner)
    mapping = parse_layout(found.changed.encode(), "x").groups["mixed"].args["additional-config"]
    assert mapping == {"refresh": True, "enable_fused_mc2": 1, "enable_mlapo": False, "weight_nz_mode": 2}
    config = '{"enable_async_exponential": true, "dp_allreduce_on_npu": true, "refresh": true}'
    found = upgraded(tmp_path, "0.24.0rc1", "0.25.1rc1", f"args: {{additional-config: '{config}'}}")
    assert added(found) == ["args: {additional-config: {refresh: true}}"]
    assert found.comments_kept


def test_what_differs_by_rank_is_left_to_the_operator(tmp_path: Path) -> None:
    inner = f'env: {{{FUSED}}}\n    args_from: {{additional-config: \'{{"dump_config_path": "/x/{{dp_rank}}"}}\'}}'
    found = upgraded(tmp_path, "0.26.0rc1", "0.27.1rc1", inner=inner)
    assert found.by_hand
    assert not found.fits
    assert FUSED in found.changed


def test_release_and_image_are_changed_and_comments_stay(tmp_path: Path) -> None:
    found = upgraded(tmp_path, "0.21.0rc1", "0.25.1rc1")
    assert "version: v0.25.1rc1   # the image's\n" in found.changed
    assert "image: quay.io/ascend/vllm-ascend:v0.25.1rc1-a3-openeuler\n" in found.changed
    assert found.changed.startswith("# mine\n")


def test_an_image_that_names_no_release_is_left_to_the_operator(tmp_path: Path) -> None:
    path = made(tmp_path, "0.21.0rc1")
    path.write_text(path.read_text().replace(":v0.21.0rc1-a3-openeuler", ":prod"))
    found = upgrade(load_layout(str(path)), "v0.25.1rc1")
    assert found.by_hand == (
        "the image quay.io/ascend/vllm-ascend:prod names no release: choose the one of v0.25.1rc1",
    )
    assert not found.fits


def test_a_rule_that_the_new_release_breaks_is_told(tmp_path: Path) -> None:
    args = (
        "args: {enable-expert-parallel: true, additional-config: {enable_dsa_cp: true, enable_shared_expert_dp: true}}"
    )
    found = upgraded(tmp_path, "0.25.1rc1", "0.26.0rc1", args)
    assert [each.rule for each in found.findings] == ["R22"]
    assert not found.fits


@pytest.mark.parametrize("name", shipped_layouts())
def test_every_shipped_layout_goes_to_every_release_and_back_in_place(name: str) -> None:
    for release in names()[2::3]:
        found = upgrade(load_layout(name), release, "v0.21.0rc1")
        assert found.comments_kept
        after = parse_layout(found.changed.encode(), name)
        told = {each.text.partition(";")[0] for each in found.changes if each.kind.breaks}
        left = [each for each in check(example(after)) if each.rule in ("V2", "V3", "V4", "V6")]
        assert len({each.message.partition(": ")[2] for each in left}) <= len(told), (release, left)


@needs_shared
@pytest.mark.shared
def test_nothing_is_gone_or_unknown_in_the_tutorials_for_their_release() -> None:
    for layout in tutorial_layouts():
        for release in ("v0.26.0rc1", "v0.27.1rc1"):
            found = upgrade(layout, release, release)
            assert not [each for each in found.changes if each.kind.breaks], layout.name


def test_every_rename_names_settings_that_releases_have() -> None:
    for each in _renames():
        release = facts_of(each.since)
        assert release is not None
        assert each.source
        assert not each.new or known_setting(each.new, release), each
        assert each.new or each.hint
        assert any(known_setting(each.old, facts) for name in names() if (facts := facts_of(name))), each
    assert all(facts_of(each.since) and each.source for each in _changes())


def test_the_command_prints_the_difference_and_saves_without_replacing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "new.yaml"
    assert main(["upgrade", "--to", "v0.30.0rc2", "a3-pd", "--save", str(target)]) == 0
    out = capsys.readouterr().out
    assert "a3-pd: v0.21.0rc1 (vLLM 0.21.0) to v0.30.0rc2 (vLLM 0.30.0)" in out
    assert "+version: v0.30.0rc2" in out
    assert f"saved as {target}" in out
    assert load_layout(str(target)).version == "v0.30.0rc2"
    assert main(["upgrade", "--to", "v0.25.1rc1", "a3-pd", "--save", str(target)]) == 2
    assert "exists" in capsys.readouterr().err
    assert load_layout(str(target)).version == "v0.30.0rc2"
    assert main(["upgrade", "--to", "v0.25.1rc1", str(target), "--save", str(target), "--force"]) == 0
    assert load_layout(str(target)).version == "v0.25.1rc1"


def test_the_command_tells_programs_and_exits_by_what_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = made(tmp_path, "0.21.0rc1", "args: {calculate-kv-scales: true}")
    assert main(["upgrade", "--to", "v0.30.0rc2", str(path), "-o", "json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["from"] == {"release": "v0.21.0rc1", "vllm": "0.21.0"}
    assert found["to"] == {"release": "v0.30.0rc2", "vllm": "0.30.0"}
    assert (found["fits"], found["saved"], found["by_hand"]) == (False, None, [])
    assert found["changes"][0] == {
        "kind": "gone",
        "setting": "calculate-kv-scales",
        "path": ["args", "calculate-kv-scales"],
        "line": 7,
        "value": True,
        "new": None,
        "message": "--calculate-kv-scales was removed in 0.28.0rc1",
    }
    assert any(line.startswith("+version") for line in found["diff"])
    assert main(["upgrade", "--to", "v0.30.0rc2", str(path), "-o", "jsonl"]) == 1
    assert json.loads(capsys.readouterr().out.splitlines()[0])["kind"] == "gone"


@pytest.mark.parametrize(
    "words",
    [
        ["--to", "v0.99.0", "a3-pd"],
        ["--to", "main", "a3-pd"],
        ["--to", "v0.25.1rc1", "--from", "v9.9.9", "a3-pd"],
        ["--to", "v0.25.1rc1", "no-such-layout"],
        ["--to", "v0.25.1rc1", "/no/such/file.yaml"],
    ],
)
def test_what_cannot_be_compared_is_a_usage_error(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["upgrade", *words]) == 2
    assert capsys.readouterr().out == ""


def test_without_a_layout_or_a_cluster_a_layout_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.delenv("DSV4_CLUSTER", raising=False)
    assert main(["upgrade", "--to", "v0.25.1rc1"]) == 2
    assert "upgrade --to RELEASE LAYOUT" in capsys.readouterr().err


def test_a_layout_without_a_release_needs_one(tmp_path: Path) -> None:
    path = made(tmp_path, "0.21.0rc1")
    path.write_text("".join(line for line in path.read_text().splitlines(True) if line[:5] not in ("versi", "image")))
    with pytest.raises(UsageError, match="the layout names no release"):
        upgrade(load_layout(str(path)), "v0.25.1rc1")
    found = upgrade(load_layout(str(path)), "v0.25.1rc1", "v0.21.0rc1")
    assert found.changed.rstrip().endswith("version: v0.25.1rc1")
