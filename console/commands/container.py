"""The command that creates the container of a node with the devices, driver mounts and weights it needs. Runs nothing."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from console.commands.masking import masked_argv
from console.commands.quoting import join
from console.model.cluster import Node
from console.model.deployment import Deployment, Rank
from console.model.errors import UsageError
from console.model.hardware import kind_of
from console.model.payload import EngineContainer

SHM_SIZE = "512g"
_CACHE = PurePosixPath("/root/.cache")


def image_of(deployment: Deployment, node: Node) -> str:
    """The image of the node, else of the layout. Raises UsageError when there is none."""
    image = node.runtime.image or deployment.layout.image
    if not image:
        raise UsageError(
            f"no image is set for {node.name}", hint="set runtime.image in the cluster file, or image in the layout"
        )
    return image


def weights_mount(path: str) -> str:
    """The directory of the host with the weights; empty when the model is the name of a repository."""
    place = PurePosixPath(path)
    if not place.is_absolute():
        return ""
    return str(_CACHE) if _CACHE in place.parents else str(place)


def wanted_mounts(deployment: Deployment, node: Node) -> tuple[str, ...]:
    """Paths of the host that the container of the node must mount at the same path; empty on a host runtime."""
    if not node.runtime.words:
        return ()
    driver = kind_of(node.hardware.name).driver_mounts if node.hardware.devices else ()
    return tuple(each for each in (*driver, weights_mount(deployment.layout.model.path)) if each)


def run_container(
    deployment: Deployment, node: Node, *, name: str = "", mounts: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """`docker run` up to the image: a detached container with all devices on the network of the host.

    It differs from the tutorial where that fails in practice: it is detached and privileged, and mounts the weights.
    """
    words = [*(node.runtime.words or ("docker",)), "run", "-d", "--name", name or node.runtime.container]
    return (*words, *_flags(deployment, node, mounts), image_of(deployment, node))


def temporary_container(deployment: Deployment, node: Node) -> tuple[str, ...]:
    """The words before a command that runs once in a temporary container like the one of an engine (`per: engine`)."""
    words = (*node.runtime.words, "run", "--rm", "--pull=never")
    return (*words, *_flags(deployment, node, ()), image_of(deployment, node))


def engine_container(deployment: Deployment, rank: Rank) -> EngineContainer | None:
    """The container of one rank (`per: engine`); None with another runtime. Raises UsageError when no image is set."""
    return own_container(deployment, deployment.node(rank.node), rank.id)


def own_container(deployment: Deployment, node: Node, run: str) -> EngineContainer | None:
    """The same for any process that is started under the name `run`."""
    if not node.runtime.words or node.runtime.per != "engine":
        return None
    name = re.sub(r"[^A-Za-z0-9_.-]", "-", f"dsv4-{deployment.name}-{run}")
    flags = _flags(deployment, node, (node.base,))
    return EngineContainer(tuple(node.runtime.words), name, flags, image_of(deployment, node))


def inside(deployment: Deployment, node: Node) -> tuple[str, ...]:
    """The words before a command that runs once in the environment of the node's engines; none on a host runtime.

    Raises UsageError when an image is needed and none is set.
    """
    runtime = node.runtime
    if runtime.words and runtime.per == "engine":
        return temporary_container(deployment, node)
    return (*runtime.words, "exec", runtime.container) if runtime.words else ()


def engine_container_text(container: EngineContainer) -> str:
    """The command line that creates the container, up to the image, with secrets masked."""
    words = (*container.tool, "run", "-d", "--name", container.name, *container.flags, container.image)
    return join(masked_argv(words))


def _flags(deployment: Deployment, node: Node, mounts: tuple[str, ...]) -> tuple[str, ...]:
    """The flags of `run`; those of the operator come last."""
    words = ["--net=host", "--privileged=true", f"--shm-size={SHM_SIZE}"]
    for device in range(node.hardware.devices):
        words += ["--device", f"/dev/davinci{device}"]
    if node.hardware.devices:
        kind = kind_of(node.hardware.name)
        for each in kind.device_nodes:
            words += ["--device", each]
        for each in kind.driver_mounts:
            words += ["-v", f"{each}:{each}"]
    for each in dict.fromkeys((weights_mount(deployment.layout.model.path), *mounts)):
        if each:
            words += ["-v", f"{each}:{each}"]
    return (*words, *node.runtime.run_flags)
