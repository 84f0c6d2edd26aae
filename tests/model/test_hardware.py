"""The table of hardware kinds: what is asked, mounted, expected and said of a machine follows from its entry alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.commands.container import run_container, wanted_mounts
from console.files import load_cluster
from console.model.cluster import Runtime
from console.model.hardware import HARDWARE, KINDS, kind_of
from console.model.image_name import built_for
from console.model.layout import Layout
from console.probes.check_types import Answer, NodeRequirements, Verdict
from console.probes.hccn import DeviceNet
from console.probes.preflight_checks import CHECKS, answered
from console.rules import check
from console.services.placement.edits import example
from console.services.readiness.ping_matrix import ping_routes


def _layout(hardware: str, image: str = "") -> Layout:
    return Layout.model_validate(
        {
            "name": "one",
            "hardware": hardware,
            "image": image,
            "model": {"path": "/models/v4"},
            "groups": {
                "mixed": {
                    "role": "mixed",
                    "nodes": 1,
                    "tensor_parallel": 8,
                    "data_parallel": {"size": 1, "per_node": 1},
                    "port": 8900,
                }
            },
        }
    )


def _wanted(hardware: str) -> NodeRequirements:
    made = HARDWARE[hardware]
    return NodeRequirements("n0", hardware, made.devices, made.dies_per_card, hbm_mib=made.hbm_mib)


def test_every_kind_has_its_sizes_and_its_facts() -> None:
    assert {*HARDWARE} == {*KINDS}
    assert [name for name, kind in KINDS.items() if not kind.seen] == ["a5"]
    assert kind_of("mine").hccn_queries == ()


def test_a_cluster_file_takes_the_950_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("name: c\ndefaults: {hardware: a5}\nnodes: {n0: {host: 10.0.0.1}}\n")
    assert load_cluster(path).nodes["n0"].hardware == HARDWARE["a5"]


@pytest.mark.parametrize(
    ("hardware", "devices", "has", "lacks"),
    [
        ("a3", 16, "/dev/devmm_svm", "/dev/ummu"),
        ("a5", 8, "/dev/uburma", "/dev/devmm_svm"),
    ],
)
def test_a_container_gets_the_devices_and_the_driver_of_its_kind(
    hardware: str, devices: int, has: str, lacks: str
) -> None:
    made = example(_layout(hardware, "quay.io/ascend/vllm-ascend:v0.23.0"))
    node = made.cluster.nodes["mixed-0"].model_copy(update={"runtime": Runtime(kind="docker")})
    words = run_container(made, node)
    assert sum(word.startswith("/dev/davinci") and word[12:].isdecimal() for word in words) == devices
    assert has in words
    assert lacks not in words
    assert {*wanted_mounts(made, node)} == {*kind_of(hardware).driver_mounts, "/models/v4"}
    assert ("/etc/hixlep" in wanted_mounts(made, node)) is (hardware == "a5")


def test_images_say_their_kind_and_a_wrong_one_is_found() -> None:
    assert built_for("quay.io/ascend/vllm-ascend:v0.23.0-950dt-openeuler") == "a5"
    wrong = check(example(_layout("a5", "quay.io/ascend/vllm-ascend:v0.23.0-a3")))
    assert any("is for a3, not for a5" in each.message for each in wrong)
    right = check(example(_layout("a5", "quay.io/ascend/vllm-ascend:v0.23.0-950dt")))
    assert not any("is for" in each.message for each in right)


def test_each_kind_is_asked_what_its_entry_says() -> None:
    applied = {name: {each.id for each in CHECKS if each.applies(_wanted(name))} for name in HARDWARE}
    assert {"1", "2", "3", "4", "5", "7", "9", "10b", "11"} <= applied["a5"]
    assert not {"6", "7b", "10"} & applied["a5"]
    assert "10b" not in applied["a2"] | applied["a3"]
    assert {"7b", "10"} <= applied["a3"]
    assert not applied["plain"] & {"1", "2", "11", "14"}


@pytest.mark.parametrize(
    ("lines", "verdict", "seen"),
    [
        ("/lib/route.conf\n/etc/hccl_rootinfo.json\n/etc/hixlep\n== end\n", Verdict.PASS, "all files exist"),
        ("/lib/route.conf\n/etc/hccl_rootinfo.json\n== end\n", Verdict.FAIL, "missing: /etc/hixlep"),
        ("", Verdict.UNKNOWN, "no list"),
    ],
)
def test_the_950_needs_the_files_that_describe_its_links(lines: str, verdict: Verdict, seen: str) -> None:
    answers = {"link-files": Answer(lines.encode(), 0)}
    (found,) = [each for each in answered(_wanted("a5"), answers, network=True) if each.check == "10b"]
    assert (found.verdict, seen in found.seen) == (verdict, True)


def test_devices_are_pinged_over_the_plane_of_their_kind() -> None:
    net = DeviceNet(0, address="10.1.0.1", vnic_address="192.168.0.1")
    for hardware, address in (("a2", "10.1.0.1"), ("a5", "10.1.0.1"), ("a3", "192.168.0.1")):
        wanted = {name: _wanted(hardware) for name in ("n0", "n1")}
        found = [*ping_routes(wanted, {name: {0: net} for name in wanted}, full=False)]
        assert {way.address for way in found} == {address}
