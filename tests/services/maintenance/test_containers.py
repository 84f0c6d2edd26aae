"""What inspect says against what a node wants, and the plans that follow, from answers as docker and podman give them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from console.probes.check_types import Answer, NodeRequirements
from console.probes.container import differences, parse_container, same_image
from console.services.maintenance.containers import pull_progress
from console.services.readiness.container_setup import seen

IMAGE = "quay.io/ascend/vllm-ascend:v0.21.0rc1-a3"
WANTED = NodeRequirements(
    "p0", "a3", 2, image=IMAGE, container="box", mounts=("/usr/local/dcmi", "/root/.cache"), log_dir="/var/tmp/base"
)


def inspected(**changes: Any) -> dict[str, Any]:
    """A container as wanted, with changes by dotted path (`HostConfig__NetworkMode`)."""
    made: dict[str, Any] = {
        "Name": "/box",
        "State": {"Status": "running", "Running": True},
        "Image": "sha256:aaaa",
        "Config": {"Image": IMAGE},
        "HostConfig": {"NetworkMode": "host", "Privileged": True, "ShmSize": 512 * 2**30, "Devices": []},
        "Mounts": [{"Destination": each} for each in ("/usr/local/dcmi", "/root", "/var/tmp")],
    }
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = made
        for each in parents:
            place = place[each]
        place[last] = value
    return made


def told(image_id: str = "", **changes: Any) -> list[tuple[str, str]]:
    container = parse_container(json.dumps([inspected(**changes)]).encode())
    assert container is not None
    return [(each.what, each.text) for each in differences(container, WANTED, image_id)]


def test_a_container_as_wanted_differs_in_nothing() -> None:
    assert told() == []
    assert told("aaaa") == []


@pytest.mark.parametrize(
    ("changes", "what", "text"),
    [
        ({"HostConfig__NetworkMode": "bridge"}, "network", "network is bridge, not host"),
        ({"HostConfig__ShmSize": 64 * 2**20}, "shm", "shm is 0.1 GiB for 1 engine"),
        ({"Config__Image": "other:1"}, "image", f"image is other:1, not {IMAGE}"),
        ({"Mounts": [{"Destination": "/root"}, {"Destination": "/var/tmp"}]}, "mounts", "not mounted: /usr/local/dcmi"),
        ({"Mounts": [{"Destination": "/root"}, {"Destination": "/usr"}]}, "base", "/var/tmp/base is not mounted"),
    ],
)
def test_each_difference_is_named(changes: dict[str, Any], what: str, text: str) -> None:
    ((found, said),) = told(**changes)
    assert found == what
    assert said.startswith(text)


def test_without_privileges_every_device_must_be_given() -> None:
    devices = [{"PathOnHost": f"/dev/{each}"} for each in ("davinci0", "davinci_manager", "devmm_svm", "hisi_hdc")]
    found = told(HostConfig__Privileged=False, HostConfig__Devices=devices)
    assert found == [("privileged", "not privileged"), ("devices", "lacks /dev/davinci1")]


def test_an_image_that_was_pulled_anew_is_told_by_its_digest() -> None:
    assert told("bbbb") == [("digest", f"created from aaaa, but {IMAGE} on this node is now bbbb")]
    assert told("aaaa", Config__Image="another:name") == [], "the same image under another name is the same"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("localhost/x:v1", "x:v1"),
        ("docker.io/library/busybox", "busybox:latest"),
        ("reg:5000/a/b", "reg:5000/a/b:latest"),
    ],
)
def test_names_that_mean_one_image(one: str, other: str) -> None:
    assert same_image(one, other)
    assert not same_image(one, other + "-a3")


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "[1]", '[{"State": 3, "Mounts": [1, {"Destination": 2}], "HostConfig": []}]', "[" * 9000]
)
def test_nonsense_is_no_container_or_one_that_tells_nothing(text: str) -> None:
    found = parse_container(text.encode())
    assert found is None or (found.status, found.mounts, found.devices) == ("", (), ())


def answers(stderr: str = "", code: int = 0, stdout: str = "[]") -> dict[str, Answer]:
    return {
        "container": Answer(stdout.encode(), code, stderr=stderr.encode()),
        "image": Answer(b'[{"Id": "sha256:aaaa"}]'),
        "others": Answer(b"box|i|running\nother|img|exited\n"),
        "paths": Answer(b"/usr/local/dcmi\n== end\n"),
    }


@pytest.mark.parametrize(
    "stderr",
    [
        "Error response from daemon: No such container: box",
        "Error: No such object: box",
        "Error: inspecting object: no such container box",
    ],
)
def test_a_missing_container_is_absent_in_the_words_of_every_tool(stderr: str) -> None:
    found = seen(WANTED, answers(stderr, 1))
    assert (found.state, found.missing, found.others, found.image_id) == (
        "absent",
        ("/usr/local/dcmi",),
        ("other (img, exited)",),
        "aaaa",
    )


def test_what_the_tool_cannot_say_is_unknown_and_never_absent() -> None:
    down = seen(WANTED, answers("Cannot connect to the Docker daemon at unix:///var/run/docker.sock.", 1))
    assert (down.state, "Cannot connect" in down.trouble) == ("unknown", True)
    denied = seen(WANTED, answers("permission denied while trying to connect", 1, ""))
    assert denied.state == "unknown"
    late = seen(WANTED, {"container": Answer(b"", None)})
    assert late.state == "unknown"
    assert seen(WANTED, {}).state == "unknown"


def test_where_engines_make_their_own_only_the_image_counts() -> None:
    own = replace(WANTED, container="")
    found = seen(own, {**answers(), "paths": Answer(b"== end\n")})
    assert (found.state, found.fits) == ("image here", True)
    gone = seen(own, {**answers(), "image": Answer(b"[]", 1)})
    assert (gone.state, gone.fits) == ("no image", False)
    assert seen(own, {}).state == "unknown"


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("", ""),
        ("v1: Pulling from a/b\n", ""),
        ("aaaaaaaaaaaa: Pulling fs layer\nbbbbbbbbbbbb: Already exists\naaaaaaaaaaaa: Downloading\n", "1 of 2 layers"),
        ("aaaaaaaaaaaa: Pulling fs layer\naaaaaaaaaaaa: Pull complete\nDigest: sha256:" + "c" * 64, "1 of 1 layers"),
        ("Copying blob sha256:" + "a" * 64 + "\nCopying blob " + "b" * 12 + " done\nCopying config", "1 of 2 layers"),
    ],
)
def test_progress_of_a_pull_in_layers(log: str, said: str) -> None:
    assert pull_progress(log) == said
