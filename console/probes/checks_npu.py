"""Preflight checks of the NPUs: their network (1 to 10), the devices and their memory (11 to 14).

Known false alarms do not fail: `link DOWN` and `net_health Init` alone. `hccn` and `npu_smi` parse the outputs.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterable

from console.model.counting import counted
from console.model.hardware import HARDWARE, KINDS, Kind, kind_of
from console.model.shortening import list_text
from console.probes.check_types import (
    Answer,
    Check,
    CheckOutcome,
    NodeRequirements,
    ProbeCommand,
    Result,
    Verdict,
    failed,
    passed,
    unknown,
    warned,
)
from console.probes.hccn import DeviceNet, Ping, hccn_probe, parse_conf, parse_hccn
from console.probes.npu_details import parse_super_pod, with_all_processes
from console.probes.npu_smi import SEARCH_PATH, info_probe, parse_info
from console.probes.tool_lock import TURN_S, turn_function

_ENGINE = re.compile(r"VLLM::|\bvllm(?:\.entrypoints\S*)? serve\b|\bvllm serve\b|launch_online_dp\.py")
_ASKING = "vllm serve --help"
"""A command of the preflight itself (of this or another console), which is not an engine."""
_CONF = "cat /etc/hccn.conf"
_SUPER_POD = f"""export LC_ALL=C; PATH="$PATH:{SEARCH_PATH}"
{turn_function()}
card=0; while [ "$card" -lt "$1" ]; do die=0; while [ "$die" -lt "$2" ]; do
echo "== $card $die"; turn timeout -k 1 5 npu-smi info -t spod-info -i "$card" -c "$die"; die=$((die + 1))
done; card=$((card + 1)); done; echo "== end\""""
_NODES = "ls -1 /dev/davinci[0-9]* \"$@\" 2>/dev/null; echo '== end'"
_LINK_FILES = "ls -1d \"$@\" 2>/dev/null; echo '== end'"
_PROCESSES = "ps -eo pid,ppid,user,etimes,args"


