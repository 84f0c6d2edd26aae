"""What releases say of upstream's own deployments: 19 tutorial commands and 42 CI configurations. Nothing false is found."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from console.cli.import_command import imported_from
from console.model.layout import Layout
from console.rules import check
from console.services.importing import build, read_script
from console.services.placement.edits import example
from tests.shared import SHARED, needs_shared

TUTORIALS = SHARED / "fixtures" / "tutorials" / "deepseek-v4-2026-08-22.json"
CONFIGS = sorted((SHARED / "fixtures" / "ci-configs").glob("*.yaml"))

TRUE_FINDINGS = {
    "V4 VLLM_NIXL_ABORT_REQUEST_TIMEOUT": "vLLM 0.22.0 removed it",
    "V4 VLLM_USE_V1": "removed before 0.18.0",
    "V4 VLLM_TORCH_PROFILER_WITH_STACK": "removed before 0.18.0; it is a key of --profiler-config",
    "V4 VLLM_ASCEND_SKIP_LOW_BLOCKS": "in no release's source",
    "V4 VLLM_ASCEND_ENABLE_FUSED_MC2": "0.27.1rc1 removed it; it is a key of --additional-config",
    "V4 VLLM_ASCEND_ENABLE_MLAPO": "as VLLM_ASCEND_ENABLE_FUSED_MC2",
    "V4 VLLM_ASCEND_ENABLE_NZ": "as VLLM_ASCEND_ENABLE_FUSED_MC2",
    "V4 VLLM_ASCEND_BALANCE_SCHEDULING": "as VLLM_ASCEND_ENABLE_FUSED_MC2",
    "V5 fuse_muls_add": "a key of ascend_compilation_config, one level too high",
    "V5 lmhead_tensor_parallel_size": "a key of finegrained_tp_config, one level too high",
    "V5 enable_sparse_sfa_c8": "0.24.0rc1 and 0.25.1rc1 have enable_sparse_c8 instead",
    "V5 enable_sparse_li_c8": "0.24.0rc1 and 0.25.1rc1 have enable_sparse_c8 instead",
    "V5 enable_multistream_moe": "in no release's source",
    "V5 ascend_scheduler_config": "in no release's source",
    **{
        f"V5 {key}": "a key of eplb_config since before 0.18.0"
        for key in (
            "dynamic_eplb",
            "num_iterations_eplb_update",
            "num_wait_worker_iterations",
            "init_redundancy_expert",
            "gate_eplb",
        )
    },
}
"""What upstream's files have that a release really does not read, and how that is known."""


def tutorial_layouts() -> Iterator[Layout]:
    for at, each in enumerate(json.loads(TUTORIALS.read_text())):
        script = "".join(f"export {k}={shlex.quote(v)}\n" for k, v in each["env"].items() if "$" not in v)
        script += shlex.join("1" if "$" in word else word for word in each["argv"])
        hardware = "a2" if "A2" in each["tab"] else "a3"
        yield build(read_script(script + "\n", f"tutorial-{at}.sh", f"tutorial-{at}", hardware=hardware)).layout


def found(layout: Layout, release: str) -> set[str]:
    """`RULE setting` of everything that is said about what the release knows."""
    of_release = layout.model_copy(update={"version": release, "image": ""})
    names = set()
    for finding in check(example(of_release)):
        if finding.rule in ("V2", "V3", "V4", "V5", "V6"):
            said = finding.message.partition(": ")[2]
            words = [
                word.rstrip(";") for word in said.split() if word not in ("reads", "no", "variable", "has", "flag")
            ]
            names.add(f"{finding.rule} {words[1]}")
    return names


@needs_shared
@pytest.mark.shared
@pytest.mark.parametrize("release", ["v0.25.1rc1", "v0.26.0rc1", "v0.27.1rc1", "v0.30.0rc2"])
def test_nothing_false_is_said_of_the_tutorials(release: str) -> None:
    layouts = list(tutorial_layouts())
    assert len(layouts) == 19
    said = {name for layout in layouts for name in found(layout, release)}
    retained = {"V4 VLLM_PREFIX_CACHE_RETENTION_INTERVAL"} if release == "v0.30.0rc2" else set()
    moved = {name for name in said if name.startswith("V4 VLLM_ASCEND") and release > "v0.27"}
    assert said - retained - moved == set()
    assert moved <= set(TRUE_FINDINGS)


@needs_shared
@pytest.mark.shared
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_nothing_false_is_said_of_the_ci_configurations(path: Path) -> None:
    layout = imported_from(path).layout
    assert found(layout, "v0.25.1rc1") | found(layout, "v0.26.0rc1") <= set(TRUE_FINDINGS)


@needs_shared
@pytest.mark.shared
def test_main_refuses_nothing_that_upstream_runs_on_it() -> None:
    layouts: list[Any] = [*tutorial_layouts(), *(imported_from(path).layout for path in CONFIGS)]
    for layout in layouts:
        on_main = layout.model_copy(update={"version": "main", "image": ""})
        errors = [each.message for each in check(example(on_main)) if each.rule == "R22" and each.severity == "error"]
        assert not errors
