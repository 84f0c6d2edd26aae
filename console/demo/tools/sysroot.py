"""The rest of a healthy Ascend machine, as files and small programs of a demo node: driver and CANN files,
device nodes, kernel settings, weights, addresses.

The files lie below the node's own folder; its `sh` maps the paths in a script to them, so changing a file causes a fault.
Faults of the programs: `fail/ping` (addresses that stay silent), `fail/ip` (text of `ip -o -4 addr`), `fail/limits` (open files).
"""

from __future__ import annotations

import json
from pathlib import Path

WEIGHTS = "root/.cache/modelscope/hub/models/vllm-ascend"
"""Where the shipped layouts look for their models."""
MODELS = ("DeepSeek-V4-Pro-w4a8-mtp", "DeepSeek-V4-Flash-w8a8-mtp")
JEMALLOC = "usr/lib/aarch64-linux-gnu/libjemalloc.so.2"
LED = (
    "/usr/local/Ascend/",
    "/dev/davinci",
    "/dev/devmm_svm",
    "/dev/hisi_hdc",
    "/dev/ummu",
    "/dev/uburma",
    "/lib/route.conf",
    "/etc/hccl_rootinfo.json",
    "/etc/hixlep",
    "/etc/hccn.conf",
    "/etc/ascend_install.info",
    "/usr/local/dcmi",
    "/usr/local/bin/npu-smi",
    "/proc/sys/",
    "/proc/meminfo",
    "/sys/devices/system/cpu/cpu0/cpufreq/",
    "/root/.cache/",
    "/usr/lib/aarch64-linux-gnu/libjemalloc",
)
"""Beginnings of paths that mean the node's own files."""
_SHARDS = 4

_SH = """#!/bin/bash
# The shell of a demo node: what a real machine keeps in fixed places lies below the node's own folder here.
root="$DSV4_DEMO_DIR/root"
words=()
for word in "$@"; do
{leads}
words+=("$word")
done
if [ "${{words[0]}}" = -c ]; then
words[1]='ulimit() {{ case "$1" in -n) cat "$DSV4_DEMO_DIR/fail/limits" 2>/dev/null || echo 1048576 ;; -l) echo unlimited ;;
*) command ulimit "$@" ;; esac; }}
'"${{words[1]}}"
fi
exec /bin/sh "${{words[@]}}"
"""

_OF_950 = (
    "dev/ummu",
    "dev/uburma",
    "lib/route.conf",
    "etc/hccl_rootinfo.json",
    "etc/hixlep/d2d.json",
    "usr/bin/urma_admin",
)
PROGRAMS = {
    "ip": """#!/bin/sh
case "$*" in
*addr*) cat "$DSV4_DEMO_DIR/fail/ip" 2>/dev/null || {
echo "1: lo    inet 127.0.0.1/8 scope host lo\\\\       valid_lft forever preferred_lft forever"
echo "2: lo    inet $DSV4_DEMO_ADDRESS/8 brd 127.255.255.255 scope global lo\\\\       valid_lft forever preferred_lft forever"
} ;;
*route*) echo "8.8.8.8 via 127.0.0.1 dev lo src $DSV4_DEMO_ADDRESS uid 0" ;;
esac
""",
    "ping": """#!/bin/sh
for address in "$@"; do :; done
! grep -qxF "$address" "$DSV4_DEMO_DIR/fail/ping" 2>/dev/null
""",
    "getent": """#!/bin/sh
echo "10.0.0.${DSV4_DEMO_ADDRESS##*.} $2"
""",
    "nproc": "#!/bin/sh\necho 640\n",
    "taskset": "#!/bin/sh\nexit 0\n",
    "df": """#!/bin/sh
for place in "$@"; do :; done
case "$1" in
*T*) echo "/dev/nvme0n1 xfs 7501476528 1048576000 6452900528 14% $place" ;;
*) echo "/dev/nvme0n1 7501476528 1048576000 6452900528 14% $place" ;;
esac
""",
    "ps": """#!/bin/sh
# The processes of this node only; its siblings run on the same machine.
echo "    PID    PPID USER     ELAPSED COMMAND"
for place in /proc/[0-9]*; do
grep -qzxF "DSV4_DEMO_DIR=$DSV4_DEMO_DIR" "$place/environ" 2>/dev/null || continue
echo "${place#/proc/} 1 root 60 $(tr '\\0' ' ' 2>/dev/null <"$place/cmdline")"
done
""",
    "firewall-cmd": "#!/bin/sh\necho 'not running'\nexit 252\n",
    "iptables": "#!/bin/sh\necho '-P INPUT ACCEPT'\n",
    "nft": "#!/bin/sh\nexit 0\n",
}


