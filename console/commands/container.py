"""The command that makes a node's container: devices, driver mounts and weights as vllm-ascend wants them. It runs nothing."""

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
    """The node's image, else the layout's. Raises UsageError when neither is named."""
    image = node.runtime.image or deployment.layout.image
    if not image:
        raise UsageError(
            f"no image is named for {node.name}", hint="write runtime.image in the cluster file, or image in the layout"
        )
    return image


def weights_mount(path: str) -> str:
    """The directory of the host that must be visible for the weights; empty for a hub name, which is no path."""
    place = PurePosixPath(path)
    if not place.is_absolute():
        return ""
    return str(_CACHE) if _CACHE in place.parents else str(place)


def wanted_mounts(deployment: Deployment, node: Node) -> tuple[str, ...]:
    """Paths of the host that must be the same inside the node's container; empty on a host runtime."""
    if not node.runtime.words:
        return ()
    driver = kind_of(node.hardware.name).driver_mounts if node.hardware.devices else ()
    return tuple(each for each in (*driver, weights_mount(deployment.layout.model.path)) if each)


def run_container(
    deployment: Deployment, node: Node, *, name: str = "", mounts: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """Words up to and with the image: a detached container on the host's network that sees all devices.

    Corrects the tutorial where it fails in practice: detached instead of tied to a terminal, privileged, weights mounted.
    """
    words = [*(node.runtime.words or ("docker",)), "run", "-d", "--name", name or node.runtime.container]
    return (*words, *_flags(deployment, node, mounts), image_of(deployment, node))


def throwaway(deployment: Deployment, node: Node) -> tuple[str, ...]:
    """Words before a command that is to run once where an engine of `per: engine` would run."""
    words = (*node.runtime.words, "run", "--rm", "--pull=never")
    return (*words, *_flags(deployment, node, ()), image_of(deployment, node))


def engine_container(deployment: Deployment, rank: Rank) -> EngineContainer | None:
    """The container that is made for a rank alone; None where it has none (`per: node`, host).

    Raises UsageError when no image is named.
    """
    return own_container(deployment, deployment.node(rank.node), rank.id)


def own_container(deployment: Deployment, node: Node, run: str) -> EngineContainer | None:
    """The same for anything that is launched under the name `run`."""
    if not node.runtime.words or node.runtime.per != "engine":
        return None
    name = re.sub(r"[^A-Za-z0-9_.-]", "-", f"dsv4-{deployment.name}-{run}")
    flags = _flags(deployment, node, (node.base,))
    return EngineContainer(tuple(node.runtime.words), name, flags, image_of(deployment, node))


def inside(deployment: Deployment, node: Node) -> tuple[str, ...]:
    """Words before a command that is to run once where engines of the node run; none on a host runtime.

    Raises UsageError where it takes an image and none is named.
    """
    runtime = node.runtime
    if runtime.words and runtime.per == "engine":
        return throwaway(deployment, node)
    return (*runtime.words, "exec", runtime.container) if runtime.words else ()


def engine_container_text(box: EngineContainer) -> str:
    """How a person would make that container, up to what runs in it; secrets masked."""
    words = (*box.tool, "run", "-d", "--name", box.name, *box.flags, box.image)
    return join(masked_argv(words))


def _flags(deployment: Deployment, node: Node, mounts: tuple[str, ...]) -> tuple[str, ...]:
    """Of `run`, the operator's own last."""
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
