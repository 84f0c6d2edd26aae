"""Puts the simulated programs on a node: wrappers in its `bin`, and the environment they need. Runs nothing."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from console.demo.release import RELEASE_VARIABLE, VLLM_VARIABLE
from console.demo.tools import sysroot

PROGRAMS = {
    "vllm": "vllm",
    "hccn_tool": "hccn_tool",
    "docker": "docker",
    "pip": "pip",
    "ais_bench": "ais_bench",
    "mooncake_master": "mooncake_master",
}
"""Name on PATH → module of this package; `npu-smi` has a short cut before its module."""

PROXIES = (
    "load_balance_proxy_server_example.py",
    "load_balance_proxy_layerwise_server_example.py",
    "dp_load_balance_proxy_server.py",
)

_PYTHON = """#!/bin/sh
# The interpreter of the image: a proxy example is simulated, everything else is real. Weights lie below the node's own folder.
count=$#
for word in "$@"; do
case "$word" in /root/.cache/*{model}) word="$DSV4_DEMO_DIR/root$word" ;; esac
set -- "$@" "$word"
done
shift "$count"
case "${{1##*/}}" in
{proxies}) exec "{python}" -I -m console.demo.tools.proxy "$@" ;;
esac
PYTHONPATH="{stubs}${{PYTHONPATH:+:$PYTHONPATH}}" exec "{python}" "$@"
"""

_NPU_SMI = """#!/bin/sh
# Prints the table that the demo's servers keep, while it is newer than what workers wrote and all processes in it live.
kept="$DSV4_DEMO_DIR/npu-smi-info"
if [ "$*" = info ] && [ ! -e "$DSV4_DEMO_DIR/fail/npu-smi" ] && [ "$kept" -nt "$DSV4_DEMO_DIR/devices" ]; then
read -r pids < "$kept"
kill -0 $$ $pids 2>/dev/null && exec sed 1d "$kept"
fi
exec {program} "$@"
"""

_STUBS = {
    "torch/__init__.py": "__version__ = '2.10.0'\nfrom torch import npu\n",
    "torch/npu.py": "import os\n\n\ndef device_count():\n    return int(os.environ.get('DSV4_DEMO_DEVICES', '0'))\n",
    "torch_npu/__init__.py": "__version__ = '2.10.0'\n",
    "vllm_ascend/__init__.py": "",
    "mooncake/__init__.py": "",
    "mooncake/engine.py": "",
    "mooncake_transfer_engine-0.3.9.dist-info/METADATA": (
        "Metadata-Version: 2.1\nName: mooncake-transfer-engine\nVersion: 0.3.9\n"
    ),
    "ais_bench/__init__.py": "",
    "ais_bench/datasets/gsm8k/train.jsonl": '{"question": "What is 2 + 2?", "answer": "#### 4"}\n',
    "ais_bench/datasets/gsm8k/test.jsonl": '{"question": "What is 2 + 3?", "answer": "#### 5"}\n',
    "ais_bench/datasets/gpqa/gpqa_diamond.csv": "Question,Correct Answer\nWhich particle is lightest?,photon\n",
    "ais_bench_benchmark-3.0.0.dist-info/METADATA": (
        "Metadata-Version: 2.1\nName: ais_bench_benchmark\nVersion: 3.0.0\n"
    ),
}
"""What a check of the software versions imports; the figures are those of vllm-ascend v0.21.0rc1's version table."""


def _stubs(release: str, vllm: str) -> dict[str, str]:
    """The same with vLLM and vllm-ascend of a release."""
    named = {"vllm": vllm, "vllm-ascend": release}
    metadata = {
        f"{name.replace('-', '_')}-{version}.dist-info/METADATA": (
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        for name, version in named.items()
    }
    return {**_STUBS, "vllm/__init__.py": f"__version__ = '{vllm}'\n", **metadata}


_WITH_SITE = frozenset({"vllm", "ais_bench"})
"""Programs that need an installed library; the others start three times faster without."""


def _wrapper(module: str, name: str) -> str:
    """A program that runs one module. Its first line is the interpreter where the kernel takes that, so that `ps`
    looks as in
    the image; the package is found without the interpreter's site folders.
    """
    root = Path(__file__).resolve().parents[3]
    body = (
        f"import sys\n\nsys.path.insert(0, {str(root)!r})\nfrom console.demo.tools.{module} import"
        " main\n\nraise SystemExit(main())\n"
    )
    options = "-I" if name in _WITH_SITE else "-IS"
    if " " in sys.executable or len(sys.executable) > 100:
        return f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {options} -c {shlex.quote(body)} "$@"\n'
    return f"#!{sys.executable} {options}\n{body}"


def _write_program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def _write_modules(bin_dir: Path) -> None:
    for name, module in PROGRAMS.items():
        _write_program(bin_dir / name, _wrapper(module, name))
    program = bin_dir / "npu-smi.py"
    _write_program(program, _wrapper("npu_smi", "npu-smi"))
    _write_program(bin_dir / "npu-smi", _NPU_SMI.format(program=shlex.quote(str(program))))


def install_tools(
    bin_dir: Path,
    node_dir: Path,
    *,
    hardware: str,
    address: str,
    speed: float = 20.0,
    devices: int | None = None,
    driver: str = "25.5.0",
    release: str = "0.21.0rc1",
    vllm: str = "0.21.0",
    model: str = "",
) -> dict[str, str]:
    """Write the programs into `bin_dir` and their state folders into `node_dir`; returns the environment they
    need, PATH included.

    `hardware` is `a2`, `a3` (16 devices) or `a5` unless `devices` says otherwise; `address` is the node's own; `speed`
    divides every duration of a start;
    `driver` chooses the layout of `npu-smi` (25.x or 26.x); `release` and `vllm` are the versions the node says it has;
    `model` is where it has weights besides the usual ones.
    """
    bin_dir.mkdir(parents=True, exist_ok=True)
    for folder in ("devices", "fail", "docker"):
        (node_dir / folder).mkdir(parents=True, exist_ok=True)
    _write_modules(bin_dir)
    stubs = node_dir / "lib" / "python"
    for name, text in _stubs(release, vllm).items():
        (stubs / name).parent.mkdir(parents=True, exist_ok=True)
        (stubs / name).write_text(text)
    places = {"proxies": "|".join(PROXIES), "model": f"|{shlex.quote(model)}*" if model else ""}
    python = _PYTHON.format(**places, python=sys.executable, stubs=stubs)
    for name in ("python", "python3"):
        _write_program(bin_dir / name, python)
    count = {"a2": 8, "a3": 16, "a5": 8}.get(hardware, 0) if devices is None else devices
    for name, text in {**sysroot.PROGRAMS, "sh": sysroot.shell(model)}.items():
        _write_program(bin_dir / name, text)
    sysroot.write(node_dir / "root", count, address, model, hardware)
    return {
        "PATH": f"{bin_dir}:{os.environ.get('PATH', os.defpath)}",
        "DSV4_DEMO_DIR": str(node_dir),
        "DSV4_SCOPE": str(node_dir),  # the nodes share this machine's process table
        "DSV4_DEMO_ADDRESS": address,
        "DSV4_DEMO_HARDWARE": hardware,
        "DSV4_DEMO_DEVICES": str(count),
        "DSV4_DEMO_SPEED": f"{speed:g}",
        "DSV4_DEMO_DRIVER": driver,
        RELEASE_VARIABLE: release,
        VLLM_VARIABLE: vllm,
    }
