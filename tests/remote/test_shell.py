"""A shell over the machine's own `ssh`: the same way, keys and host keys as the links, on real OpenSSH; refused read-only."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.cli.main import main
from console.commands.ssh_command import shell_words
from console.files.loading import load_cluster
from console.journal import Journal
from console.model.cluster import Cluster
from console.model.deployment import Assignment, Deployment
from console.model.errors import ConsoleError, FileError, Refused, UsageError
from console.services.shell_access import open_at_engine, open_on_node
from tests.services.deployments import LAYOUT
from tests.sshd import SshNodes, needs_sshd, running_nodes

needs_ssh = pytest.mark.skipif(shutil.which("ssh") is None, reason="OpenSSH's client is not installed")


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshNodes]:
    with running_nodes(tmp_path_factory.mktemp("shell"), 2, first=20) as nodes:
        yield nodes


def said(words: tuple[str, ...], *command: str) -> subprocess.CompletedProcess[str]:
    """What a command says at the end of that way."""
    done = [*words, *command]
    return subprocess.run(done, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL)


@pytest.mark.sshd
@needs_sshd
@needs_ssh
def test_the_way_leads_to_the_node_also_through_a_jump_and_with_odd_file_names(sshd: SshNodes, tmp_path: Path) -> None:
    odd = tmp_path / "host keys %h"
    odd.write_bytes(sshd.known_hosts.read_bytes())
    cluster = sshd.cluster()
    cluster = cluster.model_copy(update={"ssh": cluster.ssh.model_copy(update={"known_hosts": str(odd)})})
    direct = said(shell_words(cluster, cluster.nodes["n0"], tmp_path / "own"), "echo $HOME")
    assert direct.stdout.strip() == str(sshd.nodes[0].home), direct.stderr
    far = cluster.nodes["n1"].model_copy(update={"jump": "n0"})
    jumped = said(shell_words(cluster, far, tmp_path / "own"), "echo $HOME; echo $SSH_CONNECTION")
    assert jumped.stdout.splitlines()[0] == str(sshd.nodes[1].home), jumped.stderr


@pytest.mark.sshd
@needs_sshd
@needs_ssh
def test_a_host_key_that_nobody_accepted_is_refused_and_one_accepted_here_is_enough(
    sshd: SshNodes, tmp_path: Path
) -> None:
    cluster = sshd.cluster()
    nothing = cluster.model_copy(update={"ssh": cluster.ssh.model_copy(update={"known_hosts": str(tmp_path / "none")})})
    refused = said(shell_words(nothing, nothing.nodes["n0"], tmp_path / "own"), "true")
    assert (refused.returncode, "Host key verification failed" in refused.stderr) == (255, True)
    accepted = shell_words(nothing, nothing.nodes["n0"], sshd.known_hosts)
    assert said(accepted, "true").returncode == 0


def test_a_host_is_never_taken_for_an_option(tmp_path: Path) -> None:
    """Refused in the cluster file with its line; and behind `--` wherever `ssh` is given one, a jump host's own `ssh` too."""
    path = tmp_path / "cluster.yaml"
    for place, (line, value) in {
        "host": (3, "-oProxyCommand=touch /tmp/x"),
        "jump": (3, "root@-oProxyCommand=id"),
        "user": (3, "-oProxyCommand=id"),
    }.items():
        path.write_text(f"name: lab\nnodes:\n  p0: {{{place}: {value!r}}}\n")
        with pytest.raises(FileError, match=rf"cluster\.yaml:{line}:\d+: nodes\.p0\.{place}: .*starts with `-`"):
            load_cluster(path)
    cluster = Cluster.model_validate({"name": "lab", "nodes": {"a": {"host": "10.0.0.1", "jump": "b"}, "b": {}}})
    evil = cluster.nodes["b"].model_copy(update={"host": "-oProxyCommand=touch x"})
    cluster = cluster.model_copy(update={"nodes": {**cluster.nodes, "b": evil}})
    words = shell_words(cluster, cluster.nodes["a"], tmp_path)
    assert words[-2:] == ("--", "10.0.0.1")
    through = shlex.split(next(word for word in words if word.startswith("ProxyCommand=")).partition("=")[2])
    assert through[-2:] == ["--", "-oProxyCommand=touch x"]
    assert shell_words(cluster, evil, tmp_path, "box")[-4:-1] == ("-t", "--", "-oProxyCommand=touch x")


