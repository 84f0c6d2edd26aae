"""A demo cluster is reached by SSH alone, runs what it is told, and leaves nothing behind."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncssh
import pytest

from console.cli.demo import _guide, add_parser
from console.demo import processes
from console.demo.cluster import DemoCluster, free_addresses, node_names
from console.files import load_cluster, load_layout
from console.model.cluster import Node
from tests.waiting import until


@pytest.fixture
async def demo(tmp_path: Path) -> AsyncIterator[DemoCluster]:
    cluster = DemoCluster("a3-pd", nodes=2, speed=400, directory=tmp_path / "demo")
    await cluster.start()
    yield cluster
    await cluster.close()


def _nodes(demo: DemoCluster) -> dict[str, Node]:
    return load_cluster(demo.directory / "cluster.yaml").nodes


async def _connect(demo: DemoCluster, name: str = "p0") -> asyncssh.SSHClientConnection:
    """Strict host keys and the client key, all from the cluster's own files."""
    node = _nodes(demo)[name]
    files = load_cluster(demo.directory / "cluster.yaml").ssh
    return await asyncssh.connect(
        node.host,
        node.port or 22,
        username=node.user,
        known_hosts=files.known_hosts,
        client_keys=[node.identity],
        config=[files.config],
    )


def test_names_follow_the_layout() -> None:
    assert node_names(load_layout("a3-pd")) == ("p0", "p1", "d0", "d1")
    assert node_names(load_layout("a2-mixed")) == ("n0", "n1", "n2", "n3")
    assert node_names(load_layout("a3-pd"), 2) == ("p0", "p1")
    assert node_names(load_layout("a3-pd"), 6)[4:] == ("s0", "s1")


async def test_nodes_have_own_addresses_homes_and_tools(demo: DemoCluster) -> None:
    nodes = _nodes(demo)
    assert list(nodes) == ["p0", "p1"]
    assert len({node.host for node in nodes.values()}) == 2
    assert all(node.host.startswith("127.") and node.ip == node.host for node in nodes.values())
    for name in nodes:
        async with await _connect(demo, name) as connection:
            done = await connection.run(
                "pwd; for tool in npu-smi vllm docker hccn_tool; do command -v $tool; done", check=True
            )
            where = demo.nodes[name].directory
            assert str(done.stdout).split() == [
                str(where / "home"),
                *(str(where / "bin" / tool) for tool in ("npu-smi", "vllm", "docker", "hccn_tool")),
            ]


async def test_a_stranger_is_not_let_in(demo: DemoCluster) -> None:
    node = _nodes(demo)["p0"]
    stranger = asyncssh.generate_private_key("ssh-ed25519")
    with pytest.raises(asyncssh.PermissionDenied):
        await asyncssh.connect(
            node.host, node.port or 22, known_hosts=str(demo.directory / "known_hosts"), client_keys=[stranger]
        )


@pytest.mark.parametrize(
    ("command", "out", "error", "code"),
    [
        ("echo hi; echo oh >&2; exit 7", b"hi\n", b"oh\n", 7),
        ("printf '\\377\\0\\n'", b"\xff\0\n", b"", 0),
        ("no-such-program", b"", None, 127),
    ],
)
async def test_exit_codes_and_bytes_come_through(
    demo: DemoCluster, command: str, out: bytes, error: bytes | None, code: int
) -> None:
    async with await _connect(demo) as connection:
        done = await connection.run(command, encoding=None)
        assert (done.exit_status, done.stdout) == (code, out)
        assert error is None or done.stderr == error


async def test_a_signal_is_told_as_a_signal(demo: DemoCluster) -> None:
    async with await _connect(demo) as connection:
        done = await connection.run("kill -TERM $$")
        assert done.exit_signal is not None
        assert done.exit_signal[0] == "TERM"


