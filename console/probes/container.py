"""Parses `inspect` of docker or podman, and compares a container with the requirements of its node. Runs nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import JsonValue

from console.model.counting import counted
from console.model.hardware import kind_of
from console.model.image_name import built_for
from console.model.shortening import list_text
from console.probes.check_types import NodeRequirements

What = Literal["network", "privileged", "shm", "image", "digest", "devices", "mounts", "base"]

_DEVICES = ("/dev/davinci_manager", "/dev/devmm_svm", "/dev/hisi_hdc")
_IMPLIED = ("localhost/", "docker.io/library/", "docker.io/")


@dataclass(frozen=True, slots=True)
class Container:
    """One container, as its tool reports it. None and empty values were not reported."""

    name: str
    status: str
    """`running`, `exited`, `created`, `paused` …; empty when not reported."""
    image: str
    image_id: str
    """Without `sha256:`."""
    network: str
    privileged: bool | None
    shm_bytes: int | None
    devices: tuple[str, ...]
    """Paths on the host."""
    mounts: tuple[str, ...]
    """Paths inside."""

    @property
    def running(self) -> bool:
        """Whether commands can run in it."""
        return self.status == "running"


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference between a container and the requirements."""

    what: What
    text: str


def parse_container(stdout: bytes) -> Container | None:
    """The first container of an `inspect`; None when the output has none or is incomplete."""
    try:
        data = json.loads(stdout)
    except (ValueError, RecursionError):
        return None
    found = data[0] if isinstance(data, list) and data else None
    if not isinstance(found, dict):
        return None
    state, running = _text(found, "State", "Status"), _part(found, "State", "Running")
    shared, privileged = _part(found, "HostConfig", "ShmSize"), _part(found, "HostConfig", "Privileged")
    return Container(
        name=_text(found, "Name").lstrip("/"),
        status=state or ("running" if running is True else "exited" if running is False else ""),
        image=_text(found, "Config", "Image") or _text(found, "ImageName"),
        image_id=_text(found, "Image").removeprefix("sha256:"),
        network=_text(found, "HostConfig", "NetworkMode"),
        privileged=privileged if isinstance(privileged, bool) else None,
        shm_bytes=shared if isinstance(shared, int) else None,
        devices=tuple(_each(found, ("HostConfig", "Devices"), "PathOnHost")),
        mounts=tuple(_each(found, ("Mounts",), "Destination")),
    )


def differences(found: Container, wanted: NodeRequirements, image_id: str = "") -> Iterator[Difference]:
    """All differences; `image_id` is the id of the wanted image on the node now, empty when unknown."""
    if found.network != "host":
        yield Difference("network", f"network is {found.network or 'unknown'}, not host")
    if wanted.devices and found.privileged is not True:
        yield Difference("privileged", "not privileged")
    if found.shm_bytes is not None and found.shm_bytes < wanted.engines * 2**30:
        yield Difference("shm", f"shm is {found.shm_bytes / 2**30:.1f} GiB for {counted(wanted.engines, 'engine')}")
    yield from _image(found, wanted, image_id)
    if wanted.devices and not found.privileged and (absent := _absent_devices(found, wanted)):
        yield Difference("devices", f"lacks {list_text(absent, 4)}")
    if lacking := [each for each in wanted.mounts if not inside(each, found.mounts)]:
        yield Difference("mounts", f"not mounted: {', '.join(lacking)}")
    if wanted.log_dir and not inside(wanted.log_dir, found.mounts):
        text = f"{wanted.log_dir} is not mounted: runs and their logs are lost with the container"
        yield Difference("base", text)


def inside(path: str, mounts: tuple[str, ...]) -> bool:
    """Whether a path is a mount or inside one."""
    return any(path == each or path.startswith(each.rstrip("/") + "/") for each in mounts)


def same_image(one: str, other: str) -> bool:
    """Whether two names are the same image: podman adds `localhost/` and `docker.io/`, and a missing tag is `latest`."""
    return _plain(one) == _plain(other)


def _plain(name: str) -> str:
    for each in _IMPLIED:
        name = name.removeprefix(each)
    return name if ":" in name.rpartition("/")[2] or "@" in name else f"{name}:latest"


def _image(found: Container, wanted: NodeRequirements, image_id: str) -> Iterator[Difference]:
    if wanted.image and found.image and not same_image(found.image, wanted.image):
        if not (image_id and found.image_id == image_id):
            yield Difference("image", f"image is {found.image}, not {wanted.image}")
    elif image_id and found.image_id and found.image_id != image_id:
        text = f"created from {found.image_id[:12]}, but {wanted.image} on this node is now {image_id[:12]}"
        yield Difference("digest", text)
    suffix = kind_of(wanted.hardware).image_suffix
    if suffix and not wanted.image and re.search(r"vllm-ascend:", found.image) and built_for(found.image) == "a2":
        yield Difference("image", f"image {found.image} has no -{suffix} suffix")


def _absent_devices(found: Container, wanted: NodeRequirements) -> list[str]:
    needed = [*(f"/dev/davinci{each}" for each in range(wanted.devices)), *kind_of(wanted.hardware).device_nodes]
    return [each for each in needed if each not in found.devices]


def _part(data: JsonValue, *keys: str) -> JsonValue:
    for key in keys:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data


def _text(data: JsonValue, *keys: str) -> str:
    value = _part(data, *keys)
    return value if isinstance(value, str) else ""


def _each(data: JsonValue, keys: tuple[str, ...], key: str) -> Iterator[str]:
    rows = _part(data, *keys)
    for row in rows if isinstance(rows, list) else ():
        if value := _text(row, key):
            yield value