CLUSTER = {
    "name": "lab",
    "defaults": {"user": "root", "runtime": {"kind": "docker", "container": "a b"}},
    "nodes": {"p0": {"host": "10.0.0.1"}, "d0": {"host": "10.0.0.3", "sudo": True}},
}


def deployment(**runtime: object) -> Deployment:
    nodes = {name: {**fields, "runtime": runtime} if runtime else fields for name, fields in CLUSTER["nodes"].items()}  # type: ignore[attr-defined]
    cluster = Cluster.model_validate({**CLUSTER, "nodes": nodes})
    return Deployment(cluster, LAYOUT, Assignment({"prefill": ("p0",), "decode": ("d0",)}))


@pytest.mark.parametrize(
    ("runtime", "engine", "ending"),
    [
        ({}, "prefill-0", ["docker", "exec", "-it", "a b", "sh", "-c"]),
        ({}, "decode-0", ["sudo", "-n", "docker", "exec", "-it", "a b", "sh", "-c"]),
        (
            {"command": ["podman", "--runtime", "runc"]},
            "prefill-0",
            ["podman", "--runtime", "runc", "exec", "-it", "a b"],
        ),
        ({"per": "engine", "image": "i"}, "prefill-0", ["docker", "exec", "-it", "dsv4-pd-prefill-0", "sh", "-c"]),
        ({"kind": "host"}, "prefill-0", []),
    ],
)
def test_an_engine_is_entered_where_it_runs(
    runtime: dict[str, object], engine: str, ending: list[str], tmp_path: Path
) -> None:
    journal = Journal(tmp_path / "journal")
    words = open_at_engine(deployment(**runtime), engine, tmp_path, journal, read_only=False)
    remote = shlex.split(words[-1]) if ending else []
    assert remote[: len(ending)] == ending
    assert ("-t" in words) is bool(ending), "a person's shell wants a terminal"
    record = journal.tail(1)[0]
    assert (record["what"], record["cluster"], record["node"]) == (
        "shell",
        "lab",
        "d0" if engine == "decode-0" else "p0",
    )


def test_it_is_refused_read_only_without_a_trace_of_having_been_opened_and_for_unknown_names(tmp_path: Path) -> None:
    made, journal = deployment(), Journal(tmp_path / "journal")
    with pytest.raises(Refused):
        open_on_node(made.cluster, "p0", tmp_path, journal, read_only=True)
    with pytest.raises(UsageError, match="no node 'p9'"):
        open_on_node(made.cluster, "p9", tmp_path, journal, read_only=False)
    with pytest.raises(UsageError, match="no node and no engine 'decode-99'"):
        open_at_engine(made, "decode-99", tmp_path, journal, read_only=False)
    assert not journal.tail(9)


def test_without_ssh_on_this_machine_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConsoleError, match="no ssh on this machine"):
        open_on_node(deployment().cluster, "p0", tmp_path, Journal(tmp_path / "journal"), read_only=False)


@needs_ssh
def test_the_command_line_prints_it_and_obeys_the_mode(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    path = tmp_path / "cluster.yaml"
    path.write_text("name: lab\ntags: [production]\nnodes: {p0: {host: 10.0.0.1, runtime: {kind: host}}}\n")
    assert main(["shell", "p0", "--dry-run", "-c", str(path)]) == 4
    assert main(["shell", "p0", "--dry-run", "--write", "-c", str(path)]) == 0
    words = shlex.split(capsys.readouterr().out)
    assert (words[0], words[-1]) == ("ssh", "10.0.0.1")
