"""Compares the containers of nodes with the required ones, and builds the commands to create or remove them. Runs nothing.

The console never removes or recreates a running container; it reports differences with the commands for the operator.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from console.commands.container import image_of, run_container, weights_mount
from console.commands.quoting import join, quote
from console.model.cluster import Node
from console.model.deployment import Deployment
from console.model.errors import UsageError
from console.model.hardware import KINDS, kind_of
from console.probes.check_types import Answer, NodeRequirements, Result, Verdict
from console.probes.command_batch import Job
from console.probes.container import Container, Difference, differences, parse_container
from console.probes.sanitize import clean

CONTAINER_CHECKS = ("23", "24")
"""The checks of a container's settings and mounts."""
_ABSENT = "no container "
_PATHS = """for path in "$@"; do [ -e "$path" ] || echo "$path"; done; echo '== end'"""
_ASK_S = 15.0


@dataclass(frozen=True, slots=True)
class ContainerFacts:
    """The container state of a node, from its answers."""

    node: str
    name: str
    """The name of the required container."""
    trouble: str = ""
    """Why the state is unknown; the other fields are empty then."""
    container: Container | None = None
    """None without a container of that name."""
    differences: tuple[Difference, ...] = ()
    image: str = ""
    image_id: str = ""
    """Id of the required image on the node; empty without it."""
    missing: tuple[str, ...] = ()
    """Host paths that would be mounted but do not exist."""
    others: tuple[str, ...] = ()
    """Containers with other names: `NAME (IMAGE, STATE)`."""
    per_engine: bool = False
    """Whether each engine has its own container, so that only the image is needed."""

    @property
    def state(self) -> str:
        """`unknown`, `absent`, or the state that the tool reports; with one container per engine whether the image exists."""
        if self.trouble:
            return "unknown"
        if self.per_engine:
            return "image here" if self.image_id else "no image"
        return self.container.status if self.container else "absent"

    @property
    def fits(self) -> bool:
        """Whether engines can be started without changes."""
        if self.per_engine:
            return bool(self.image_id) and not self.missing
        return self.container is not None and self.container.running and not self.differences


def state_commands(deployment: Deployment, node: Node) -> tuple[Job, ...]:
    """The commands that read the container state of a node, as one batch. Changes nothing."""
    tool = node.runtime.words
    image = _image(deployment, node)
    name = node.runtime.container
    return (
        *(
            [Job("container", (*tool, "inspect", "--type", "container", name), _ASK_S)]
            if node.runtime.per == "node"
            else []
        ),
        *([Job("image", (*tool, "inspect", "--type", "image", image), _ASK_S)] if image else []),
        Job("others", (*tool, "ps", "-a", "--format", "{{.Names}}|{{.Image}}|{{.State}}"), _ASK_S),
        Job("paths", ("sh", "-c", _PATHS, "paths", *_mounted(deployment, node)), _ASK_S),
    )


def seen(wanted: NodeRequirements, answers: Mapping[str, Answer]) -> ContainerFacts:
    """The container state from a node's answers."""
    name = wanted.container
    if not name:
        return _of_image(wanted, answers)
    answer = answers.get("container")
    if answer is None or not answer.whole:
        return ContainerFacts(wanted.node, name, "the container tool did not answer in time")
    container = parse_container(answer.stdout)
    if container is None and "no such" not in (refused := answer.refused).lower() and "no container" not in refused:
        said = clean(answer.stderr.split(b"\n")[0].decode("utf-8", "replace"))[:200]
        return ContainerFacts(wanted.node, name, said or f"the container tool exited with {answer.exit_code}")
    found = answers.get("image")
    image = parse_image(found.stdout) if found and found.whole else ""
    there = answers.get("paths", Answer())
    return ContainerFacts(
        node=wanted.node,
        name=name,
        container=container,
        differences=tuple(differences(container, wanted, image)) if container else (),
        image=wanted.image,
        image_id=image,
        missing=tuple(line for line in there.lines if line.startswith("/")) if "== end" in there.lines else (),
        others=tuple(_others(answers.get("others", Answer()), name)),
    )


