"""Rules that go by the release: sequence parallelism under DSA context parallelism, and the image's hardware and release."""

from __future__ import annotations

from typing import Any

import pytest

from console.files import load_layout
from console.model.findings import Finding
from console.model.image_name import built_for, tag_of, with_release
from console.rules import check
from console.services.placement.edits import example

FLASH = {"VLLM_ASCEND_ENABLE_FLASHCOMM1": "1"}
NEEDS = "enable_dsa_cp needs sequence parallelism"


def found(rule: str, **change: Any) -> list[Finding]:
    """What one rule says of a3-mixed with these settings."""
    args, env = change.pop("args", None), change.pop("env", None)
    layout = load_layout("a3-mixed")
    layout = layout.model_copy(
        update={
            **change,
            "args": {**layout.args, **(args or {})},
            "env": layout.env if env is None else {**env},
        }
    )
    return [finding for finding in check(example(layout)) if finding.rule == rule]


@pytest.mark.parametrize(
    ("version", "env", "config", "says"),
    [
        ("v0.21.0rc1", {}, {"enable_dsa_cp": True}, NEEDS),
        ("v0.21.0rc1", FLASH, {"enable_dsa_cp": True}, ""),
        ("v0.21.0rc1", {}, {"enable_dsa_cp": True, "enable_flashcomm1": True}, ""),
        ("v0.21.0rc1", FLASH, {"enable_dsa_cp": True, "enable_flashcomm1": False}, NEEDS),
        ("v0.21.0rc1", {}, {"enable_dsa_cp": True, "enable_shared_expert_dp": True}, ""),
        ("v0.23.0", {}, {"enable_dsa_cp": True, "enable_flashcomm1": True}, ""),
        ("v0.26.0rc1", {}, {"enable_dsa_cp": True, "enable_shared_expert_dp": True}, NEEDS),
        ("v0.26.0rc1", FLASH, {"enable_dsa_cp": True}, ""),
        ("v0.27.1rc1", {}, {"enable_dsa_cp": True}, ""),
        ("v0.27.1rc1", FLASH, {"enable_dsa_cp": True}, "VLLM_ASCEND_ENABLE_FLASHCOMM1 is deprecated since 0.27.1rc1"),
        ("v0.30.0rc2", {}, {"enable_flashcomm1": True}, "enable_flashcomm1 is deprecated since 0.27.1rc1"),
        ("main", {}, {"enable_dsa_cp": True}, ""),
        ("main", FLASH, {"enable_dsa_cp": True}, "VLLM_ASCEND_ENABLE_FLASHCOMM1 is deprecated since 0.27.1rc1"),
        ("v0.99.0", {}, {"enable_dsa_cp": True}, ""),
        ("", {}, {"enable_dsa_cp": True}, ""),
    ],
)
def test_sequence_parallelism_is_asked_for_as_each_release_wants_it(
    version: str, env: dict[str, str], config: dict[str, bool], says: str
) -> None:
    messages = [
        each.message for each in found("R22", version=version, image="", env=env, args={"additional-config": config})
    ]
    assert len(messages) == bool(says)
    assert not says or says in messages[0]


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        ("quay.io/ascend/vllm-ascend:v0.21.0rc1", "a2"),
        ("quay.io/ascend/vllm-ascend:v0.21.0rc1-openeuler", "a2"),
        ("quay.io/ascend/vllm-ascend:v0.21.0rc1-a3", "a3"),
        ("quay.io/ascend/vllm-ascend:v0.21.0rc1-a3-openeuler", "a3"),
        ("quay.io/ascend/vllm-ascend:v0.23.0rc1-310p", "310p"),
        ("quay.io/ascend/vllm-ascend:v0.23.0rc1-a5-openeuler", "a5"),
        ("registry.lab:5000/vllm-ascend:v0.21.0rc1-a3", "a3"),
        ("registry.lab:5000/vllm-ascend", ""),
        ("quay.io/ascend/vllm-ascend:v0.21.0rc1@sha256:00ff", "a2"),
        ("quay.io/ascend/vllm-ascend@sha256:00ff", ""),
        ("quay.io/ascend/vllm-ascend:main", "a2"),
        ("quay.io/ascend/vllm-ascend:nightly-a3", "a3"),
        ("quay.io/ascend/vllm-ascend:deepseek-v4.1-flash", "a2"),
        ("quay.io/ascend/vllm-ascend:DeepSeekV4-flash-0731-a3", "a3"),
        ("registry.lab/team/serving:prod", ""),
    ],
)
def test_an_image_says_what_hardware_it_is_for(image: str, kind: str) -> None:
    assert built_for(image) == kind
    assert bool(found("K1", image=image)) == (kind not in ("", "a3"))


