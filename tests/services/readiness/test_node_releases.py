"""The release on a node beside the layout's: what follows from a difference is said, and so is what could not be read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from console.files import load_layout
from console.model.deployment import Deployment
from console.model.hardware import HARDWARE, PLAIN
from console.probes.check_types import Result, Verdict
from console.services.placement.edits import example
from console.services.readiness.node_releases import PACKAGES_CHECK, with_releases
from console.services.readiness.node_requirements import wanted_release


def made(**change: Any) -> Deployment:
    return example(load_layout("a3-pd").model_copy(update=change))


def said(deployment: Deployment, value: str, verdict: Verdict = Verdict.FAIL, node: str = "decode-0") -> str:
    result = Result(PACKAGES_CHECK, "packages", node, verdict, "seen", value=value)
    other = replace(result, check="19")
    found, left = with_releases(deployment, (result, other))
    assert left == other
    return found.seen


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("vllm 0.21.0+empty, vllm-ascend 0.21.0rc1", "seen"),
        (
            "vllm 0.19.1, vllm-ascend 0.19.1rc1",
            "0.19.1rc1 has no KV connector MooncakeHybridConnector; it was added in 0.20.2rc1",
        ),
        (
            "vllm 0.23.0, vllm-ascend 0.23.0rc1+local",
            "seen; 0.23.0rc1 knows every flag, variable and key of this layout",
        ),
        ("vllm 0.99.0, vllm-ascend 0.99.0", "no facts about 0.99.0"),
        ("vllm 0.21.0", "seen"),
        ("", "seen"),
    ],
)
def test_what_another_release_means_for_the_layout_is_said(value: str, text: str) -> None:
    found = said(made(), value)
    assert found == text or (text != "seen" and text in found)


def test_of_many_consequences_the_first_are_told_and_the_rest_counted() -> None:
    deployment = made(
        args={
            **load_layout("a3-pd").args,
            "spec-method": "mtp",
            "engram-config": {},
            "watermark": 0.1,
            "kernel-config": {},
        }
    )
    found = said(deployment, "vllm 0.18.0, vllm-ascend 0.18.0")
    assert "no flag --" in found
    assert " +" in found.rpartition(";")[2]
    assert found.endswith("more")


def test_a_release_that_could_not_be_read_is_said() -> None:
    found = said(made(), "", Verdict.UNKNOWN)
    assert found == "seen: the release here could not be compared with the layout's v0.21.0rc1"


def test_nothing_is_compared_where_the_layout_names_no_release_or_the_node_has_no_npu() -> None:
    assert said(made(version="main", image=""), "vllm-ascend 0.19.1rc1") == "seen"
    deployment = made()
    plain = deployment.cluster.nodes["decode-0"].model_copy(update={"hardware": HARDWARE[PLAIN]})
    cluster = deployment.cluster.model_copy(update={"nodes": {**deployment.cluster.nodes, "decode-0": plain}})
    assert said(replace(deployment, cluster=cluster), "vllm-ascend 0.19.1rc1") == "seen"


@pytest.mark.parametrize(
    ("version", "image", "wanted"),
    [
        ("v0.21.0rc1", "", "v0.21.0rc1"),
        ("", "quay.io/ascend/vllm-ascend:v0.23.0-a3@sha256:00ff", "0.23.0"),
        ("main", "quay.io/ascend/vllm-ascend:main-a3", ""),
        ("", "", ""),
    ],
)
def test_the_wanted_release_is_the_versions_or_the_images(version: str, image: str, wanted: str) -> None:
    assert wanted_release(made(version=version, image=image).layout) == wanted
