"""`per: engine`: what each engine's container is made with, what the plan shows of it, what the cluster file may not say."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from console.commands.container import engine_container, temporary_container
from console.files import load_cluster
from console.model.cluster import Cluster, Runtime
from console.model.deployment import Deployment
from console.model.errors import FileError, UsageError
from console.services.operations.plan_maker import PlanMaker
from console.services.operations.step_text import step_commands
from console.services.readiness.node_requirements import requirements_of
from tests.services.deployments import deployment, picture

IMAGE = "q/vllm-ascend:v0.21.0rc1-a3"
FLAGS = ("--ulimit", "nofile=65535:65535")


def boxed(runtime: Runtime) -> Deployment:
    """The small deployment with this runtime on all nodes."""
    made = deployment()
    nodes = {name: node.model_copy(update={"runtime": runtime}) for name, node in made.cluster.nodes.items()}
    cluster: Cluster = made.cluster.model_copy(update={"nodes": nodes})
    return replace(made, cluster=cluster)


def test_an_engine_s_container_sees_devices_weights_and_run_directories() -> None:
    made = boxed(Runtime(kind="docker", per="engine", image=IMAGE, run_flags=FLAGS))
    rank = next(each for each in made.ranks() if each.id == "decode-3")
    box = engine_container(made, rank)
    assert box is not None
    assert (box.name, box.image) == ("dsv4-pd-decode-3", IMAGE)
    flags = box.flags
    mounts = {value for flag, value in pairwise(flags) if flag == "-v"}
    assert {"/models/v4:/models/v4", "/var/tmp/dsv4-console:/var/tmp/dsv4-console"} <= mounts
    assert "/dev/davinci15" in flags
    assert tuple(flags[-2:]) == FLAGS, "the operator's own come last"


@pytest.mark.parametrize("runtime", [Runtime(), Runtime(kind="docker", image=IMAGE)], ids=["host", "per node"])
def test_elsewhere_no_container_is_made(runtime: Runtime) -> None:
    made = boxed(runtime)
    assert engine_container(made, made.ranks()[0]) is None


def test_the_plan_shows_the_container_before_the_command() -> None:
    made = boxed(Runtime(kind="docker", per="engine", image=IMAGE))
    plan = PlanMaker(made, picture({}, made)).make("start", ())
    launch = next(step for step in plan.steps if step.act == "launch" and "decode-0" in step.engines)
    first, second = step_commands(launch)[0].split(" \\\n  ")
    assert first.startswith("docker run -d --name dsv4-pd-decode-0 --net=host")
    assert first.endswith(IMAGE)
    assert "vllm serve /models/v4" in second


def test_the_preflight_asks_in_a_throwaway_container_and_of_none_that_is_there() -> None:
    made = boxed(Runtime(kind="podman", per="engine", image=IMAGE))
    words = temporary_container(made, made.node("d0"))
    assert words[:3] == ("podman", "run", "--rm")
    assert words[-1] == IMAGE
    assert "/var/tmp/dsv4-console:/var/tmp/dsv4-console" not in words, "podman refuses a mount that is not there yet"
    assert requirements_of(made, "d0", picture({})).container == ""


def test_without_an_image_it_is_said_which_key_to_write() -> None:
    made = boxed(Runtime(kind="docker", per="engine"))
    with pytest.raises(UsageError, match="no image is set for") as refused:
        engine_container(made, made.ranks()[0])
    assert "runtime.image" in refused.value.hint


@pytest.mark.parametrize(
    ("runtime", "words"),
    [
        ("{kind: docker, per: engines}", "did you mean engine"),
        ("{kind: host, per: engine}", "needs kind: docker or podman"),
    ],
)
def test_a_wrong_key_names_its_place(tmp_path: Path, runtime: str, words: str) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(f"name: lab\nnodes:\n  p0: {{host: 10.0.0.1, runtime: {runtime}}}\n")
    with pytest.raises(FileError, match=words) as refused:
        load_cluster(file)
    assert f"{file}:3:" in str(refused.value)