async def test_megabytes_go_both_ways_unchanged(demo: DemoCluster) -> None:
    data = os.urandom(3 << 20)
    async with await _connect(demo) as connection:
        done = await connection.run("cat", input=data, encoding=None)
        assert done.stdout == data


async def test_a_reader_that_waits_holds_the_writer_back(demo: DemoCluster) -> None:
    async with await _connect(demo) as connection:
        count = demo.nodes["p0"].home / "count"
        script = "i=0; while [ $i -lt 400 ]; do head -c 65536 /dev/zero; i=$((i+1)); echo $i > count; done"
        process = await connection.create_process(script, encoding=None)
        first = await process.stdout.read(1024)
        await until(lambda: count.exists() and count.read_text().strip())
        stalled = await _settled(count)
        assert stalled < 400  # 25 MB do not fit into the window and the pipes
        total = len(first)
        while data := await process.stdout.read(1 << 20):
            total += len(data)
        assert total == 400 * 65536


async def _settled(path: Path) -> int:
    """The number in the file once it has stopped to grow for a while."""
    loop = asyncio.get_running_loop()
    last, since = path.read_text(), loop.time()

    def still() -> bool:
        nonlocal last, since
        if path.read_text() != last:
            last, since = path.read_text(), loop.time()
        return loop.time() - since > 0.5

    await until(still)
    return int(last or 0)


async def test_closing_a_channel_ends_the_input_and_kills_nothing(demo: DemoCluster) -> None:
    home = demo.nodes["p0"].home
    async with await _connect(demo) as connection:
        process = await connection.create_process("cat > input; echo $$ > after; exec sleep 1000", encoding=None)
        process.stdin.write(b"some")
        await until(lambda: (home / "input").exists() and (home / "input").read_bytes() == b"some")
        process.close()
        await until(lambda: (home / "after").exists() and (home / "after").read_text().strip())
    os.kill(int((home / "after").read_text()), 0)


async def test_forwarding_reaches_the_node_itself_and_nobody_else(demo: DemoCluster) -> None:
    nodes = _nodes(demo)
    async with await _connect(demo) as connection:
        await connection.create_process("python3 -m http.server 7777 --bind $DSV4_DEMO_ADDRESS", encoding=None)
        for host in ("127.0.0.1", nodes["p0"].host):
            reader, writer = await _dial(connection, host)
            writer.write(b"HEAD / HTTP/1.0\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.0 200")
            writer.close()
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.open_connection(nodes["p1"].host, 7777, encoding=None)


async def _dial(
    connection: asyncssh.SSHClientConnection, host: str
) -> tuple[asyncssh.SSHReader[bytes], asyncssh.SSHWriter[bytes]]:
    """A forwarded connection, once the server behind it is there."""
    opened: list[tuple[asyncssh.SSHReader[bytes], asyncssh.SSHWriter[bytes]]] = []

    async def attempt() -> None:
        while not opened:
            try:
                opened.append(await connection.open_connection(host, 7777, encoding=None))
            except asyncssh.ChannelOpenError:
                await asyncio.sleep(0)

    await asyncio.wait_for(attempt(), 10)
    return opened[0]


async def test_two_clusters_live_side_by_side(demo: DemoCluster, tmp_path: Path) -> None:
    other = DemoCluster("a2-mixed", nodes=1, speed=400, directory=tmp_path / "other")
    try:
        await other.start()
        async with await _connect(other, "n0") as connection:
            text = str((await connection.run("npu-smi info", check=True)).stdout)
        assert "910B3" in text
        assert len(re.findall(r"/ 65536", text)) == 8
        assert not {node.address for node in other.nodes.values()} & {node.address for node in demo.nodes.values()}
    finally:
        await other.close()
    async with await _connect(demo) as connection:
        assert (await connection.run("true")).exit_status == 0


