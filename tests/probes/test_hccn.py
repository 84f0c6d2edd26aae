"""hccn_tool's answers read as a person reads them; what did not come or was cut is unknown."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.model.hardware import KINDS
from console.model.run import Probe
from console.probes.hccn import (
    DeviceNet,
    Ping,
    hccn_probe,
    parse_answer,
    parse_conf,
    parse_hccn,
    parse_pings,
    ping_probe,
)
from tests.probes.captures import HERE, capture


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("hccn_ip_910A_st.txt", DeviceNet(address="10.10.0.10", netmask="255.255.255.0")),
        ("hccn_ip_910B1_dev3.txt", DeviceNet(address="29.1.112.213", netmask="255.255.0.0")),
        ("hccn_lldp_910B1_full_masked.txt", DeviceNet(switch_port="400GE1/1/20:2")),
        ("hccn_ip_unset_empty_stdout.txt", DeviceNet()),
    ],
)
def test_captured_answers(name: str, expected: DeviceNet) -> None:
    assert parse_answer(capture("npu", name)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("link status: DOWN\n", DeviceNet(link="DOWN")),
        ("net health status: Receive timeout\n", DeviceNet(net_health="Receive timeout")),
        ("netdetect addr: 10.0.0.1\n", DeviceNet(netdetect="10.0.0.1")),
        (
            "dev_id:0, tls switch[0](0:disable, 1:enable), tls preconfigured[1], tls alarm time threshold[60]days\n",
            DeviceNet(tls=0),
        ),
        ("dev_id:0, tls switch[1](0:disable, 1:enable)\n", DeviceNet(tls=1)),
        ("tls switch: 0\n", DeviceNet(tls=0)),
        ("vnic link status: UP\nvnic ipaddr: 192.168.2.9\nvnic netmask: 255.255.255.0\n", DeviceNet(
            vnic_link="UP", vnic_address="192.168.2.9", vnic_netmask="255.255.255.0"
        )),
        ("link status: UP", DeviceNet()),
        ("ipaddr:999.1.1.1\n", DeviceNet()),
    ],
)  # fmt: skip
def test_single_answers(text: str, expected: DeviceNet) -> None:
    assert parse_answer(text.encode()) == expected


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("err_hccn_device_not_exist.txt", "no such device"),
        ("err_hccn_exec_failed.txt", "failed"),
        ("err_hccn_no_gateway.txt", "no gateway"),
        ("err_hccn_no_ip_preset.txt", "no address"),
    ],
)
def test_known_failures(name: str, why: str) -> None:
    assert parse_answer(capture("npu", name)).failures == {"answer": why}


def test_pings_over_roce() -> None:
    found = parse_pings((HERE / "npu" / "hccn_ping_loop_8dev_ok.txt").read_bytes())
    assert [(ping.device, ping.peer, ping.sent, ping.received, ping.ok) for ping in found] == [
        (device, "11.12.165.80", 3, 3, True) for device in range(8)
    ]
    assert found[4].times_ms == (0.142, 0.065, 0.064)
    (one,) = parse_pings(capture("npu", "hccn_ping_ok_910B1_dev3.txt"))
    assert one == Ping(3, "29.1.137.205", 3, 3, (1.418, 0.034, 0.04))


def test_pings_over_hccs() -> None:
    assert parse_pings((HERE / "npu" / "a3_hccs_ping_ok.txt").read_bytes()) == (
        Ping(0, "192.168.2.198", 3, 3, (0.012345, 0.00987, 0.010002)),
    )
    (lost,) = parse_pings((HERE / "npu" / "a3_hccs_ping_all_lost.txt").read_bytes())
    assert (lost.sent, lost.received, lost.times_ms, lost.ok) == (3, 0, (), False)


def test_a_ping_without_its_tally_is_unknown() -> None:
    (cut,) = parse_pings(b"device 0 PING 1.2.3.4\nrecv seq=0,time=0.1ms\n")
    assert (cut.sent, cut.ok) == (None, None)
    found = parse_pings(
        b"== 0 ping 1.2.3.4\n== rc 124\n== 1 ping 1.2.3.4\ndevice 1 PING 1.2.3.4\nrecv time out seq=0\n== rc 1\n"
    )
    assert [(ping.device, ping.ok, ping.failure) for ping in found] == [
        (0, None, "no answer in time"),
        (1, None, "failed"),
    ]


def test_the_configuration_file() -> None:
    found = parse_conf(capture("npu", "hccn_conf_910B1_two_devices.txt"))
    assert sorted(found) == [0, 7]
    assert found[0]["address"] == "29.1.137.205"
    assert found[7] == {
        "address": "29.1.170.143",
        "netmask": "255.255.0.0",
        "netdetect": "29.1.0.1",
        "gateway": "29.1.0.1",
        "send_arp_status": "1",
    }


TOOL = r"""#!/bin/sh
device="$2" query="$3"
case "$device$query" in
*-link) echo "link status: UP" ;;
0-ip) echo "ipaddr:10.9.0.1"; echo "netmask:255.255.255.0" ;;
1-ip) echo "Get ipconf failed, because no ip was preset there!" >&2; exit 13 ;;
*-tls) echo "dev_id:$device, tls switch[$device](0:disable, 1:enable), tls preconfigured[1]" ;;
0-ping) printf 'device 0 PING %s\nrecv seq=0,time=0.100000ms\n1 packets transmitted, 1 received, 0.00%% packet loss\n' "$6" ;;
*) echo "Command execute failed!" >&2; exit 1 ;;
esac
"""


def _run(probe: Probe, folder: Path) -> bytes:
    (folder / "hccn_tool").write_text(TOOL)
    (folder / "hccn_tool").chmod(0o755)
    done = subprocess.run(
        probe.argv, capture_output=True, env={"PATH": f"{folder}:/usr/bin:/bin"}, timeout=60, check=False
    )
    return done.stdout


def test_a_survey_asks_every_device_and_tells_why_an_answer_is_missing(tmp_path: Path) -> None:
    data = _run(hccn_probe([0, 1], ["link", "ip", "tls", "gateway"]), tmp_path)
    assert parse_hccn(data) == {
        0: DeviceNet(0, link="UP", address="10.9.0.1", netmask="255.255.255.0", tls=0, failures={"gateway": "failed"}),
        1: DeviceNet(1, link="UP", tls=1, failures={"ip": "no address", "gateway": "failed"}),
    }


def test_a_cut_survey_has_gaps_and_no_half_values(tmp_path: Path) -> None:
    data = _run(hccn_probe([0, 1], KINDS["a3"].hccn_queries), tmp_path)
    whole = parse_hccn(data)
    for end in range(len(data)):
        for device, part in parse_hccn(data[:end]).items():
            for each in ("link", "address", "netmask", "tls", "vnic_address"):
                assert getattr(part, each) in (None, getattr(whole[device], each)), (end, each)
            assert set(part.failures) <= set(whole[device].failures)


def test_a_ping_round_is_one_command(tmp_path: Path) -> None:
    data = _run(ping_probe([(0, "10.9.0.2"), (1, "10.9.0.3")], hccs=False), tmp_path)
    assert parse_pings(data) == (Ping(0, "10.9.0.2", 1, 1, (0.1,)), Ping(1, "10.9.0.3", failure="failed"))


def test_a_ping_target_is_an_address_and_nothing_else() -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        ping_probe([(0, "1.2.3.4; reboot")], hccs=True)


@given(st.binary(max_size=300))
def test_any_bytes_are_parsed(data: bytes) -> None:
    for parse in (parse_answer, parse_pings, parse_hccn, parse_conf):
        parse(data)
        parse(b"== 0 link\n" + data + b"\n== rc 0\n")
