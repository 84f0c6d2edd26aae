"""`hccn_tool` of a demo node: the NPUs' own network as a healthy cluster shows it, every device an address of its
own.

Faults on demand, one per line of `$DSV4_DEMO_DIR/fail/hccn_tool`: `down DEVICE` (link), `health DEVICE TEXT`, `tls
DEVICE 1`, `no-ip DEVICE`, `no-gateway
DEVICE`, `lost ADDRESS` (pings of that address), `hang SECONDS`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from console.demo.tools.demo_node import DemoNode, this_node

OK, FAILED, NO_GATEWAY, NO_DEVICE, NO_ADDRESS = 0, 1, 2, 4, 13
"""Exit codes of the tool (CANN driver source)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes to standard output, what to standard error, and the exit code."""

    out: str = ""
    error: str = ""
    code: int = OK


@dataclass(frozen=True, slots=True)
class Faults:
    """The faults in `fail/hccn_tool`."""

    lines: tuple[tuple[str, ...], ...]

    def of(self, kind: str, subject: str) -> tuple[str, ...] | None:
        """The words after kind and subject; None when the file does not have this fault."""
        return next((line[2:] for line in self.lines if line[:2] == (kind, subject)), None)

    def hang_s(self) -> float:
        """How long every call takes, seconds."""
        return max([float(line[1]) for line in self.lines if line[0] == "hang"], default=0.0)


def faults(node: DemoNode) -> Faults:
    """Read the fault file; none when it is absent."""
    try:
        text = (node.directory / "fail" / "hccn_tool").read_text()
    except OSError:
        text = ""
    return Faults(tuple(tuple(line.split()) for line in text.splitlines() if line.strip()))


def _host(node: DemoNode) -> int:
    return int(node.address.rpartition(".")[2])


def roce_address(node: DemoNode, device: int) -> str:
    """Address of a device in the RoCE plane."""
    return f"29.1.{_host(node)}.{device + 10}"


def vnic_address(node: DemoNode, device: int) -> str:
    """Address of a device in the vNIC plane of a super pod."""
    return f"192.168.{_host(node)}.{199 - device}"


def _ip(node: DemoNode, device: int, wrong: Faults, words: Sequence[str]) -> Answer:
    if wrong.of("no-ip", str(device)) is not None:
        return Answer(error="Get ipconf failed, because no ip was preset there!\n", code=NO_ADDRESS)
    return Answer(f"ipaddr:{roce_address(node, device)}\nnetmask:255.255.0.0\n")


def _link(node: DemoNode, device: int, wrong: Faults, words: Sequence[str]) -> Answer:
    return Answer(f"link status: {'UP' if wrong.of('down', str(device)) is None else 'DOWN'}\n")


def _net_health(node: DemoNode, device: int, wrong: Faults, words: Sequence[str]) -> Answer:
    said = wrong.of("health", str(device))
    down = wrong.of("down", str(device)) is not None
    return Answer(f"net health status: {' '.join(said) if said else 'Fault' if down else 'Success'}\n")


def _netdetect(node: DemoNode, device: int, wrong: Faults, words: Sequence[str]) -> Answer:
    return Answer("netdetect address: 29.1.0.1\n")


def _gateway(node: DemoNode, device: int, wrong: Faults, words: Sequence[str]) -> Answer:
    if wrong.of("no-gateway", str(device)) is not None:
        return Answer(error="Get gateway failed, because no gateway was preset there!\n", code=NO_GATEWAY)
    return Answer(f"default gateway:29.1.0.1, Iface:eth{device}\n")


def _lldp(node: DemoNode, device: int, wrong: Faults, words: Sequence[str]) -> Answer:
    return Answer(
        f"Port ID TLV\n\tIfname: 400GE1/{device // 2 + 1}/{_host(node)}:{device % 2 + 1}\nTime to Live TLV\n\t120\n"
    )


def _tls(node: DemoNode, device: int, wrong: Faults, words: Sequence[str]) -> Answer:
    switch = (wrong.of("tls", str(device)) or ("0",))[0]
    rest = "tls preconfigured[1](0:non-preset, 1:preset), tls alarm time threshold[60]days"
    return Answer(f"dev_id:{device}, tls switch[{switch}](0:disable, 1:enable), {rest}\n")


def _vnic(node: DemoNode, device: int, wrong: Faults, words: Sequence[str]) -> Answer:
    address = vnic_address(node, device)
    return Answer(f"vnic link status: UP\nvnic ipaddr: {address}\nvnic netmask: 255.255.255.0\n")


def _target(words: Sequence[str]) -> str:
    return words[words.index("address") + 1] if "address" in words[:-1] else ""


def _ping(node: DemoNode, device: int, wrong: Faults, words: Sequence[str]) -> Answer:
    address = _target(words)
    lines = [f"device {device} PING {address}"]
    if wrong.of("lost", address) is not None or wrong.of("down", str(device)) is not None:
        lines += [f"recv time out seq={number}" for number in range(3)]
        lines.append("3 packets transmitted, 0 received, 100.00% packet loss")
        return Answer("\n".join(lines) + "\n", code=FAILED)
    lines += [f"recv seq={number},time={time_ms:.6f}ms" for number, time_ms in enumerate((1.418, 0.034, 0.04))]
    lines.append("3 packets transmitted, 3 received, 0.00% packet loss")
    return Answer("\n".join(lines) + "\n")


def _hccs_ping(node: DemoNode, device: int, wrong: Faults, words: Sequence[str]) -> Answer:
    address = _target(words)
    times = (12.345, 9.87, 10.002)
    lines = [f"device {device} PING {address}", ""]
    if wrong.of("lost", address) is not None:
        lines += ["This pkt send fail!", ""] * 3 + ["3 packets transmitted, 0 received, 100.00% packets loss"]
        return Answer("\n".join(lines) + "\n", code=FAILED)
    for number, time_us in enumerate(times):
        lines += [
            "This pkt ping success!",
            f"recv seq {number}, time = {time_us:.3f}us, L1 plane check result = 0x0",
            "",
        ]
    lines += ["3 packets transmitted, 3 received, 0.00% packets loss"]
    figures = (
        ("max time", max(times)),
        ("min time", min(times)),
        ("average time", sum(times) / 3),
        ("TP95 time", max(times)),
    )
    lines += [f"{name} {value:.3f}us" for name, value in figures]
    return Answer("\n".join(lines) + "\n")


_QUERIES: dict[str, Callable[[DemoNode, int, Faults, Sequence[str]], Answer]] = {
    "-ip": _ip,
    "-link": _link,
    "-net_health": _net_health,
    "-netdetect": _netdetect,
    "-gateway": _gateway,
    "-lldp": _lldp,
    "-tls": _tls,
    "-vnic": _vnic,
    "-ping": _ping,
    "-hccs_ping": _hccs_ping,
}


def answer(node: DemoNode, words: Sequence[str]) -> Answer:
    """The answer to `hccn_tool WORDS`."""
    wrong = faults(node)
    time.sleep(wrong.hang_s())
    if len(words) < 3 or words[0] != "-i" or not words[1].isdecimal() or words[2] not in _QUERIES:
        return Answer(error="Command execute failed!\n", code=FAILED)
    device = int(words[1])
    if device >= node.devices:
        return Answer(error="The device is not exist!\n", code=NO_DEVICE)
    if "-s" in words:
        return Answer("Cmd executed successfully!\n")
    if words[2] in ("-vnic", "-hccs_ping") and node.hardware != "a3":
        return Answer(error="Command execute failed!\n", code=FAILED)
    return _QUERIES[words[2]](node, device, wrong, words[3:])


def main() -> int:
    """Run as the program."""
    said = answer(this_node(), sys.argv[1:])
    sys.stdout.write(said.out)
    sys.stderr.write(said.error)
    return said.code


if __name__ == "__main__":
    sys.exit(main())