def _cards(wanted: NodeRequirements) -> int:
    return max(1, wanted.devices // max(1, wanted.dies_per_card))


def _has_npus(wanted: NodeRequirements) -> bool:
    return wanted.devices > 0


def _is(hardware: str) -> Callable[[NodeRequirements], bool]:
    return lambda wanted: wanted.devices > 0 and wanted.hardware == hardware


def _if(holds: Callable[[Kind], object]) -> Callable[[NodeRequirements], bool]:
    """A test that is true for nodes with NPUs whose kind of hardware fulfils `holds`."""
    return lambda wanted: wanted.devices > 0 and bool(holds(kind_of(wanted.hardware)))


def _inquiries_hccn(hardware: str) -> ProbeCommand:
    probe = hccn_probe(range(HARDWARE[hardware].devices), KINDS[hardware].hccn_queries)
    return ProbeCommand(
        f"hccn-{hardware}", "host", probe.argv[2], timeout_s=probe.timeout_s, needed=_is(hardware), lane="driver"
    )


_WITH_HCCN = tuple(name for name, kind in KINDS.items() if kind.hccn_queries)
"""Kinds of hardware whose devices have their own network."""

PROBE_COMMANDS = (
    *map(_inquiries_hccn, _WITH_HCCN),
    ProbeCommand("hccn-conf", "host", _CONF, needed=_has_npus),
    ProbeCommand("hccn-conf-container", "container", _CONF, needed=_has_npus),
    ProbeCommand(
        "super-pod",
        "host",
        _SUPER_POD,
        lambda wanted: (str(_cards(wanted)), str(wanted.dies_per_card)),
        60.0 + TURN_S,
        _if(lambda kind: kind.super_pods),
        "driver",
    ),
    ProbeCommand(
        "npu", "host", info_probe().argv[2], timeout_s=info_probe().timeout_s, needed=_has_npus, lane="driver"
    ),
    ProbeCommand("processes", "host", _PROCESSES),
    ProbeCommand(
        "device-nodes", "container", _NODES, lambda wanted: kind_of(wanted.hardware).device_nodes, needed=_has_npus
    ),
    ProbeCommand(
        "link-files",
        "host",
        _LINK_FILES,
        lambda wanted: kind_of(wanted.hardware).link_files,
        needed=_if(lambda kind: kind.link_files),
    ),
)


def _each(answer: Answer, wanted: NodeRequirements, wrong: Callable[[DeviceNet], str]) -> tuple[list[str], list[str]]:
    """(problems with their devices, devices without an answer)."""
    found = parse_hccn(answer.stdout)
    absent = [str(device) for device in range(wanted.devices) if device not in found]
    return [f"{device}: {text}" for device, net in sorted(found.items()) if (text := wrong(net))], absent


def _net(wrong: Callable[[DeviceNet], str], good: str) -> Callable[[Answer, NodeRequirements], CheckOutcome]:
    def judge(answer: Answer, wanted: NodeRequirements) -> CheckOutcome:
        if b"command not found" in answer.stdout and b"== " not in answer.stdout:
            return unknown("hccn_tool is not installed", f"install the driver tools; looked in PATH:{SEARCH_PATH}")
        bad, absent = _each(answer, wanted, wrong)
        if bad:
            return failed(f"device {list_text(bad, 8)}")
        if absent:
            return unknown(f"no answer of device {', '.join(absent)}")
        return passed(f"{wanted.devices} devices {good}")

    return judge


def _missing(net: DeviceNet, field: str, query: str, what: str) -> str:
    return "" if getattr(net, field) else net.failures.get(query, what)


def _link(answer: Answer, wanted: NodeRequirements) -> CheckOutcome:
    found = _net(lambda net: "" if net.link == "UP" else net.link or net.failures.get("link", "unknown"), "UP")(
        answer, wanted
    )
    whole = [net.link for net in parse_hccn(answer.stdout).values()]
    if kind_of(wanted.hardware).plane == "hccs" and len(whole) == wanted.devices and set(whole) == {"DOWN"}:
        return warned("all links DOWN, a known false alarm on A3", "the pings over the vNIC plane (8b) decide")
    return found


def _health(net: DeviceNet) -> str:
    if net.net_health == "Success" or (net.net_health == "Init" and net.netdetect in (None, "0.0.0.0")):
        return ""
    return net.net_health or net.failures.get("net_health", "unknown")


def _tls(answer: Answer, wanted: NodeRequirements) -> CheckOutcome:
    found = parse_hccn(answer.stdout)
    switches = Counter(net.tls for net in found.values())
    if len(found) < wanted.devices or None in switches:
        return unknown(
            f"{sum(net.tls is not None for net in found.values())} of {wanted.devices} devices report their TLS setting"
        )
    if len(switches) > 1:
        odd = switches.most_common()[-1][0]
        return failed(
            f"device {', '.join(str(each) for each, net in sorted(found.items()) if net.tls == odd)} has TLS {odd}"
        )
    (switch,) = switches
    return passed(f"TLS {'on' if switch else 'off'} on all devices", value=str(switch))


def _addresses(field: str) -> Callable[[Answer, NodeRequirements], CheckOutcome]:
    def judge(answer: Answer, wanted: NodeRequirements) -> CheckOutcome:
        found = parse_hccn(answer.stdout)
        values = [getattr(net, field) for _, net in sorted(found.items())]
        twice = [value for value, count in Counter(values).items() if value and count > 1]
        if twice:
            return failed(f"two devices have {twice[0]}")
        if None in values or len(values) < wanted.devices:
            return failed(
                f"{wanted.devices - sum(value is not None for value in values)} of {wanted.devices} devices have no address"
            )
        return passed(f"{values[0]} … {values[-1]}")

    return judge


def _conf(answer: Answer, wanted: NodeRequirements) -> CheckOutcome:
    found = parse_conf(answer.stdout)
    if b"No such file" in answer.stderr:
        return failed("the file does not exist")
    if answer.exit_code and not found:
        return unknown("the file cannot be read")
    lacking = [
        str(device) for device in range(wanted.devices) if not _is_address(found.get(device, {}).get("address", ""))
    ]
    return (
        failed(f"missing: {list_text([f'address_{each}' for each in lacking], 1)}")
        if lacking
        else (passed(f"{wanted.devices} addresses"))
    )


def _super_pod(answer: Answer, wanted: NodeRequirements) -> CheckOutcome:
    pods = {name: parse_super_pod(text.encode() + b"\n") for name, text in answer.sections.items() if name != "end"}
    known = {name: pod for name, pod in pods.items() if pod is not None and pod.pod is not None}
    if len(known) < wanted.devices:
        return unknown(f"{len(known)} of {wanted.devices} chips report their super pod")
    numbers = {pod.pod for pod in known.values()}
    twice = [sdid for sdid, count in Counter(pod.sdid for pod in known.values()).items() if count > 1]
    if len(numbers) > 1 or twice:
        return failed(
            f"super pods {sorted(str(each) for each in numbers)}"
            if len(numbers) > 1
            else f"two chips have SDID {twice[0]}"
        )
    return passed(f"super pod {next(iter(numbers))}", value=str(next(iter(numbers))))


def pinged(pings: Iterable[Ping], wanted: NodeRequirements) -> Result:
    """The result of check 8 (RoCE) or 8b (vNIC plane of a super pod), from the pings of this node to other nodes."""
    found = tuple(pings)
    bad = [ping for ping in found if ping.ok is False]
    lost = [f"device {ping.device} to {ping.peer}: {ping.received} of {ping.sent} answered" for ping in bad]
    unreported = [ping for ping in found if ping.ok is None]
    check = PINGS["8b" if kind_of(wanted.hardware).plane == "hccs" else "8"]
    if lost:
        verdict, seen = Verdict.FAIL, list_text(lost, 4, "; ")
    elif unreported or not found:
        why = f" ({unreported[0].failure})" if unreported and unreported[0].failure else ""
        verdict, seen = Verdict.UNKNOWN, f"{len(unreported)} of {len(found)} pings without a result{why}"
    else:
        slowest = max((time for ping in found for time in ping.times_ms), default=0.0)
        return Result(
            check.id, check.title, wanted.node, Verdict.PASS, f"{counted(len(found), 'path')}, at most {slowest:.3f} ms"
        )
    return Result(check.id, check.title, wanted.node, verdict, seen, check.why, check.remedy)


def _devices(answer: Answer, wanted: NodeRequirements) -> CheckOutcome:
    table = with_all_processes(parse_info(answer.stdout), answer.stdout)
    if not table.complete:
        return unknown(table.error or "the table is incomplete", table.hint)
    if len(table.devices) != wanted.devices:
        here = {device.id for device in table.devices}
        lost = [str(each) for each in range(wanted.devices) if each not in here]
        return failed(
            f"{len(table.devices)} of {wanted.devices} devices" + (f", {', '.join(lost)} missing" if lost else "")
        )
    sick = [f"{device.id} is {device.health or 'unknown'}" for device in table.devices if device.health != "OK"]
    if sick:
        return failed("device " + ", ".join(sick))
    unmanaged = {
        process.pid: f"{process.name or 'pid'} {process.pid} on device {device.id}"
        for device in table.devices
        for process in device.processes
        if process.pid not in wanted.own_pids
    }
    if unmanaged:
        return failed(list_text(list(unmanaged.values()), 4))
    return passed(f"{counted(wanted.devices, 'device')} OK, no process")


def _memory(answer: Answer, wanted: NodeRequirements) -> CheckOutcome:
    table = with_all_processes(parse_info(answer.stdout), answer.stdout)
    used = {device.id: device.hbm_used_mib for device in table.devices}
    if not table.complete or None in used.values():
        return unknown(table.error or "HBM in use is unknown", table.hint)
    limit = kind_of(wanted.hardware).idle_mib
    full = [f"{each}: {mib} MiB" for each, mib in used.items() if mib is not None and mib > limit]
    small = [
        device.id
        for device in table.devices
        if device.hbm_total_mib is not None and device.hbm_total_mib < wanted.hbm_mib
    ]
    if full:
        return failed(f"device {list_text(full, 8)}")
    if small:
        return failed(f"device {small[0]} has less than {wanted.hbm_mib} MiB")
    return passed(f"at most {max((mib for mib in used.values() if mib is not None), default=0)} MiB in use")


def _left_over(answer: Answer, wanted: NodeRequirements) -> CheckOutcome:
    rows = [line.split(None, 4) for line in answer.lines[1:]]
    if not any(row[0].isdecimal() for row in rows if row):
        return unknown("no process list")
    found = [
        f"{row[0]} {row[4][:60]}"
        for row in rows
        if len(row) == 5 and row[0].isdecimal() and int(row[0]) not in wanted.own_pids and _is_engine(row[4])
    ]
    return failed(list_text(found, 4, "; ")) if found else passed("none")


def _is_engine(args: str) -> bool:
    """Whether a command line is that of an engine; an ended process (defunct) holds nothing."""
    return not args.endswith(" <defunct>") and _ASKING not in args and _ENGINE.search(args) is not None


def _nodes(answer: Answer, wanted: NodeRequirements) -> CheckOutcome:
    text = "\n".join(answer.lines)
    if "== end" not in text:
        return unknown("no list of device nodes")
    here = {int(number) for number in re.findall(r"/dev/davinci(\d{1,3})$", text, re.MULTILINE)}
    lacking = [f"davinci{each}" for each in range(wanted.devices) if each not in here]
    lacking += [each.removeprefix("/dev/") for each in kind_of(wanted.hardware).device_nodes if each not in text]
    return failed(f"missing: {list_text(lacking, 6)}") if lacking else passed(counted(len(here), "device"))


def _link_files(answer: Answer, wanted: NodeRequirements) -> CheckOutcome:
    needed, lines = kind_of(wanted.hardware).link_files, answer.lines
    if "== end" not in lines:
        return unknown("no list of the files")
    lacking = [each for each in needed if not any(line.endswith(each) for line in lines)]
    return failed("missing: " + ", ".join(lacking)) if lacking else passed("all files exist")


def _is_address(text: str) -> bool:
    try:
        return bool(ipaddress.IPv4Address(text))
    except ValueError:
        return False


_TALK = "The ranks of all nodes exchange data over the network of the NPUs."
_HW = "let somebody check the cable, the optical module and the switch port of the named device"


def _hccn_checks(
    id: str,
    title: str,
    query: str,
    judge: Callable[[Answer, NodeRequirements], CheckOutcome],
    why: str,
    remedy: str,
    same: bool = False,
) -> list[Check]:
    """The check for every kind of hardware that supports the query."""
    return [
        Check(id, title, f"hccn-{each}", judge, why, remedy, same=same, network=True, applies=_is(each))
        for each in _WITH_HCCN
        if query in KINDS[each].hccn_queries
    ]


def _roce(
    id: str,
    title: str,
    query: str,
    judge: Callable[[Answer, NodeRequirements], CheckOutcome],
    remedy: str,
    blocks: bool = True,
) -> list[Check]:
    return [
        Check(id, title, f"hccn-{each}", judge, _TALK, remedy, blocks, network=True, applies=_is(each))
        for each in _WITH_HCCN
        if KINDS[each].plane == "roce" and query in KINDS[each].hccn_queries
    ]


_by_own_addresses = _if(lambda kind: kind.plane == "roce")

PINGS = {
    id: Check(id, title, "pings", lambda answer, wanted: unknown("decided by the pings"), _TALK, _HW, network=True)
    for id, title in (("8", "pings between NPUs"), ("8b", "pings between NPUs over HCCS"))
}
"""`pinged` gives the results, because the targets are known only after all nodes were queried."""

CHECKS = (
    *_roce("1", "switch port of every NPU", "lldp",
        _net(lambda net: _missing(net, "switch_port", "lldp", "none"), "see a switch"), _HW, False),
    *_hccn_checks("2", "links of the NPUs", "link", _link, _TALK, _HW),
    *_roce("3", "network health of the NPUs", "net_health", _net(_health, "healthy"), _HW),
    *_roce("4", "netdetect address", "netdetect", _net(lambda net: _missing(net, "netdetect", "netdetect", "unset"), "have one"),
        "hccn_tool -i N -netdetect -s address GATEWAY", False),
    *_roce("5", "gateway of the NPUs", "gateway", _net(lambda net: _missing(net, "gateway", "gateway", "none"), "have one"),
        "hccn_tool -i N -gateway -s gateway ADDRESS"),
    *_hccn_checks("6", "TLS of the NPUs", "tls", _tls, "Devices with TLS on cannot connect to devices with TLS off (EI0006).",
              "hccn_tool -i N -tls -s enable 0 on every device of every node", same=True),
    *_roce("7", "addresses of the NPUs", "ip", _addresses("address"), "hccn_tool -i N -ip -s address A netmask M"),
    Check("7b", "vNIC addresses", "hccn-a3", _addresses("vnic_address"), _TALK, "the driver creates the vNIC plane; see dmesg",
          network=True, applies=_is("a3")),
    Check("9", "hccn.conf of the host", "hccn-conf", _conf, "HCCL reads the addresses of the devices there.",
          "write address_N and netmask_N for each device", blocks=False, network=True, applies=_by_own_addresses),
    Check("9c", "hccn.conf in the container", "hccn-conf-container", _conf, "HCCL reads the addresses of the devices there.",
          "mount /etc/hccn.conf into the container", network=True, applies=_by_own_addresses),
    Check("10", "super pod", "super-pod", _super_pod, "HCCS connects devices of one super pod only.",
          "use nodes of one super pod, or RoCE between them", same=True, network=True, applies=_if(lambda kind: kind.super_pods)),
    Check("10b", "files that describe the links", "link-files", _link_files, "HCCL reads the links of devices there.",
          "create them as in CANN's guide for HiXLEP, for the D2D scenario", network=True,
          applies=_if(lambda kind: kind.link_files)),
    Check("11", "devices, health, unmanaged", "npu", _devices, "Every device of the layout must exist, be healthy and be free.",
          "reset an unhealthy or lost card; stop the named processes", applies=_has_npus),
    Check("12", "HBM is idle", "npu", _memory, "HBM that other processes use is missing for the KV cache.",
          "stop remaining processes; U on the screen lists unmanaged processes and can stop them", applies=_has_npus),
    Check("13", "no remaining engine", "processes", _left_over, "An old engine uses devices and ports.",
          "stop the named processes"),
    Check("14", "device nodes in the container", "device-nodes", _nodes, "The runtime opens /dev/davinciN.",
          "create the container with all --device flags", applies=_has_npus),
)  # fmt: skip
