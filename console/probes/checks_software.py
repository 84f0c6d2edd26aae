"""Preflight checks of the software (15 to 25, 34): versions, packages, environment, container, flags.

A value that must be equal on all nodes is returned with the outcome; `check_types.compared` compares the nodes.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from console.model.counting import counted
from console.probes.check_types import (
    Answer,
    Check,
    CheckOutcome,
    NodeRequirements,
    ProbeCommand,
    failed,
    passed,
    unknown,
)
from console.probes.container import differences, parse_container

SOURCED = """for file in /usr/local/Ascend/ascend-toolkit/set_env.sh /usr/local/Ascend/cann/set_env.sh \
/usr/local/Ascend/nnal/atb/set_env.sh; do [ -r "$file" ] && . "$file" >/dev/null 2>&1; done"""
"""A command over SSH or `docker exec` reads no profile, so the script sources the CANN environment."""

_CANN = """for file in /usr/local/Ascend/ascend-toolkit/latest/*-linux/ascend_toolkit_install.info \
/usr/local/Ascend/cann/*-linux/ascend_toolkit_install.info /usr/local/Ascend/cann/latest/*-linux/ascend_toolkit_install.info; do
[ -r "$file" ] && { cat "$file"; break; }; done; echo '== end'"""
_PACKAGES = """exec python3 - "$@" <<'END'
import sys
from importlib import metadata
for name in sys.argv[1:]:
    try:
        print(name + "==" + metadata.version(name))
    except metadata.PackageNotFoundError:
        print(name + "==")
print("== end")
END"""
_TORCH = f"""{SOURCED}
timeout -k 1 50 python3 -c 'import torch, torch_npu
print("torch", torch.__version__); print("torch_npu", torch_npu.__version__); print("devices", torch.npu.device_count())' 2>&1"""
_IMPORTS = f"""{SOURCED}
for module in "$@"; do timeout -k 1 50 python3 -c "import importlib, sys; importlib.import_module(sys.argv[1])" "$module" \
>/dev/null 2>/tmp/.dsv4-import.$$ && echo "$module ok" || {{ echo "$module $(tail -n 1 /tmp/.dsv4-import.$$)"; }}
rm -f /tmp/.dsv4-import.$$; done; echo '== end'"""
_ENVIRONMENT = f"""{SOURCED}
echo "== ASCEND_HOME_PATH"; echo "$ASCEND_HOME_PATH"; echo "== ATB_HOME_PATH"; echo "$ATB_HOME_PATH"
echo "== LD_LIBRARY_PATH"; echo "$LD_LIBRARY_PATH"; echo "== proxies"; env | grep -i '_proxy=' ; echo "== end\""""
_PRELOAD = """for file in $(echo "$1" | tr ':' ' '); do [ -e "$file" ] && echo "here $file" || echo "missing $file"; done
ls /usr/lib/*/libjemalloc.so.2 /usr/lib64/libjemalloc.so.2 2>/dev/null; echo '== end'"""
_HELP = f"{SOURCED}\ntimeout -k 1 90 vllm serve --help=all 2>/dev/null || timeout -k 1 90 vllm serve --help 2>/dev/null"
DISTRIBUTIONS = (
    "vllm",
    "vllm-ascend",
    "torch",
    "torch-npu",
    "mooncake-transfer-engine",
    "triton-ascend",
    "transformers",
)


def _in_container(wanted: NodeRequirements) -> bool:
    return bool(wanted.container)


def _inspect(wanted: NodeRequirements) -> tuple[str, ...]:
    return (*wanted.tool, "inspect", "--type", "container", wanted.container)


def _modules(wanted: NodeRequirements) -> tuple[str, ...]:
    return ("vllm_ascend", "mooncake.engine") if wanted.connector else ("vllm_ascend",)


PROBE_COMMANDS = (
    ProbeCommand(
        "driver", "host", "cat /usr/local/Ascend/driver/version.info", needed=lambda wanted: wanted.devices > 0
    ),
    ProbeCommand("cann", "container", _CANN, needed=lambda wanted: wanted.devices > 0),
    ProbeCommand("torch", "container", _TORCH, timeout_s=60.0, needed=lambda wanted: wanted.devices > 0),
    ProbeCommand("packages", "container", _PACKAGES, lambda wanted: DISTRIBUTIONS, 30.0),
    ProbeCommand("imports", "container", _IMPORTS, _modules, 120.0, lambda wanted: wanted.devices > 0),
    ProbeCommand("environment", "container", _ENVIRONMENT),
    ProbeCommand(
        "preload", "container", _PRELOAD, lambda wanted: (wanted.preload,), needed=lambda wanted: bool(wanted.preload)
    ),
    ProbeCommand("inspect", "host", 'exec "$@"', _inspect, needed=_in_container),
    ProbeCommand("help", "container", _HELP, timeout_s=200.0, needed=lambda wanted: bool(wanted.flags)),
)


def _value(key: str, what: str) -> Callable[[Answer, NodeRequirements], CheckOutcome]:
    """Checks a value of a `key=value` file that must be equal on all nodes; the last line is ignored, as it can be incomplete."""

    def judge(answer: Answer, wanted: NodeRequirements) -> CheckOutcome:
        found = dict(line.split("=", 1) for line in answer.lines[:-1] if "=" in line and not line.startswith("== "))
        return passed(f"{what} {found[key]}", found[key]) if found.get(key) else unknown(f"no {key} in the file")

    return judge


def _torch(answer: Answer, wanted: NodeRequirements) -> CheckOutcome:
    found = {words[0]: words[1] for line in answer.lines if len(words := line.split()) == 2}
    if answer.exit_code or "devices" not in found:
        return failed(next((line for line in reversed(answer.lines) if line.strip()), "no answer")[:160])
    text = f"torch {found.get('torch')}, torch_npu {found.get('torch_npu')}, {found['devices']} devices"
    return passed(text, text) if found["devices"] == str(wanted.devices) else failed(text)


def _packages(answer: Answer, wanted: NodeRequirements) -> CheckOutcome:
    found = dict(line.split("==", 1) for line in answer.lines if "==" in line and not line.startswith("== "))
    if not found:
        return unknown("no list of packages")
    needed = [
        "vllm",
        *(["vllm-ascend"] if wanted.devices else []),
        *(["mooncake-transfer-engine"] if wanted.connector else []),
    ]
    absent = [name for name in needed if not found.get(name)]
    wrong = [
        f"{name} {found.get(name) or 'none'} (wanted {version})"
        for name, version in wanted.packages.items()
        if not _same_release(found.get(name, ""), version)
    ]
    value = ", ".join(f"{name} {version}" for name, version in found.items() if version)
    if absent or wrong:
        return failed("; ".join([*(f"{name} is not installed" for name in absent), *wrong]), value=value)
    return passed(value, value)


def _same_release(found: str, wanted: str) -> bool:
    """Whether two versions are equal without local parts (`+empty`) and a leading v."""
    return found.split("+")[0].removeprefix("v") == wanted.split("+")[0].removeprefix("v")


def _imports(answer: Answer, wanted: NodeRequirements) -> CheckOutcome:
    rows = {words[0]: words[1] for line in answer.lines if len(words := line.split(None, 1)) == 2 and words[0] != "=="}
    if set(_modules(wanted)) - set(rows):
        return unknown("no answer for " + ", ".join(sorted(set(_modules(wanted)) - set(rows))))
    bad = [f"{name}: {text[:120]}" for name, text in rows.items() if text != "ok"]
    return failed("; ".join(bad)) if bad else passed("importable: " + ", ".join(rows))


def _environment(answer: Answer, wanted: NodeRequirements) -> CheckOutcome:
    found = answer.sections
    unset = [name for name in ("ASCEND_HOME_PATH", "ATB_HOME_PATH") if not found.get(name)]
    if "proxies" not in found:
        return unknown("the environment was not reported")
    return failed(f"{' and '.join(unset)} not set after set_env.sh") if unset else passed(found["ASCEND_HOME_PATH"])


def _library_path(answer: Answer, wanted: NodeRequirements) -> CheckOutcome:
    text = answer.sections.get("LD_LIBRARY_PATH")
    if text is None:
        return unknown("the environment was not reported")
    return passed("has /usr/local/lib") if "/usr/local/lib" in text.split(":") else failed("lacks /usr/local/lib")


def _proxies(answer: Answer, wanted: NodeRequirements) -> CheckOutcome:
    text = answer.sections.get("proxies")
    if text is None:
        return unknown("the environment was not reported")
    rows = dict(line.lower().split("=", 1) for line in text.split("\n") if "=" in line)
    if not any(rows.get(name) for name in ("http_proxy", "https_proxy", "all_proxy")):
        return passed("none")
    past = [each for each in (wanted.address, *wanted.peers) if each and each not in rows.get("no_proxy", "")]
    return (
        failed(f"set, and no_proxy lacks {', '.join(past[:4])}") if past else passed("set, but no_proxy has all nodes")
    )


def _preload(answer: Answer, wanted: NodeRequirements) -> CheckOutcome:
    missing = [line.removeprefix("missing ") for line in answer.lines if line.startswith("missing ")]
    there = [line for line in answer.lines if line.startswith("/usr/lib")]
    if "== end" not in answer.lines:
        return unknown("not reported")
    hint = f"set LD_PRELOAD to {there[0]}" if there else ""
    return failed(f"{', '.join(missing)} does not exist", hint) if missing else passed(wanted.preload)


def _settings(answer: Answer, wanted: NodeRequirements) -> CheckOutcome:
    found = parse_container(answer.stdout)
    if found is None:
        return failed(f"no container {wanted.container}", "create it: dsv4-console containers create")
    if not found.running:
        return failed(f"container {wanted.container} is not running", f"start {wanted.container}", found.image_id)
    wrong = [each.text for each in differences(found, wanted) if each.what not in ("mounts", "base")]
    return failed("; ".join(wrong), value=found.image_id) if wrong else passed(found.image, found.image_id)


def _mounts(answer: Answer, wanted: NodeRequirements) -> CheckOutcome:
    found = parse_container(answer.stdout)
    if found is None:
        return failed(f"no container {wanted.container}", "create it: dsv4-console containers create")
    wrong = [each.text for each in differences(found, wanted) if each.what == "mounts"]
    return failed(wrong[0]) if wrong else passed(f"all {counted(len(wanted.mounts), 'path')} mounted")


def _flags(answer: Answer, wanted: NodeRequirements) -> CheckOutcome:
    text = answer.stdout.decode("utf-8", "replace")
    if answer.exit_code or "--" not in text:
        return unknown("vllm serve --help printed nothing")
    known = {each.replace("_", "-") for each in re.findall(r"--((?:no-)?[A-Za-z][\w.-]*)", text)}
    strange = [flag for flag in wanted.flags if flag.replace("_", "-") not in known and f"no-{flag}" not in known]
    return (
        failed("unknown: " + ", ".join(f"--{each}" for each in strange))
        if strange
        else passed(f"{counted(len(wanted.flags), 'flag')} known")
    )


_PAIR = "All nodes must run the same software, or ranks refuse each other (A8)."

CHECKS = (
    Check("15", "driver version", "driver", _value("Version", "driver"), _PAIR, "install one driver on all nodes", blocks=False,
          same=True, applies=lambda wanted: wanted.devices > 0),
    Check("16", "CANN version", "cann", _value("version", "CANN"), _PAIR, "use one image on all nodes", same=True,
          applies=lambda wanted: wanted.devices > 0),
    Check("17", "torch and its devices", "torch", _torch, "The engine has the devices that torch_npu has.",
          "source the CANN environment; give all devices to the container", same=True, applies=lambda wanted: wanted.devices > 0),
    Check("18", "packages", "packages", _packages, _PAIR, "use the image of the layout", same=True),
    Check("19", "imports", "imports", _imports, "A start needs these modules.", "use an image that has the module",
          applies=lambda wanted: wanted.devices > 0),
    Check("20", "CANN environment", "environment", _environment, "Without it torch_npu finds no library (D2, D4).",
          "set env_file of the node to the right set_env.sh", applies=lambda wanted: wanted.devices > 0),
    Check("21", "preloaded allocator", "preload", _preload, "The path depends on the distribution and the processor (D1).",
          "install jemalloc or correct LD_PRELOAD", blocks=False, applies=lambda wanted: bool(wanted.preload)),
    Check("22", "library path", "environment", _library_path, "Mooncake's transport is in /usr/local/lib (D6).",
          "add /usr/local/lib to LD_LIBRARY_PATH", applies=lambda wanted: wanted.connector and wanted.devices > 0),
    Check("23", "container", "inspect", _settings, "Host network, privileges and shared memory are needed.",
          "create a new container: dsv4-console containers plan", same=True, applies=_in_container, of_container=True),
    Check("24", "mounts", "inspect", _mounts, "The container needs tools, driver and weights.",
          "create a new container: dsv4-console containers plan", applies=_in_container, of_container=True),
    Check("25", "flags", "help", _flags, "vLLM refuses an unknown flag, after a long import (A20).",
          "use an image that matches the layout", applies=lambda wanted: bool(wanted.flags)),
    Check("34", "proxies in the environment", "environment", _proxies, "Requests between nodes are sent to the proxy (B16).",
          "unset the variables for the engines, or extend no_proxy"),
)  # fmt: skip