def shell(model: str = "") -> str:
    """The node's `sh`; `model` is a further place that means the node's own files."""
    led = (*LED, model) if model and not model.startswith(LED) else LED
    leads = "\n".join(f'word="${{word//{each.replace("/", chr(92) + "/")}/$root{each}}}"' for each in led)
    return _SH.format(leads=leads)


def files(devices: int, address: str, model: str = "", hardware: str = "") -> dict[str, str]:
    """Path below the node's root → content, for a machine without faults; with weights at `model` too."""
    found = {
        "proc/sys/net/ipv4/ip_local_port_range": "61000 65535\n",
        "proc/sys/net/ipv4/ip_local_reserved_ports": "\n",
        "proc/sys/vm/swappiness": "0\n",
        "proc/sys/kernel/numa_balancing": "0\n",
        "proc/sys/kernel/sched_migration_cost_ns": "50000\n",
        "proc/meminfo": "MemTotal:       2113536000 kB\nMemAvailable:   1980416000 kB\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance\n",
        JEMALLOC: "",
    }
    for place in dict.fromkeys((*(f"{WEIGHTS}/{each}" for each in MODELS), *([model.strip("/")] if model else []))):
        found.update({f"{place}/{name}": text for name, text in _weights().items()})
    if devices:
        found |= _driver(devices, address, hardware)
    return found


def _weights() -> dict[str, str]:
    names = [f"model-{number:05}-of-{_SHARDS:05}.safetensors" for number in range(1, _SHARDS + 1)]
    weights = {f"layers.{number}.weight": name for number, name in enumerate(names)}
    return {
        "config.json": json.dumps({"model_type": "deepseek_v4"}),
        "tokenizer.json": "{}",
        "quant_model_description.json": "{}",
        "model.safetensors.index.json": json.dumps({"weight_map": weights}),
        **dict.fromkeys(names, "weights"),
    }


def _driver(devices: int, address: str, hardware: str) -> dict[str, str]:
    host = address.rpartition(".")[2]
    conf = "".join(f"address_{each}=29.1.{host}.{each + 10}\nnetmask_{each}=255.255.0.0\n" for each in range(devices))
    home = "/usr/local/Ascend/ascend-toolkit"
    return {
        "usr/local/Ascend/driver/tools/hccn_tool": "",
        "usr/local/Ascend/driver/lib64/libascend_hal.so": "",
        "usr/local/dcmi/libdcmi.so": "",
        "usr/local/bin/npu-smi": "",
        "etc/ascend_install.info": "UserName=HwHiAiUser\nDriver_Install_Status=complete\n",
        "usr/local/Ascend/driver/version.info": "Version=25.5.0\nascendhal_version=7.35.23\n",
        f"{home[1:]}/latest/aarch64-linux/ascend_toolkit_install.info": "package_name=Ascend-cann-toolkit\nversion=9.0.0\n",
        f"{home[1:]}/set_env.sh": (
            f'export ASCEND_HOME_PATH={home}/latest\nexport LD_LIBRARY_PATH="{home}/latest/lib64:/usr/local/lib"\n'
        ),
        "usr/local/Ascend/nnal/atb/set_env.sh": "export ATB_HOME_PATH=/usr/local/Ascend/nnal/atb/latest\n",
        "etc/hccn.conf": conf,
        **{f"dev/davinci{each}": "" for each in range(devices)},
        **{f"dev/{each}": "" for each in ("davinci_manager", "devmm_svm", "hisi_hdc")},
        **(dict.fromkeys(_OF_950, "") if hardware == "a5" else {}),
    }


def write(root: Path, devices: int, address: str, model: str = "", hardware: str = "") -> None:
    """Write the files below a node's root; an existing file stays as it is, with its fault."""
    for name, text in files(devices, address, model, hardware).items():
        path = root / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
