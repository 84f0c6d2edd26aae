"""What is exported starts the same engines by hand, by systemd, and in pods."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from console.cli.main import main
from console.commands.container import run_container
from console.commands.serve import proxy_command, serve_command
from console.files import load_layout, shipped_layouts
from console.model.cluster import Cluster
from console.model.deployment import Deployment
from console.model.errors import UsageError
from console.model.layout import Layout
from console.services.exporting import lws_manifests, shell_folders, systemd_units
from console.services.exporting.lws import pod_scripts
from console.services.placement.edits import example
from tests.files.dumper import run_file, run_script
from tests.files.words import flags
from tests.json_schema import faults

DEFINITIONS: dict[str, Any] = json.loads((Path(__file__).parent / "kubernetes" / "definitions.json").read_text())
POD = DEFINITIONS["io.k8s.api.core.v1.PodTemplateSpec"]
LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
"""An RFC 1123 label."""


def _on_docker(name: str) -> Deployment:
    made = example(load_layout(name))
    runtime = {"kind": "docker", "container": "vllm-ascend", "run_flags": ["--label", "a=b c"]}
    nodes = {
        key: {"host": node.host, "hardware": node.hardware.name, "runtime": runtime}
        for key, node in made.cluster.nodes.items()
    }
    return Deployment(Cluster.model_validate({"name": "lab", "nodes": nodes}), made.layout, made.assignment)


@pytest.mark.parametrize("name", shipped_layouts())
def test_every_exported_script_becomes_the_engine_it_is_named_after(name: str, tmp_path: Path) -> None:
    assert main(["export", "--layout", name, "--save", str(tmp_path / "out")]) == 0
    deployment = example(load_layout(name))
    proxy = deployment.proxy_rank()
    for rank in (deployment.ranks()[0], deployment.ranks()[-1], *((proxy,) if proxy else ())):
        command = proxy_command(deployment) if rank is proxy else serve_command(deployment, rank)
        assert command is not None
        seen = run_file(tmp_path / "out" / rank.node / rank.id / "cmd.sh", tmp_path)
        assert [word.decode() for word in seen.argv] == list(command.argv)
    scripts = [path for path in (tmp_path / "out").rglob("cmd.sh") if path.parent.name != "proxy"]
    assert len(scripts) == len(deployment.ranks())


def test_the_start_script_of_a_node_starts_all_its_engines_apart_from_the_terminal(tmp_path: Path) -> None:
    for file in shell_folders(example(load_layout("a3-pd"))):
        path = tmp_path / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.text)
    node = tmp_path / "decode-1"
    for engine in node.glob("decode-*"):
        (engine / "cmd.sh").write_text('#!/bin/bash\nps -o sid= -p $$ >"$(dirname "$0")/session"\n')
    done = subprocess.run(["bash", str(node / "start.sh")], capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 8
    for engine in sorted(node.glob("decode-*")):
        pid = int((engine / "pid").read_text())
        subprocess.run(["tail", f"--pid={pid}", "-f", "/dev/null"], check=True, timeout=20)
        assert int((engine / "session").read_text()) == pid


def test_a_container_is_made_detached_privileged_with_devices_and_weights() -> None:
    deployment = _on_docker("a3-pd")
    words = run_container(deployment, deployment.node("prefill-0"))
    assert words[:5] == ("docker", "run", "-d", "--name", "vllm-ascend")
    assert words[-1] == "quay.io/ascend/vllm-ascend:v0.21.0rc1-a3"
    assert words[-3:-1] == ("--label", "a=b c")
    assert sum(word.startswith("/dev/davinci") and word[12:].isdecimal() for word in words) == 16
    assert {"--privileged=true", "--net=host", "/root/.cache:/root/.cache"} <= set(words)


def test_an_exported_container_script_gives_docker_exactly_those_words(tmp_path: Path) -> None:
    deployment = _on_docker("a2-mixed")
    files = {file.path: file.text for file in shell_folders(deployment)}
    (tmp_path / "tools").mkdir()
    tool = tmp_path / "tools" / "docker"
    tool.write_text('#!/bin/sh\nprintf "%s\\0" "$@" > "$DSV4_DUMP.docker"\n')
    tool.chmod(0o755)
    path = tmp_path / "container.sh"
    path.write_text(files["mixed-0/container.sh"])
    env = {"PATH": f"{tool.parent}:/usr/bin:/bin", "DSV4_DUMP": str(tmp_path / "dump")}
    subprocess.run(["bash", str(path)], env=env, check=True)
    given = (tmp_path / "dump.docker").read_bytes().decode().split("\0")[:-1]
    wanted = run_container(deployment, deployment.node("mixed-0"))[1:]
    assert given == [*wanted[:-1], "-v", f"{tmp_path}:{tmp_path}", wanted[-1], "sleep", "infinity"]


def test_a_container_without_an_image_is_refused() -> None:
    deployment = _on_docker("a3-pd")
    bare = Deployment(deployment.cluster, deployment.layout.model_copy(update={"image": ""}), deployment.assignment)
    with pytest.raises(UsageError, match="no image"):
        shell_folders(bare)
    with pytest.raises(UsageError, match="names no image"):
        lws_manifests(bare)


def test_export_refuses_what_the_rules_forbid_and_folders_with_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = tmp_path / "c.yaml"
    cluster.write_text("name: lab\nnodes: {p0: {host: 10.0.0.1}}\n")
    assert main(["export", "--cluster", str(cluster), "--layout", "a3-pd", "--assign", "prefill=p0"]) == 4
    assert "A1" in capsys.readouterr().err
    assert main(["export", "--layout", "a3-pd", "--save", str(tmp_path)]) == 2


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
@pytest.mark.parametrize("made", [example(load_layout("a2-pd")), _on_docker("a3-pd")], ids=["host", "docker"])
def test_systemd_reads_the_units(made: Deployment, tmp_path: Path) -> None:
    node = next(iter(made.cluster.nodes))
    units = []
    for file in systemd_units(made):
        if file.path.startswith(f"{node}/etc"):
            path = tmp_path / file.path.rpartition("/")[2]
            path.write_text(file.text)
            units.append(str(path))
    env = {"SYSTEMD_UNIT_PATH": f"{tmp_path}:/usr/lib/systemd/system", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], env=env, capture_output=True, text=True, check=False
    )
    ours = [line for line in done.stderr.splitlines() if "dsv4-" in line or str(tmp_path) in line]
    assert ours == []


def test_units_of_a_group_stop_together_and_none_restarts_alone() -> None:
    files = {
        file.path.rpartition("/")[2]: file.text
        for file in systemd_units(example(load_layout("a3-pd")))
        if "decode-0/etc" in file.path
    }
    target = files.pop("dsv4-a3-pd-decode.target")
    assert len(files) == 8
    assert all(name in target for name in files)
    assert all("PartOf=dsv4-a3-pd-decode.target" in text and "Restart=no" in text for text in files.values())


def _documents(name: str) -> list[dict[str, Any]]:
    return [
        document for file in lws_manifests(example(load_layout(name))) for document in yaml.safe_load_all(file.text)
    ]


@pytest.mark.parametrize("name", [name for name in shipped_layouts() if load_layout(name).image])
def test_manifests_hold_what_kubernetes_accepts(name: str) -> None:
    layout = load_layout(name)
    documents = _documents(name)
    kinds = [document["kind"] for document in documents]
    assert kinds.count("LeaderWorkerSet") == kinds.count("ConfigMap") == len(layout.shaped().groups)
    definitions = {"ConfigMap": "core.v1.ConfigMap", "Service": "core.v1.Service", "Deployment": "apps.v1.Deployment"}
    for document in documents:
        assert re.fullmatch(LABEL, document["metadata"]["name"])
        if document["kind"] != "LeaderWorkerSet":
            assert faults(document, DEFINITIONS[f"io.k8s.api.{definitions[document['kind']]}"], DEFINITIONS) == []
            continue
        template = document["spec"]["leaderWorkerTemplate"]
        assert set(template) == {"size", "restartPolicy", "leaderTemplate", "workerTemplate"}
        for pod in ("leaderTemplate", "workerTemplate"):
            assert faults(template[pod], POD, DEFINITIONS) == []
            assert template[pod]["spec"]["containers"][0]["resources"]["limits"] == {
                "huawei.com/Ascend910": str(layout.hardware.devices)
            }


def test_the_schema_checker_can_say_no() -> None:
    bad = {"spec": {"containers": [{"name": 1, "imagee": "x"}]}}
    assert faults(bad, POD, DEFINITIONS) == [
        "$.spec.containers[0].name: 1 is not ['string']",
        "$.spec.containers[0]: imagee is not a key",
    ]


def _left_to_ranks() -> Layout:
    """Three decode nodes, with an engine id for each, one node that differs, and texts only the rank can complete."""
    data = load_layout("a3-pd").model_dump(mode="json")
    decode = data["groups"]["decode"]
    decode.update(
        nodes=3,
        data_parallel={**decode["data_parallel"], "size": 24},
        env_from={"URL": "tcp://{address}:{port}/{dp_rank}", "HEAD": "dp_address", "NIC_NAME": "nic"},
        args_from={"log-dir": "/log/{dp_rank}-{local_rank}", "hf-overrides": {"me": "it's {address}"}},
        by_node={"2": {"env": {"ONLY": "here"}, "args": {"max-num-seqs": 7}}},
    )
    decode["kv_transfer"]["engine_id"] = ["8", "9", "10"]
    return Layout.model_validate(data)


PODS = [("a3-pd", "decode"), ("a2-mixed", "mixed"), ("a2-pd", "prefill"), ("", "decode")]


@pytest.mark.parametrize(("name", "group"), PODS)
def test_a_pod_runs_the_same_engines_as_its_node_would(name: str, group: str, tmp_path: Path) -> None:
    deployment = example(load_layout(name) if name else _left_to_ranks())
    nodes = {key: node.model_copy(update={"nic": "eth7"}) for key, node in deployment.cluster.nodes.items()}
    deployment = replace(deployment, cluster=deployment.cluster.model_copy(update={"nodes": nodes}))
    written = deployment.layout.groups[group]
    scripts = pod_scripts(deployment.layout, group)
    for position in range(written.nodes):
        ranks = [rank for rank in deployment.ranks() if (rank.group, rank.position) == (group, position)]
        script = scripts["leader.sh"] if position == 0 else scripts.get(f"worker-{position}.sh", scripts["worker.sh"])
        for rank in ranks:
            one = _only(script, rank.local_rank)
            head = (
                f"export LWS_WORKER_INDEX={position} LWS_LEADER_ADDRESS=leader POD_IP={rank.address}\n"
                f"getent() {{ echo '{rank.dp_address} STREAM leader'; }}\n"
                "ip() { echo '2: eth7 inet x'; }\n"
            )
            seen = run_script(head + one, tmp_path)
            command = serve_command(deployment, rank)
            assert flags([word.decode() for word in seen.argv]) == flags(command.argv)
            ours = {key: value for key, value in command.env.items() if key != "LD_PRELOAD"}
            assert ours.items() <= {key.decode(): value.decode() for key, value in seen.env.items()}.items()


def test_workers_that_differ_have_scripts_of_their_own_and_one_that_leads_there(tmp_path: Path) -> None:
    scripts = pod_scripts(_left_to_ranks(), "decode")
    assert set(scripts) == {"leader.sh", "worker.sh", "worker-1.sh", "worker-2.sh"}
    assert "worker-${LWS_WORKER_INDEX}.sh" in scripts["worker.sh"]
    assert set(pod_scripts(load_layout("a2-pd"), "decode")) == {"leader.sh", "worker.sh"}


def test_addresses_of_other_groups_are_the_names_of_their_pods() -> None:
    data = load_layout("a3-pd").model_dump(mode="json")
    data["groups"]["decode"]["env_from"] = {"PEER": "http://{address:prefill/1}:80,{first_address}"}
    script = pod_scripts(Layout.model_validate(data), "decode")["worker.sh"]
    assert "export PEER=http://a3-pd-prefill-0-1.a3-pd-prefill:80,a3-pd-prefill-0.a3-pd-prefill\n" in script
    assert "192.0.2" not in script


def test_pods_cannot_have_ports_of_their_own() -> None:
    data = load_layout("a3-pd").model_dump(mode="json")
    data["groups"]["decode"]["by_node"] = {"1": {"port": 7300}}
    with pytest.raises(UsageError, match="same ports"):
        lws_manifests(example(Layout.model_validate(data)))


def _only(script: str, local: int) -> str:
    """The pod's script with all engines but one taken out, and that one in front, so that its process can be looked at."""
    head, *blocks = script.split("\n(\n")
    return head + "\n" + blocks[local].partition("\n) &")[0]
