"""The small programs of a demo node: hccn_tool, docker, pip, python."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.demo.bench import Bench
from tests.shared import SHARED, needs_shared
from tests.waiting import until

NPU = SHARED / "fixtures" / "npu"
QUERIES = [
    ("-link", "hccn_link_loop_8dev_up.txt"),
    ("-net_health", "hccn_net_health_loop_8dev_success.txt"),
    ("-ip", "hccn_ip_910B1_dev3.txt"),
    ("-gateway", "hccn_gateway_loop_8dev.txt"),
    ("-netdetect", "hccn_netdetect_loop_8dev.txt"),
    ("-vnic", "hccn_vnic_a3_loop_8of16.txt"),
]


def _keys(text: str) -> list[str]:
    """The words before the first colon of each line."""
    return [line.split(":")[0] for line in text.splitlines()]


@needs_shared
@pytest.mark.parametrize(("query", "capture"), QUERIES)
def test_hccn_tool_answers_in_the_words_of_a_capture(bench: Bench, query: str, capture: str) -> None:
    done = bench.run(0, "hccn_tool", "-i", "3", query, "-g")
    real = _keys((NPU / capture).read_text())
    assert done.returncode == 0
    assert _keys(done.stdout) == real[: len(_keys(done.stdout))]


HCCN_FAULTS = [
    ("down 3", "-link -g", 0, "link status: DOWN\n", ""),
    ("down 3", "-net_health -g", 0, "net health status: Fault\n", ""),
    ("tls 3 1", "-tls -g", 0, "dev_id:3, tls switch[1](0:disable, 1:enable)", ""),
    ("no-ip 3", "-ip -g", 13, "", "err_hccn_no_ip_preset.txt"),
    ("no-gateway 3", "-gateway -g", 2, "", "err_hccn_no_gateway.txt"),
    ("lost 29.1.3.10", "-ping -g address 29.1.3.10", 1, "device 3 PING 29.1.3.10\nrecv time out seq=0\n", ""),
]


@needs_shared
@pytest.mark.parametrize(("fault", "words", "code", "out", "error"), HCCN_FAULTS)
def test_hccn_tool_fails_as_the_real_one(bench: Bench, fault: str, words: str, code: int, out: str, error: str) -> None:
    healthy = bench.run(0, "hccn_tool", "-i", "3", *words.split())
    assert healthy.returncode == 0
    bench.fail(0, "hccn_tool", fault)
    done = bench.run(0, "hccn_tool", "-i", "3", *words.split())
    assert done.returncode == code
    assert done.stdout.startswith(out)
    assert done.stderr == ((NPU / error).read_text() if error else "")


def test_a_device_that_does_not_exist(bench: Bench) -> None:
    done = bench.run(0, "hccn_tool", "-i", "16", "-link", "-g")
    assert (done.returncode, done.stdout, done.stderr) == (4, "", "The device is not exist!\n")


def test_addresses_are_unique_over_devices_and_nodes(bench: Bench) -> None:
    addresses = {
        bench.run(node, "hccn_tool", "-i", str(device), "-ip", "-g").stdout for node in (0, 1) for device in (0, 15)
    }
    assert len(addresses) == 4


IMAGE = "ascend/vllm-ascend:v0.21.0rc1-a3"


def _run_container(bench: Bench) -> None:
    words = [
        "--name",
        "v",
        "--net=host",
        "--shm-size",
        "512g",
        "--privileged=true",
        "-v",
        "/a:/b:ro",
        "-e",
        "A=from-run",
    ]
    done = bench.run(0, "docker", "run", "-itd", *words, IMAGE, "bash")
    assert done.returncode == 0
    assert f"Status: Downloaded newer image for {IMAGE}" in done.stdout


def test_a_container_is_made_inspected_and_removed(bench: Bench) -> None:
    _run_container(bench)
    template = "{{.HostConfig.NetworkMode}} {{.HostConfig.Privileged}} {{.HostConfig.ShmSize}} {{.Config.Image}}"
    done = bench.run(0, "docker", "inspect", "v", "--format", template)
    assert done.stdout == f"host true 549755813888 {IMAGE}\n"
    whole = json.loads(bench.run(0, "docker", "inspect", "v").stdout)[0]
    assert whole["Mounts"] == [{"Type": "bind", "Source": "/a", "Destination": "/b", "Mode": "ro", "RW": False}]
    again = bench.run(0, "docker", "run", "-d", "--name", "v", IMAGE)
    assert again.returncode == 125
    assert 'The container name "/v" is already in use' in again.stderr
    assert bench.run(0, "docker", "rm", "v").returncode == 1
    assert bench.run(0, "docker", "stop", "v").stdout == "v\n"
    stopped = bench.run(0, "docker", "exec", "v", "true")
    assert stopped.returncode == 1
    assert "is not running" in stopped.stderr
    assert bench.run(0, "docker", "ps", "--format", "{{.Names}}").stdout == ""
    assert bench.run(0, "docker", "ps", "-a", "--format", "{{.Names}}").stdout == "v\n"
    assert bench.run(0, "docker", "rm", "-f", "v").returncode == 0
    assert "No such container: v" in bench.run(0, "docker", "inspect", "v").stderr


@pytest.mark.parametrize(
    ("words", "code", "out"),
    [
        (["v", "sh", "-c", "echo $A; exit 3"], 3, "from-run\n"),
        (["-e", "A=2", "-w", "/", "v", "sh", "-c", "echo $A $PWD"], 0, "2 /\n"),
        (["v", "sh", "-c", "kill -9 $$"], 137, ""),
        (["v", "no-such-program"], 127, ""),
    ],
)
def test_exec_runs_with_the_containers_environment(bench: Bench, words: list[str], code: int, out: str) -> None:
    _run_container(bench)
    done = bench.run(0, "docker", "exec", *words)
    assert (done.returncode, done.stdout) == (code, out)


async def test_what_exec_started_outlives_its_client(bench: Bench) -> None:
    _run_container(bench)
    mark = Path(bench.root, "pid")
    client = bench.start(0, ["docker", "exec", "v", "sh", "-c", f"echo $$ > {mark}; exec sleep 1000"])
    await until(lambda: mark.exists() and mark.read_text().strip())
    client.process.kill()
    await client.ends()
    pid = int(mark.read_text())
    os.kill(pid, 0)
    os.kill(pid, signal.SIGKILL)


async def test_stopping_a_container_ends_all_that_runs_in_it(bench: Bench) -> None:
    _run_container(bench)
    main = int(bench.run(0, "docker", "inspect", "-f", "{{.State.Pid}}", "v").stdout)
    os.kill(main, 0)
    inside = bench.start(0, ["docker", "exec", "v", "sh", "-c", "setsid sleep 1003 & exec sleep 1004"])
    await until(lambda: len(inside.pids("sleep")) == 2)
    assert bench.run(0, "docker", "stop", "v").returncode == 0
    assert await inside.ends() == 137
    assert not inside.pids("sleep")
    assert bench.run(0, "docker", "inspect", "-f", "{{.State.Running}} {{.State.Pid}}", "v").stdout == "false 0\n"
    assert bench.run(0, "docker", "start", "v").returncode == 0
    again = bench.run(0, "docker", "inspect", "-f", "{{.State.Running}}", "v")
    assert again.stdout == "true\n"


def test_a_daemon_that_is_down(bench: Bench) -> None:
    bench.fail(0, "docker", "down")
    done = bench.run(0, "docker", "ps")
    assert (done.returncode, done.stderr.startswith("Cannot connect to the Docker daemon")) == (1, True)


def test_versions_are_those_of_the_image(bench: Bench) -> None:
    done = bench.run(0, "pip", "show", "vllm", "vllm-ascend", "nonsense")
    assert "Name: vllm-ascend\nVersion: 0.21.0rc1\n" in done.stdout
    assert done.stderr == "WARNING: Package(s) not found: nonsense\n"
    code = "import torch, torch_npu, vllm_ascend, mooncake.engine; print(torch.__version__, torch.npu.device_count())"
    assert bench.run(0, "python", "-c", code).stdout == "2.10.0 16\n"
    assert bench.run(0, "python3", "-c", "import sys; print(sys.argv[1:])", "a b").stdout == "['a b']\n"
