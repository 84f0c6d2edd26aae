"""The kinds of hardware and all differences between them, in one table.

The figures of A2 and A3 come from captured outputs and from the tutorial. A5 was not tested on real hardware: its figures are
public ones (vllm-ascend docs, installation and DeepSeek-V3.1 for the 950DT; an `npu-smi info` of a 950PR).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

PLAIN = "plain"
"""The kind of machines without NPUs: engines run on CPUs."""
Plane = Literal["", "roce", "hccs"]
"""The network for pings between devices of different nodes: their own addresses, the vNIC plane of a super pod, or none."""

_DRIVER = (
    "/usr/local/dcmi",
    "/usr/local/Ascend/driver/tools/hccn_tool",
    "/usr/local/bin/npu-smi",
    "/usr/local/Ascend/driver/lib64",
    "/usr/local/Ascend/driver/version.info",
    "/etc/ascend_install.info",
    "/etc/hccn.conf",
)
_NODES = ("/dev/davinci_manager", "/dev/devmm_svm", "/dev/hisi_hdc")


class Hardware(BaseModel):
    """A kind of hardware. A device is what `ASCEND_RT_VISIBLE_DEVICES` counts: a chip on A2, a die on A3."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    devices: int = Field(ge=0, le=1024)
    """Devices of one node; 0 for a machine without NPUs."""
    hbm_mib: int = Field(ge=0)
    """HBM of one device in MiB."""
    dies_per_card: int = Field(default=1, ge=1)
    """Devices of one card: 2 on A3."""

    @model_validator(mode="before")
    @classmethod
    def _without_npus(cls, value: object) -> object:
        """Sets the figures of a plain machine to 0, so that nothing asks for NPUs that it does not have."""
        if isinstance(value, dict) and value.get("name") == PLAIN:
            return {**value, "devices": 0, "hbm_mib": 0, "dies_per_card": 1}
        return value


@dataclass(frozen=True, slots=True)
class Kind:
    """The properties of a kind of hardware, apart from its sizes."""

    title: str
    seen: bool = True
    """Whether outputs of such a machine were captured; otherwise its figures are public ones."""
    idle_mib: int = 4096
    """Most HBM in use on an idle device. Seen: A2 3300-3450, A3 2860-3420, a 950PR 6056 MiB; the value adds a reserve."""
    driver_mib: int = 0
    """HBM in use on an idle device, for estimates."""
    plane: Plane = ""
    hccn_queries: tuple[str, ...] = ()
    """The queries of `hccn_tool` for each device (vllm-ascend, installation: verify multi-node communication)."""
    super_pods: bool = False
    """Whether nodes belong to a super pod, whose network does not reach nodes outside of it."""
    device_nodes: tuple[str, ...] = _NODES
    """Device files that a container needs in addition to /dev/davinciN."""
    driver_mounts: tuple[str, ...] = _DRIVER
    """Files of the driver that a container mounts from the host (the tutorial, section 4.1)."""
    link_files: tuple[str, ...] = ()
    """Files of the host that describe the links of devices; without them engines on several nodes do not start."""
    image_suffix: str = ""
    """The suffix of vllm-ascend's images for this kind."""


HARDWARE: Mapping[str, Hardware] = {
    "a2": Hardware(name="a2", devices=8, hbm_mib=65536),
    "a3": Hardware(name="a3", devices=16, hbm_mib=65536, dies_per_card=2),
    "a5": Hardware(name="a5", devices=8, hbm_mib=98304),
    PLAIN: Hardware(name=PLAIN, devices=0, hbm_mib=0),
}
"""Atlas 800 A2: 8 NPUs; Atlas 800 A3: 8 cards of 2 dies, 64 GiB each (the tutorial, section 3.1); A5: 8 NPUs of 96 to 128 GiB."""

KINDS: Mapping[str, Kind] = {
    "a2": Kind(
        "Atlas 800 A2",
        idle_mib=3600,
        driver_mib=3500,
        plane="roce",
        hccn_queries=("link", "net_health", "netdetect", "gateway", "ip", "tls", "lldp"),
    ),
    "a3": Kind(
        "Atlas 800 A3",
        idle_mib=3600,
        driver_mib=3100,
        plane="hccs",
        hccn_queries=("link", "net_health", "tls", "ip", "vnic"),
        super_pods=True,
        image_suffix="a3",
    ),
    "a5": Kind(
        "Atlas 950 (A5)",
        seen=False,
        idle_mib=7168,
        driver_mib=6100,
        plane="roce",
        hccn_queries=("link", "net_health", "netdetect", "gateway", "ip", "lldp"),
        device_nodes=("/dev/davinci_manager", "/dev/hisi_hdc", "/dev/ummu", "/dev/uburma"),
        driver_mounts=(
            "/usr/local/dcmi",
            "/usr/local/sbin",
            "/usr/local/bin/npu-smi",
            "/usr/local/Ascend/driver",
            "/etc/ascend_install.info",
            "/etc/hccn.conf",
            "/etc/hixlep",
            "/etc/hccl_rootinfo.json",
            "/lib/route.conf",
            "/usr/bin/urma_admin",
        ),
        link_files=("/lib/route.conf", "/etc/hccl_rootinfo.json", "/etc/hixlep"),
        image_suffix="950dt",
    ),
    PLAIN: Kind("a machine without NPUs"),
}
_OTHER = Kind("hardware of its own figures", seen=False)


def kind_of(name: str) -> Kind:
    """The properties of a kind of hardware; an unknown name gets the defaults."""
    return KINDS.get(name, _OTHER)


def named_hardware(value: object) -> object:
    """The hardware with that name; a value that is not text is returned unchanged. Raises ValueError for an unknown name."""
    if isinstance(value, str):
        if value not in HARDWARE:
            raise ValueError(f"unknown hardware {value!r}; expected {', '.join(HARDWARE)} or a mapping")
        return HARDWARE[value]
    return value
