"""The host script says the truth about this very machine, and a cut answer leaves gaps, not wrong numbers."""

from __future__ import annotations

import ipaddress
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.model.snapshot import Host
from console.probes.host import host_probe, parse_host

ANSWER = b"""== name
a3-node-0
== load
12.50 8.01 7.99 3/4521 99812
== memory
MemTotal:       1583562752 kB
MemFree:        1200000000 kB
MemAvailable:   1411112960 kB
Buffers:            9999 kB
Cached:           888888 kB
== cores
320
== boot
2b0c1a52-8a61-4c9e-8e4f-0f5f0a5d8d11
== addresses
1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever
2: enp67s0f5    inet 192.168.3.3/24 brd 192.168.3.255 scope global enp67s0f5\\       valid_lft forever
7: docker0    inet 172.17.0.1/16 brd 172.17.255.255 scope global docker0\\       valid_lft forever
9: eth0@if10    inet 10.244.1.7/32 scope global eth0\\       valid_lft forever
== disk
Filesystem     1024-blocks      Used Available Capacity Mounted on
/dev/nvme0n1p2  1875000000 900000000 878904320      51% /var/tmp/a b
== end
"""
HOST = Host(
    hostname="a3-node-0",
    load_1m=12.5,
    cores=320,
    memory_total_mib=1546448,
    memory_available_mib=1378040,
    boot_id="2b0c1a52-8a61-4c9e-8e4f-0f5f0a5d8d11",
    addresses=(("192.168.3.3", "enp67s0f5"), ("172.17.0.1", "docker0"), ("10.244.1.7", "eth0")),
    disk_free_mib=858305,
)

WITHOUT_IP = b"""== addresses
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 127.0.0.0/8 2 0 2
           |-- 127.0.0.1
              /32 host LOCAL
     +-- 192.168.3.0/24 2 0 2
           |-- 192.168.3.3
              /32 host LOCAL
           |-- 192.168.3.255
              /32 link BROADCAST
Local:
           |-- 192.168.3.3
              /32 host LOCAL
== routes
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
enp67s0f5\t00000000\t0103A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
enp67s0f5\t0003A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0
== end
"""


def test_every_field_is_read() -> None:
    assert parse_host(ANSWER) == HOST


def test_addresses_without_ip_come_from_the_kernels_tables() -> None:
    assert parse_host(WITHOUT_IP).addresses == (("192.168.3.3", "enp67s0f5"),)


def test_a_missing_part_is_unknown() -> None:
    found = parse_host(b"== name\nx\n== load\n== memory\n== cores\nmany\n== boot\n== addresses\n== end\n")
    assert found == Host(hostname="x")


def test_the_script_runs_here_and_tells_what_python_tells() -> None:
    argv = host_probe("/no/such/base/yet").argv
    found = parse_host(subprocess.run(argv, capture_output=True, check=True, timeout=20).stdout)
    root = os.statvfs("/")
    assert found.disk_free_mib == pytest.approx(root.f_bavail * root.f_frsize / 2**20, rel=0.1)
    assert found.hostname == os.uname().nodename
    assert found.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert found.memory_total_mib == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    assert found.cores == os.sysconf("SC_NPROCESSORS_ONLN")
    assert found.load_1m is not None
    assert found.memory_available_mib is not None
    assert all(ipaddress.ip_address(address) for address, _ in found.addresses)


FIELDS = ("hostname", "load_1m", "cores", "memory_total_mib", "memory_available_mib", "boot_id", "disk_free_mib")


@pytest.mark.parametrize("answer", [ANSWER, WITHOUT_IP], ids=["with ip", "without ip"])
def test_every_prefix_gives_true_values_or_unknown(answer: bytes) -> None:
    whole = parse_host(answer)
    for end in range(len(answer)):
        part = parse_host(answer[:end])
        for each in FIELDS:
            assert getattr(part, each) in (None, "", getattr(whole, each)), (end, each)
        assert {*part.addresses} <= {*whole.addresses, *((address, "") for address, _ in whole.addresses)}, end


@given(st.binary(max_size=300))
def test_any_bytes_give_a_host(data: bytes) -> None:
    parse_host(data)
    parse_host(b"== addresses\n" + data + b"\n== routes\n" + data + b"\n== load\n" + data + b"\n== end\n")


@given(st.lists(st.sampled_from(ANSWER.split(b"\n") + WITHOUT_IP.split(b"\n")), max_size=25))
def test_lines_in_any_order_never_raise(lines: list[bytes]) -> None:
    parse_host(b"\n".join(lines))


@pytest.mark.parametrize(
    ("line", "address"),
    [
        (b"10.0.0.9 50222 10.0.0.3 22", "10.0.0.3"),
        (b"", ""),
        (b"10.0.0.9 50222 nonsense 22", ""),
        (b"fe80::1 50222 fe80::2 22", ""),
        (b"10.0.0.9 50222 10.0.0.3", ""),
    ],
)
def test_the_nodes_own_end_of_the_connection(line: bytes, address: str) -> None:
    assert parse_host(b"== ssh\n" + line + b"\n== end\n").ssh_address == address
