# ruff: noqa: E501  (answers of nodes are as long as they are)
"""Each preflight check tells a good node from a bad one and says unknown where it cannot; scripts run in a real shell."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console.probes.check_types import Answer, NodeRequirements, Result, Verdict, folded
from console.probes.checks_npu import pinged
from console.probes.hccn import Ping
from console.probes.preflight_checks import CHECKS, INQUIRIES, answered, asked, together
from tests.probes.captures import HERE

A2 = NodeRequirements(
    "n0", "a2", 8, 1, address="10.0.0.1", nic="enp1", dp_addresses=("10.0.0.1",), peers=("10.0.0.2",), ports=((7100, "API"), (12321, "RPC")),
    model="/w", image="q/vllm-ascend:v0.21.0rc1", container="vllm", mounts=("/usr/local/dcmi", "/w"), preload="/usr/lib64/libjemalloc.so.2",
    flags=("tensor-parallel-size", "enable-expert-parallel"), packages={"vllm": "0.21.0"}, connector=True, clock_offset_s=0.2,
)  # fmt: skip
A3 = replace(A2, hardware="a3", devices=16, dies_per_card=2)


def _result(check: str, text: bytes | str, wanted: NodeRequirements = A2, exit_code: int | None = 0) -> Result:
    name = next(each.inquiry for each in CHECKS if each.id == check and each.applies(wanted))
    answer = Answer(text.encode() if isinstance(text, str) else text, exit_code)
    (found,) = [each for each in answered(wanted, {name: answer}, network=True) if each.check == check]
    return found


def _npu(name: str) -> bytes:
    return (HERE / "npu" / name).read_bytes()


def _hccn_output(devices: int, **answers: str) -> str:
    return "".join(
        f"== {device} {query}\n{text.format(n=device)}\n== rc 0\n"
        for device in range(devices)
        for query, text in answers.items()
    )


A2_UP = {
    "lldp": "\tIfname: 400GE1/1/{n}:1", "link": "link status: UP", "net_health": "net health status: Success", "tls": "tls switch[0]",
    "netdetect": "netdetect address: 10.1.0.1", "gateway": "default gateway:10.1.0.1, Iface:eth{n}", "ip": "ipaddr:10.1.0.1{n}",
}  # fmt: skip
UP = _hccn_output(8, **A2_UP)
GONE = UP.replace("== 3 link\nlink status: UP", "== 3 link\nlink status: DOWN")
WEIGHTS = {
    "config": "aa", "model_type": "deepseek_v4", "quantization": ["quant_model_description_w4a8.json"], "index": 64, "missing": [], "empty": [],
    "partial": [], "tokenizer": ["tokenizer.json"], "bytes": 2**40, "manifest": "bb",
}  # fmt: skip
INSPECT = [{
    "Image": "sha256:1", "State": {"Running": True}, "Config": {"Image": "q/vllm-ascend:v0.21.0rc1"},
    "HostConfig": {"NetworkMode": "host", "Privileged": True, "ShmSize": 2**39},
    "Mounts": [{"Destination": "/usr/local/dcmi"}, {"Destination": "/w"}],
}]  # fmt: skip
ADDRESSES = (
    "1: lo    inet 127.0.0.1/8 scope host lo\n2: enp1    inet 10.0.0.1/24 brd 10.0.0.255 scope global enp1\n== end\n"
)
LISTEN = "  sl  local_address rem_address   st\n   0: 0100000A:1BBC 00000000:0000 0A 0:0\n== end\n"
SETTINGS = (
    "== net/ipv4/ip_local_port_range\n32768\t60999\n== net/ipv4/ip_local_reserved_ports\n60000-60031\n== vm/swappiness\n0\n"
    "== kernel/numa_balancing\n0\n== kernel/sched_migration_cost_ns\n50000\n== governor\nperformance\n"
    "== memory\nMemAvailable:   1500000000 kB\n== cores\n192\n== taskset\n/usr/bin/taskset\n== end\n"
)
ENVIRONMENT = (
    "== ASCEND_HOME_PATH\n/a\n== ATB_HOME_PATH\n/b\n== LD_LIBRARY_PATH\n/x:/usr/local/lib\n== proxies\n{}\n== end\n"
)
LIMITS = "== files\n65535\n== locked\nunlimited\n== shm\ntmpfs 536870912 0 536870912 0% /dev/shm\n== end\n"
FIREWALL = "== firewalld\nnot running\n== iptables\n-P INPUT ACCEPT\n== nftables\n\n== end\n"
PS = "    PID    PPID USER     ELAPSED COMMAND\n{}      1       0 root      999 /sbin/init\n"

PASS, WARN, FAIL, UNKNOWN = Verdict.PASS, Verdict.WARN, Verdict.FAIL, Verdict.UNKNOWN
CASES: list[tuple[str, bytes | str, Verdict, str]] = [
    ("1", UP, PASS, "8 devices see a switch"),
    ("1", UP.replace("\tIfname: 400GE1/1/2:1", ""), WARN, "device 2: no answer"),
    ("2", UP, PASS, "8 devices UP"),
    ("2", GONE, FAIL, "device 3: DOWN"),
    ("2", UP[: UP.find("== 6 lldp")], UNKNOWN, "no answer of device 6, 7"),
    ("2", "hccn_tool: command not found\n", UNKNOWN, "hccn_tool is not installed"),
    ("3", UP, PASS, "healthy"),
    ("3", UP.replace("== 5 net_health\nnet health status: Success", "== 5 net_health\nnet health status: Fault"), FAIL, "device 5: Fault"),
    ("4", UP, PASS, ""),
    ("5", UP.replace("default gateway:10.1.0.1, Iface:eth4\n== rc 0", "Get gateway failed\n== rc 2"), FAIL, "device 4: no gateway"),
    ("6", UP, PASS, "TLS off on all devices"),
    ("6", UP.replace("== 2 tls\ntls switch[0]", "== 2 tls\ntls switch[1]"), FAIL, "device 2 has TLS 1"),
    ("7", UP, PASS, "10.1.0.10 … 10.1.0.17"),
    ("7", UP.replace("ipaddr:10.1.0.17", "ipaddr:10.1.0.16"), FAIL, "two devices have 10.1.0.16"),
    ("7", UP.replace("ipaddr:10.1.0.17\n== rc 0", "\n== rc 13"), FAIL, "1 of 8 devices have no address"),
    ("9", "".join(f"address_{each}=10.1.0.1{each}\n" for each in range(8)), PASS, "8 addresses"),
    ("9", "address_0=10.1.0.1\n", WARN, "missing: address_1 +6 more"),
    ("9c", "address_0=10.1.0.1\n", FAIL, "missing: address_1 +6 more"),
    ("11", _npu("a2_info_25.5.0_npu3_critical.txt"), FAIL, "device 3 is Critical"),
    ("11", _npu("a2_info_25.5.0_npu3_critical.txt").replace(b"Critical", b"OK      "), PASS, "8 devices OK, no process"),
    ("11", _npu("a2_info_25.3.rc1_910B3_vllm_loaded_8dev.txt"), FAIL, "VLLMWorker_TP 3329455 on device 0"),
    ("11", _npu("a2_info_25.3.rc1_910B3_vllm_loaded_8dev.txt")[:900], UNKNOWN, "no process table"),
    ("11", "dcmi module initialize failed. ret is -8005\n", UNKNOWN, "the driver does not answer"),
    ("12", _npu("a2_info_25.5.0_npu3_critical.txt"), PASS, "at most 3431 MiB"),
    ("12", _npu("a2_info_25.3.rc1_910B3_vllm_loaded_8dev.txt"), FAIL, "device 0: 60056 MiB"),
    ("13", PS.format(""), PASS, "none"),
    ("13", PS.format("   4711    4700 root      99 VLLM::EngineCore_DP0\n"), FAIL, "4711 VLLM::EngineCore_DP0"),
    ("13", "", UNKNOWN, "no process list"),
    ("14", "".join(f"/dev/davinci{each}\n" for each in range(8)) + "/dev/davinci_manager\n/dev/devmm_svm\n/dev/hisi_hdc\n== end\n", PASS, "8"),
    ("14", "/dev/davinci0\n/dev/davinci_manager\n== end\n", FAIL, "missing: davinci1, davinci2"),
    ("15", "Version=25.5.0\nInnerversion=V100\n", PASS, "driver 25.5.0"),
    ("15", "Innerversion=V100\n", UNKNOWN, "no Version"),
    ("16", "package_name=x\nversion=9.0.0\n== end\n", PASS, "CANN 9.0.0"),
    ("17", "torch 2.10.0\ntorch_npu 2.10.0\ndevices 8\n", PASS, "8 devices"),
    ("17", "torch 2.10.0\ntorch_npu 2.10.0\ndevices 4\n", FAIL, "4 devices"),
    ("17", "Traceback\nImportError: libhccl.so: cannot open shared object file\n", FAIL, "libhccl.so"),
    ("18", "vllm==0.21.0+empty\nvllm-ascend==0.21.0rc1\nmooncake-transfer-engine==0.3.9\n== end\n", PASS, "vllm 0.21.0+empty"),
    ("18", "vllm==0.22.0\nvllm-ascend==0.21.0rc1\nmooncake-transfer-engine==\n== end\n", FAIL, "mooncake-transfer-engine is not installed"),
    ("18", "vllm==0.22.0\nvllm-ascend==0.21.0rc1\nmooncake-transfer-engine==1\n== end\n", FAIL, "vllm 0.22.0 (wanted 0.21.0)"),
    ("19", "vllm_ascend ok\nmooncake.engine ok\n== end\n", PASS, "importable"),
    ("19", "vllm_ascend ok\nmooncake.engine ModuleNotFoundError: No module named 'mooncake'\n== end\n", FAIL, "No module named 'mooncake'"),
    ("19", "vllm_ascend ok\n", UNKNOWN, "mooncake.engine"),
    ("20", ENVIRONMENT.format(""), PASS, "/a"),
    ("20", ENVIRONMENT.format("").replace("/b", ""), FAIL, "ATB_HOME_PATH not set"),
    ("21", "here /usr/lib64/libjemalloc.so.2\n== end\n", PASS, ""),
    ("21", "missing /usr/lib64/libjemalloc.so.2\n/usr/lib/aarch64-linux-gnu/libjemalloc.so.2\n== end\n", WARN, "does not exist"),
    ("22", ENVIRONMENT.format(""), PASS, ""),
    ("22", ENVIRONMENT.format("").replace(":/usr/local/lib", ""), FAIL, "lacks /usr/local/lib"),
    ("23", json.dumps(INSPECT), PASS, "v0.21.0rc1"),
    ("23", json.dumps(INSPECT).replace('"host"', '"bridge"').replace("549755813888", "67108864"), FAIL, "network is bridge, not host; shm is 0.1"),
    ("23", json.dumps(INSPECT).replace('"Running": true', '"Running": false'), FAIL, "is not running"),
    ("23", "[]\nError: No such object: vllm\n", FAIL, "no container vllm"),
    ("24", json.dumps(INSPECT), PASS, "2 paths mounted"),
    ("24", json.dumps(INSPECT).replace("/usr/local/dcmi", "/x"), FAIL, "not mounted: /usr/local/dcmi"),
    ("25", "  --tensor-parallel-size N\n  --enable-expert-parallel, --no-enable-expert-parallel\n", PASS, "2 flags known"),
    ("25", "  --tensor-parallel-size N\n", FAIL, "--enable-expert-parallel"),
    ("25", "", UNKNOWN, "printed nothing"),
    ("26", ADDRESSES, PASS, "10.0.0.1 on enp1"),
    ("26", ADDRESSES.replace("10.0.0.1/", "10.0.0.9/"), FAIL, "no interface of this node has 10.0.0.1"),
    ("26", ADDRESSES.replace("enp1", "enp2"), FAIL, "on enp2, not on enp1"),
    ("26", ADDRESSES.replace("== end\n", ""), UNKNOWN, ""),
    ("26", ADDRESSES.replace("10.0.0.1/24", "10.0.0.9/33"), FAIL, "no interface of this node has 10.0.0.1"),
    ("27", "8.8.8.8 via 10.0.0.254 dev enp1 src 10.0.0.1 uid 0\n", PASS, "10.0.0.1"),
    ("27", "8.8.8.8 via 172.16.0.1 dev eth0 src 172.16.0.7 uid 0\n", WARN, "use 172.16.0.7"),
    ("27", "RTNETLINK answers: Network is unreachable\n", WARN, "no default route"),
    ("28", ADDRESSES, PASS, "10.0.0.1"),
    ("28", ADDRESSES.replace("10.0.0.1/", "10.0.0.9/"), FAIL, "this node does not have 10.0.0.1"),
    ("29", "10.0.0.2 reached\n== end\n", PASS, "the other node answers"),
    ("29", "10.0.0.2 silent\n== end\n", WARN, "10.0.0.2"),
    ("29", "== end\n", UNKNOWN, "10.0.0.2"),
    ("30", "== name\nn0\n== address\n10.0.0.1 n0\n== end\n", PASS, "10.0.0.1"),
    ("30", "== name\nn0\n== address\n127.0.1.1 n0\n== end\n", WARN, "n0 resolves to 127.0.1.1"),
    ("31", "  sl\n== end\n", PASS, "2 ports free"),
    ("31", LISTEN, FAIL, "taken: 7100 (API)"),
    (
        "31",
        LISTEN + 'LISTEN 0      2048   0.0.0.0:7100    0.0.0.0:*    users:(("nginx",pid=42,fd=3),("nginx",pid=43,fd=3))\n',
        FAIL,
        "taken: 7100 (API) by pid 42 nginx",
    ),
    ("31", LISTEN.replace("== end\n", ""), UNKNOWN, ""),
    ("32", SETTINGS, PASS, "32768-60999"),
    ("32", SETTINGS.replace("60000-60031", ""), WARN, "60000, 60001, 60002, 60003 +28 more"),
    ("32", SETTINGS.replace("32768\t60999", "7000 65000"), WARN, "7100, 12321"),
    ("33", FIREWALL, PASS, ""),
    ("33", FIREWALL.replace("not running", "running"), WARN, "firewalld is running"),
    ("33", FIREWALL.replace("ACCEPT", "DROP"), WARN, "drops incoming packets"),
    ("34", ENVIRONMENT.format(""), PASS, "none"),
    ("34", ENVIRONMENT.format("http_proxy=http://p:1\nno_proxy=localhost,10.0.0.1"), FAIL, "no_proxy lacks 10.0.0.2"),
    ("34", ENVIRONMENT.format("HTTP_PROXY=http://p:1\nno_proxy=10.0.0.1,10.0.0.2"), PASS, "no_proxy has all nodes"),
    ("35", SETTINGS, PASS, "+0.2 s"),
    ("36", json.dumps(WEIGHTS), PASS, "deepseek_v4"),
    ("36", json.dumps(WEIGHTS | {"model_type": "llama"}), WARN, "model_type is llama"),
    ("36", json.dumps(WEIGHTS | {"model_type": "deepseek_v41"}), PASS, "deepseek_v41"),
    ("36", json.dumps({"error": "[Errno 2] No such file or directory: '/w'"}), FAIL, "No such file"),
    ("36", "", UNKNOWN, ""),
    ("37", json.dumps(WEIGHTS), PASS, "64 shards"),
    ("37", json.dumps(WEIGHTS | {"missing": ["model-00003.safetensors"], "empty": ["model-00004.safetensors"]}), FAIL, "model-00003.safetensors is missing"),
    ("37", json.dumps(WEIGHTS | {"partial": ["model-1.safetensors.incomplete"]}), FAIL, "incomplete download"),
    ("38", json.dumps(WEIGHTS), PASS, "1024.0 GiB"),
    ("39", "/dev/nvme0n1 xfs 9 5 4 50% /w\n== end\n", PASS, "xfs"),
    ("39", "nas:/w nfs4 9 5 4 50% /w\n== end\n", WARN, "nfs4"),
    ("40", json.dumps(WEIGHTS), PASS, "tokenizer.json"),
    ("40", json.dumps(WEIGHTS | {"tokenizer": ["tokenizer_config.json"]}), FAIL, "no tokenizer.json"),
    ("41", LIMITS, PASS, "65535"),
    ("41", LIMITS.replace("65535", "1024"), WARN, "1024, wanted 65535"),
    ("42", LIMITS.replace("unlimited", "64"), WARN, "64 KiB"),
    ("43", LIMITS, PASS, "512.0 GiB"),
    ("43", LIMITS.replace("536870912 0%", "65536 0%"), FAIL, "0.1 GiB free for 1 engine"),
    ("44", SETTINGS, PASS, "1431 GiB"),
    ("45", "/dev/sda1 100 50 52428800 50% /var\n== end\n", PASS, "50.0 GiB"),
    ("45", "/dev/sda1 100 50 524288 50% /var\n== end\n", FAIL, "0.5 GiB"),
    ("46", SETTINGS.replace("swappiness\n0", "swappiness\n60"), WARN, "vm.swappiness=60"),
    ("47", SETTINGS.replace("50000", "500000"), WARN, "500000"),
    ("48", SETTINGS.replace("performance", "powersave"), WARN, "powersave"),
    ("49", SETTINGS.replace("\n192\n", "\n8\n"), WARN, "8 cores for 8 devices"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("check", "text", "verdict", "seen"), CASES, ids=[f"{each[0]}-{each[2]}-{at}" for at, each in enumerate(CASES)]
)
def test_each_check(check: str, text: bytes | str, verdict: Verdict, seen: str) -> None:
    found = _result(check, text)
    assert (found.verdict, seen in found.seen) == (verdict, True), found
    assert bool(found.why and found.remedy) is (verdict is not PASS)


def test_every_check_has_a_case_and_an_inquiry() -> None:
    assert {each.inquiry for each in CHECKS} == set(INQUIRIES)
    assert {each.id for each in CHECKS} - {each[0] for each in CASES} == {"7b", "10", "10b"}  # of other kinds than A2
    numbers = {each.id.rstrip("bc") for each in CHECKS} | {"8"}
    assert numbers == {str(number) for number in range(1, 50)}


A3_UP = {"link": "link status: UP", "tls": "tls switch[0]", "vnic": "vnic link status: UP\nvnic ipaddr: 192.168.2.{n}"}


@pytest.mark.parametrize(
    ("check", "text", "verdict", "seen"),
    [
        ("2", _hccn_output(16, **A3_UP), PASS, "16 devices UP"),
        ("2", _hccn_output(16, **A3_UP | {"link": "link status: DOWN"}), WARN, "a known false alarm on A3"),
        ("7b", _hccn_output(16, **A3_UP), PASS, "192.168.2.0 … 192.168.2.15"),
        (
            "10",
            "".join(f"== {at // 2} {at % 2}\nSDID : {at}\nSuper Pod ID : 4\n" for at in range(16)) + "== end\n",
            PASS,
            "super pod 4",
        ),
        ("10", "== 0 0\nSDID : 1\nSuper Pod ID : 4\n== end\n", UNKNOWN, "1 of 16 chips"),
        ("11", _npu("a3_info_25.5.0_card5_absent.txt"), FAIL, "14 of 16 devices, 10, 11 missing"),
        ("12", _npu("a3_info_26.1.1_x86_half_loaded_16chips.txt"), FAIL, "device 0: 65473 MiB, 1: 65236 MiB"),
    ],
)
def test_what_is_different_on_an_a3(check: str, text: bytes | str, verdict: Verdict, seen: str) -> None:
    found = _result(check, text, A3)
    assert (found.verdict, seen in found.seen) == (verdict, True), found


@pytest.mark.parametrize(
    ("address", "verdict", "seen"),
    [
        ("127.0.0.101", PASS, "127.0.0.101 on lo"),
        ("127.0.0.1", PASS, "127.0.0.1 on lo"),
        ("10.0.0.7", FAIL, "no interface of this node has 10.0.0.7"),
    ],
)
def test_the_loopback_interface_carries_its_whole_network_and_no_other_does(
    address: str, verdict: Verdict, seen: str
) -> None:
    wanted = replace(A2, address=address, nic="lo", dp_addresses=(address,))
    found = _result("26", ADDRESSES, wanted)
    assert (found.verdict, found.seen) == (verdict, seen)
    assert _result("28", ADDRESSES, wanted).verdict is verdict


def test_a_process_that_ended_and_was_not_waited_for_is_no_engine_that_is_left() -> None:
    rows = "PID PPID USER ELAPSED COMMAND\n  7 1 root 10 [VLLM::EngineCor] <defunct>\n"
    assert _result("13", rows).verdict is PASS
    assert _result("13", rows + "  8 1 root 10 VLLM::EngineCore\n").seen == "8 VLLM::EngineCore"


def test_a_host_without_a_container_is_told_how_to_raise_its_own_limits() -> None:
    limits = "== files\n1024\n== locked\nunlimited\n== shm\n== end\n"
    assert "container" in _result("41", limits, replace(A2, tool=("docker",))).remedy
    assert "limits.conf" in _result("41", limits, replace(A2, tool=(), container="")).remedy


def test_own_processes_are_no_strangers() -> None:
    wanted = replace(A2, own_pids=frozenset(range(3329455, 3329466)))
    assert _result("11", _npu("a2_info_25.3.rc1_910B3_vllm_loaded_8dev.txt"), wanted).verdict is PASS


def test_a_missing_configuration_file_is_a_failure_of_the_container() -> None:
    answers = {"hccn-conf-container": Answer(exit_code=1, stderr=b"cat: /etc/hccn.conf: No such file or directory\n")}
    (found,) = [each for each in answered(A2, answers, network=True) if each.check == "9c"]
    assert (found.verdict, found.seen) == (FAIL, "the file does not exist")


@pytest.mark.parametrize("answer", [Answer(exit_code=None), Answer(exit_code=124), Answer(truncated=True), None])
def test_what_was_not_answered_is_unknown_for_every_check(answer: Answer | None) -> None:
    answers = {} if answer is None else dict.fromkeys(INQUIRIES, answer)
    for wanted in (A2, A3):
        found = answered(wanted, answers, network=True)
        assert {each.verdict for each in found} == {UNKNOWN}


def test_a_container_that_is_not_there_is_said_and_nothing_is_guessed() -> None:
    answers = dict.fromkeys(
        INQUIRIES, Answer(exit_code=1, stderr=b"Error response from daemon: container 1a2b is not running\n")
    )
    found = {each.check: each for each in answered(A2, answers)}
    assert found["37"].verdict is UNKNOWN
    assert found["37"].seen == "Error response from daemon: container 1a2b is not running"
    assert found["37"].remedy == "create or start the container vllm"


def test_the_nodes_network_is_asked_on_request_only() -> None:
    quick = {each.name for each in asked(A2)}
    assert "hccn-a2" not in quick
    assert {each.name for each in asked(A2, network=True)} - quick == {"hccn-a2", "hccn-conf", "hccn-conf-container"}
    plain = {each.name for each in asked(NodeRequirements("x", "plain", 0))}
    assert not plain & {"npu", "cann", "torch", "inspect", "weights"}


@pytest.mark.parametrize(
    ("offset", "seen"), [(-0.04, "+0.0 s"), (-0.0, "+0.0 s"), (0.04, "+0.0 s"), (-0.06, "-0.1 s"), (3.0, "+3.0 s")]
)
def test_no_clock_difference_has_no_sign_of_minus(offset: float, seen: str) -> None:
    assert _result("35", SETTINGS, replace(A2, clock_offset_s=offset)).seen == f"{seen} to this machine"


def test_a_ping_round() -> None:
    good = [Ping(0, "10.1.0.2", 3, 3, (0.1, 0.2, 0.05))]
    assert pinged(good, A2) == Result("8", "pings between NPUs", "n0", PASS, "1 path, at most 0.200 ms")
    bad = pinged([*good, Ping(1, "10.1.0.3", 3, 0)], A3)
    assert (bad.check, bad.verdict, bad.seen) == ("8b", FAIL, "device 1 to 10.1.0.3: 0 of 3 answered")
    assert pinged([Ping(1, "10.1.0.3", failure="no answer in time")], A2).verdict is UNKNOWN
    assert pinged([], A2).verdict is UNKNOWN


def _nodes(check: str, texts: Mapping[str, str]) -> tuple[Result, ...]:
    return together(_result(check, text, replace(A2, node=node)) for node, text in texts.items())


def test_the_odd_node_stands_out() -> None:
    found = _nodes(
        "38",
        {node: json.dumps(WEIGHTS | {"manifest": "zz" if node == "n2" else "bb"}) for node in ("n0", "n1", "n2", "n3")},
    )
    assert [each.verdict for each in found] == [PASS, PASS, FAIL, PASS]
    assert "most nodes have bb" in found[2].seen
    folds = folded(found)
    assert [(fold.verdict, fold.nodes) for fold in folds] == [(FAIL, ("n2",)), (PASS, ("n0", "n1", "n3"))]


def test_without_a_majority_all_are_told() -> None:
    found = _nodes("15", {"n0": "Version=25.5.0\n", "n1": "Version=25.3.0\n"})
    assert {each.verdict for each in found} == {WARN}
    assert all("the nodes differ" in each.seen for each in found)


def test_equal_answers_of_all_nodes_fold_into_one_line() -> None:
    found = _nodes("15", dict.fromkeys(("n0", "n1", "n2"), "Version=25.5.0\n"))
    assert [(fold.seen, fold.nodes) for fold in folded(found)] == [("driver 25.5.0", ("n0", "n1", "n2"))]


def test_what_passes_is_one_line_and_what_does_not_is_told_apart() -> None:
    names = ("n0", "n1", "n2")
    good = [Result("26", "address", name, Verdict.PASS, f"10.0.0.{at}") for at, name in enumerate(names)]
    (fold,) = folded(good)
    assert (fold.seen, fold.nodes) == ("10.0.0.0; 10.0.0.1 +1 more", names)
    bad = [replace(each, verdict=Verdict.FAIL) for each in good]
    assert [fold.nodes for fold in folded(bad)] == [("n0",), ("n1",), ("n2",)]


def _ask(name: str, wanted: NodeRequirements) -> Answer:
    done = subprocess.run(INQUIRIES[name].argv(wanted), capture_output=True, timeout=60, check=False)
    return Answer(done.stdout, done.returncode)


def _model(folder: Path) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "deepseek_v4"}')
    (folder / "quant_model_description.json").write_text("{}")
    (folder / "tokenizer.json").write_text("{}")
    shards = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {f"w{name}": name for name in shards}})
    )
    for name in shards:
        (folder / name).write_bytes(b"x" * 100)
    return folder


def _verdicts(folder: Path) -> dict[str, Result]:
    wanted = replace(A2, model=str(folder))
    return {
        each.check: each
        for each in answered(wanted, {"weights": _ask("weights", wanted)})
        if each.check in ("36", "37", "38", "40")
    }


def test_weights_are_read_by_a_real_script(tmp_path: Path) -> None:
    folder = _model(tmp_path / "a model; with 'odd' name")
    good = _verdicts(folder)
    assert {each.verdict for each in good.values()} == {PASS}
    other = _verdicts(_model(tmp_path / "copy"))
    assert other["38"].value == good["38"].value
    (folder / "model-00002-of-00002.safetensors").write_bytes(b"x" * 99)
    assert _verdicts(folder)["38"].value != good["38"].value
    (folder / "model-00002-of-00002.safetensors").unlink()
    (folder / "model-00001-of-00002.safetensors").write_bytes(b"")
    assert (
        _verdicts(folder)["37"].seen
        == "model-00002-of-00002.safetensors is missing; model-00001-of-00002.safetensors is empty"
    )
    (folder / "model.safetensors.index.json").write_text("{")
    assert _verdicts(folder)["37"].verdict is FAIL
    (folder / "model.safetensors.index.json").unlink()
    assert _verdicts(folder)["37"].seen == "neither *.safetensors.index.json nor model.safetensors"
    (folder / "model.safetensors").write_bytes(b"x")
    alone = _verdicts(folder)
    assert (alone["37"].verdict, alone["37"].seen) == (PASS, "1 shard"), "what fits into one file has no index"
    assert alone["38"].value != good["38"].value
    assert _verdicts(tmp_path / "none")["36"].verdict is FAIL


@pytest.mark.parametrize(
    "name",
    ["name", "listeners", "settings", "limits", "room", "environment", "packages", "device-nodes", "weights-place"],
)
def test_scripts_run_to_their_end_in_a_real_shell(name: str) -> None:
    answer = _ask(name, replace(A2, model="/", log_dir="/nonexistent/of/ours"))
    assert answer.whole
    assert "== end" in answer.lines


def test_a_listener_of_this_machine_is_found() -> None:
    import socket

    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        wanted = replace(A2, address="127.0.0.1", ports=((port, "API"),))
        (found,) = [each for each in answered(wanted, {"listeners": _ask("listeners", wanted)}) if each.check == "31"]
        name = f" by pid {os.getpid()} " if shutil.which("ss") else ""
        assert found.verdict is FAIL
        assert found.seen.startswith(f"taken: {port} (API){name}"), "ss names the holder where it is there"
    (found,) = [each for each in answered(wanted, {"listeners": _ask("listeners", wanted)}) if each.check == "31"]
    assert found.verdict is PASS


@settings(max_examples=60, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.sampled_from([each[1] if isinstance(each[1], bytes) else each[1].encode() for each in CASES]),
    ),
    st.integers(0, 4000),
)
def test_no_answer_breaks_a_judge(data: bytes, end: int) -> None:
    answers = dict.fromkeys(INQUIRIES, Answer(data[:end]))
    for wanted in (A2, A3, NodeRequirements("x", "plain", 0)):
        assert together(answered(wanted, answers, network=True)) is not None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda each: (
            st.lists(each, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "Image",
                        "State",
                        "Config",
                        "HostConfig",
                        "Mounts",
                        "Destination",
                        "missing",
                        "index",
                        "tokenizer",
                        "config",
                    ]
                ),
                each,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_any_json_breaks_no_judge(data: object) -> None:
    for text in (json.dumps(data), json.dumps([data])):
        answered(A2, dict.fromkeys(("inspect", "weights"), Answer(text.encode())))