def _of_image(wanted: NodeRequirements, answers: Mapping[str, Answer]) -> ContainerFacts:
    """The state of a node with one container per engine."""
    if (others := answers.get("others")) is None or not others.whole or others.refused:
        trouble = others.refused if others and others.refused else "the container tool did not answer in time"
        return ContainerFacts(wanted.node, "(one per engine)", trouble, per_engine=True)
    found, there = answers.get("image"), answers.get("paths", Answer())
    return ContainerFacts(
        node=wanted.node,
        name="(one per engine)",
        image=wanted.image,
        image_id=parse_image(found.stdout) if found and found.whole else "",
        missing=tuple(line for line in there.lines if line.startswith("/")),
        per_engine=True,
    )


def parse_image(stdout: bytes) -> str:
    """The id of the inspected image, without `sha256:`; empty without one."""
    try:
        data = json.loads(stdout)
        return str(data[0]["Id"]).removeprefix("sha256:")
    except (ValueError, RecursionError, LookupError, TypeError):
        return ""


def creation_argv(deployment: Deployment, name: str) -> tuple[str, ...]:
    """The argv that creates the node's container, with its run directories mounted. Raises UsageError without an image."""
    node = deployment.node(name)
    return (*run_container(deployment, node, mounts=(node.base,)), "sleep", "infinity")


def creation_command(deployment: Deployment, name: str) -> str:
    """The command that creates the node's container; empty on a host runtime or without an image."""
    node = deployment.node(name)
    if not node.runtime.words:
        return ""
    try:
        words = creation_argv(deployment, name)
    except UsageError:
        return ""
    return f"mkdir -p -m 700 {quote(node.base)} && {join(words)}"


def removal_command(node: Node) -> str:
    """The command that removes the container; it ends everything in it."""
    return " && ".join(join((*node.runtime.words, act, node.runtime.container)) for act in ("stop", "rm"))


def driver_missing(found: ContainerFacts) -> tuple[str, ...]:
    """The missing host paths of the driver; mounting them would create empty directories."""
    of_drivers = {path for kind in KINDS.values() for path in kind.driver_mounts}
    return tuple(each for each in found.missing if each in of_drivers)


def container_findings(deployment: Deployment, results: Iterable[Result]) -> tuple[Result, ...]:
    """The results; those about a missing or wrong container get the exact commands as remedy."""
    return tuple(_with_commands(deployment, each) for each in results)


def _with_commands(deployment: Deployment, result: Result) -> Result:
    if result.check not in CONTAINER_CHECKS or result.verdict is not Verdict.FAIL:
        return result
    runtime = deployment.node(result.node).runtime
    if result.remedy.startswith("start "):
        return replace(result, remedy=join((*runtime.words, "start", runtime.container)))
    made = creation_command(deployment, result.node)
    if not made:
        return result
    if result.seen.startswith(_ABSENT):
        return replace(result, remedy=f"{made}  # or: dsv4-console containers create {result.node}")
    away = removal_command(deployment.node(result.node))
    return replace(result, remedy=f"{away} && {made}  # ends everything that runs in the old one")


def _mounted(deployment: Deployment, node: Node) -> Sequence[str]:
    driver = kind_of(node.hardware.name).driver_mounts if node.hardware.devices else ()
    return [each for each in (*driver, weights_mount(deployment.layout.model.path)) if each]


def _image(deployment: Deployment, node: Node) -> str:
    try:
        return image_of(deployment, node)
    except UsageError:
        return ""


def _others(answer: Answer, name: str) -> Iterable[str]:
    for line in answer.lines:
        words = line.split("|")
        if len(words) == 3 and words[0] != name:
            yield f"{words[0]} ({words[1]}, {words[2]})"