@pytest.mark.parametrize(
    ("version", "image", "differs"),
    [
        ("v0.21.0rc1", "quay.io/ascend/vllm-ascend:v0.21.0rc1-a3", False),
        ("0.21.0rc1", "quay.io/ascend/vllm-ascend:v0.21.0rc1-a3-openeuler", False),
        ("v0.21.0rc1", "quay.io/ascend/vllm-ascend:v0.25.1rc1-a3", True),
        ("v0.23.0rc1", "quay.io/ascend/vllm-ascend:v0.23.0-a3", True),
        ("v0.23.0", "quay.io/ascend/vllm-ascend:v0.23.0.post1-a3@sha256:00ff", True),
        ("v0.21.0rc1", "quay.io/ascend/vllm-ascend:main-a3", True),
        ("main", "quay.io/ascend/vllm-ascend:nightly-a3", False),
        ("v0.21.0rc1", "registry.lab/team/serving:prod", False),
        ("", "quay.io/ascend/vllm-ascend:v0.25.1rc1-a3", False),
    ],
)
def test_the_layouts_release_and_its_images_are_compared(version: str, image: str, differs: bool) -> None:
    assert bool(found("K2", version=version, image=image)) == differs


@pytest.mark.parametrize(
    ("image", "release", "other"),
    [
        ("quay.io/ascend/vllm-ascend:v0.21.0rc1-a3", "v0.25.1rc1", "quay.io/ascend/vllm-ascend:v0.25.1rc1-a3"),
        (
            "lab:5000/vllm-ascend:0.21.0rc1-a3-openeuler",
            "v0.23.0.post1",
            "lab:5000/vllm-ascend:0.23.0.post1-a3-openeuler",
        ),
        ("quay.io/ascend/vllm-ascend:v0.23.0.post1@sha256:00ff", "0.30.0rc2", "quay.io/ascend/vllm-ascend:v0.30.0rc2"),
        ("quay.io/ascend/vllm-ascend:main-a3", "v0.25.1rc1", "quay.io/ascend/vllm-ascend:main-a3"),
        ("lab:5000/vllm-ascend", "v0.25.1rc1", "lab:5000/vllm-ascend"),
    ],
)
def test_the_image_of_another_release_keeps_its_name_and_its_suffixes(image: str, release: str, other: str) -> None:
    assert with_release(image, release) == other
    assert tag_of(other) in other


def test_an_unknown_key_is_an_error_where_the_release_refuses_it() -> None:
    config = {"additional-config": {"enable_cpu_bindin": True}}
    (early,) = found("V5", version="v0.21.0rc1", image="", args=config)
    (late,) = found("V5", version="v0.27.1rc1", image="", args=config)
    assert (early.severity, late.severity) == ("warning", "error")


@pytest.mark.parametrize(
    ("settings", "rule", "text"),
    [
        (
            {"env": {"VLLM_ASCEND_ENABLE_MLAPO": "1"}},
            "V4",
            "removed in 0.27.1rc1; enable_mlapo of --additional-config replaces",
        ),
        (
            {"args": {"additional-config": {"enable_sleep_mode_extra_cleanup": True}}},
            *("V5", "removed in 0.27.1rc1: it is now rl_config.sleep_mode_extra_cleanup"),
        ),
    ],
)
def test_what_takes_the_place_of_a_setting_that_is_gone_is_named(
    settings: dict[str, Any], rule: str, text: str
) -> None:
    (finding,) = found(rule, version="v0.27.1rc1", image="", **settings)
    assert text in finding.message


@pytest.mark.parametrize(
    ("version", "flag", "value", "text"),
    [
        ("v0.23.0", "speculative-config", {"method": "dspark"}, "does not know; it was added in 0.24.0rc1"),
        (
            "v0.23.0",
            "speculative-config",
            {"dspark_draft_topk": 1},
            "has no key dspark_draft_topk; it was added in 0.2",
        ),
        ("v0.23.0", "all2all-backend", "mori", "is 'mori'; it was removed in 0.23.0rc1"),
        ("v0.23.0", "all2all-backend", "zzz", "is 'zzz'; it takes one of allgather_reducescatter,"),
    ],
)
def test_values_and_keys_of_other_releases_are_distinguished_from_slips(
    version: str, flag: str, value: Any, text: str
) -> None:
    messages = [
        each.message for rule in ("V3", "V5") for each in found(rule, version=version, image="", args={flag: value})
    ]
    assert len(messages) == 1
    assert text in messages[0]