async def test_with_containers_the_one_of_the_cluster_file_is_up(tmp_path: Path) -> None:
    cluster = DemoCluster("a3-pd", nodes=1, speed=400, directory=tmp_path / "demo", runtime="docker")
    try:
        path = await cluster.start()
        runtime = load_cluster(path).nodes["p0"].runtime
        assert (runtime.kind, runtime.words) == ("docker", ("docker",))
        async with await _connect(cluster) as connection:
            done = await connection.run(f"docker exec -i {runtime.container} sh -c 'cat; exit 4'", input="x")
            assert (done.exit_status, done.stdout) == (4, "x")
    finally:
        await cluster.close()


async def test_close_ends_daemons_that_left_their_session(tmp_path: Path) -> None:
    cluster = DemoCluster("a3-pd", nodes=1, speed=400, directory=tmp_path / "demo")
    await cluster.start()
    async with await _connect(cluster) as connection:
        script = "(setsid sh -c 'env -i sleep 1001 & exec sleep 1002' </dev/null >/dev/null 2>&1 &)"
        await connection.run(script, check=True)
        server = cluster.server_pid
        assert server is not None
        await until(lambda: len(processes.descendants(server)) >= 2)
        left = processes.descendants(server)
    await cluster.close()
    assert not [pid for pid in left | {server} if os.path.exists(f"/proc/{pid}")]


async def test_everything_ends_when_the_owner_is_killed(tmp_path: Path) -> None:
    code = (
        "import asyncio, os\n"
        "from pathlib import Path\n"
        "from console.demo.cluster import DemoCluster\n"
        f"cluster = DemoCluster('a3-pd', nodes=1, directory=Path({str(tmp_path / 'demo')!r}))\n"
        "async def main():\n"
        "    await cluster.start()\n"
        "    print(cluster.server_pid, flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    owner = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    assert owner.stdout is not None
    server = int(await owner.stdout.readline())
    os.kill(server, 0)
    owner.kill()
    await owner.wait()
    await until(lambda: not os.path.exists(f"/proc/{server}"))


def test_addresses_do_not_meet() -> None:
    assert len(set(free_addresses(8))) == 8
    assert all(address.startswith("127.") for address in free_addresses(3))


async def test_a_person_gets_a_terminal_with_the_nodes_own_tools(demo: DemoCluster) -> None:
    async with await _connect(demo) as connection:
        size = (100, 30, 0, 0)
        async with connection.create_process(term_type="xterm", term_size=size, encoding="utf-8") as shell:
            shell.stdin.write("stty size; command -v npu-smi; tty >/dev/null && echo $((6 * 7)) it is\n")
            seen = await asyncio.wait_for(shell.stdout.readuntil("42 it is\r\n"), 10)
            assert "p0$ " in seen
            assert "30 100" in seen
            assert str(demo.nodes["p0"].directory / "bin/npu-smi") in seen
            shell.change_terminal_size(80, 24)
            shell.stdin.write("stty size; exit 3\n")
            assert "24 80" in await asyncio.wait_for(shell.stdout.read(), 10)
            await shell.wait_closed()
            assert shell.exit_status == 3


async def test_what_is_planted_before_the_demo_begins_reaches_its_nodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DSV4_DEMO_FAIL", "prefill:memory")
    cluster = DemoCluster("a3-pd", nodes=1, speed=400, directory=tmp_path / "demo")
    await cluster.start()
    try:
        async with await _connect(cluster) as connection:
            said = await connection.run("printenv DSV4_DEMO_FAIL")
            assert said.stdout == "prefill:memory\n"
    finally:
        await cluster.close()


def test_a_demo_that_only_serves_says_how_to_look_at_it(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text("name: demo\nnodes: {n0: {host: 127.0.0.1}, n1: {host: 127.0.0.2}}\n")
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    guide = _guide(path, parser.parse_args(["demo", "--serve", "--layout", "a3-mixed"]))
    assert f"dsv4-console -c {path} --layout a3-mixed --assign mixed=n0,n1" in "\n".join(guide)
    assert f"{tmp_path}/nodes/NODE/fail" in guide[-1]
