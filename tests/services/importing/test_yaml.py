"""Compose files, Kubernetes manifests, single-node CI configurations and several files at once, imported as users would."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from console.cli.main import main
from console.files import parse_layout
from console.model.errors import ConsoleError
from console.model.layout import Layout
from console.rules import check
from console.services.importing import build, read_files
from console.services.placement.edits import example

COMPOSE = """\
x-common: &common
  image: quay.io/ascend/vllm-ascend:${TAG:-v0.21.0rc1-a3}
  network_mode: host
  privileged: true
  shm_size: 64g
  devices: [/dev/davinci_manager, /dev/hisi_hdc]
services:
  prefill:
    <<: *common
    environment:
      ASCEND_RT_VISIBLE_DEVICES: 0,1,2,3,4,5,6,7
      HCCL_BUFFSIZE: 1024
    command: >
      bash -c "source /usr/local/Ascend/nnal/atb/set_env.sh &&
      export P=$$((7000 + 100)) &&
      vllm serve ${MODEL:-/models/V4} --port $$P --tensor-parallel-size 8
      --kv-transfer-config '{\\"kv_connector\\": \\"MooncakeConnectorV1\\",
      \\"kv_role\\": \\"kv_producer\\", \\"kv_port\\": \\"30000\\"}'"
  decode:
    <<: *common
    environment:
      - ASCEND_RT_VISIBLE_DEVICES=8,9,10,11,12,13,14,15
      - HCCL_BUFFSIZE=2048
    entrypoint: ["vllm"]
    command:
      - serve
      - ${MODEL:-/models/V4}
      - --port
      - "7200"
      - --tensor-parallel-size=8
      - --kv-transfer-config
      - '{"kv_connector": "MooncakeConnectorV1", "kv_role": "kv_consumer", "kv_port": "30100"}'
  router:
    <<: *common
    depends_on: [prefill, decode]
    command: python /vllm-workspace/vllm-ascend/examples/disaggregated_prefill_v1/load_balance_proxy_server_example.py
      --host 0.0.0.0 --port 1999 --prefiller-hosts 127.0.0.1 --prefiller-ports 7100 --decoder-hosts 127.0.0.1 --decoder-ports 7200
  metrics: {image: prom/prometheus, ports: ["9090:9090"]}
"""


def _import(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, *words: str) -> tuple[Layout, str]:
    (tmp_path / "x.yaml").write_text(text)
    assert main(["import", str(tmp_path / "x.yaml"), *words]) == 0, capsys.readouterr().err
    said = capsys.readouterr()
    assert "null" not in said.out
    assert "$" not in said.out
    return parse_layout(said.out.encode(), "x.yaml"), said.err


def _refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, *words: str, name: str = "x.yaml") -> str:
    (tmp_path / name).write_text(text)
    assert main(["import", str(tmp_path / name), *words]) == 2
    return capsys.readouterr().err


def test_a_compose_file_with_both_roles_and_a_router(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layout, said = _import(tmp_path, capsys, COMPOSE)
    prefill, decode = layout.groups["prefill"], layout.groups["decode"]
    assert (prefill.port, prefill.first_device, prefill.env["HCCL_BUFFSIZE"]) == (7100, 0, "1024")
    assert (decode.port, decode.first_device, decode.env["HCCL_BUFFSIZE"]) == (7200, 8, "2048")
    assert layout.image == "quay.io/ascend/vllm-ascend:v0.21.0rc1-a3"
    assert layout.hardware.name == "a3"
    assert layout.proxy is not None
    assert (layout.proxy.kind, layout.proxy.port) == ("load-balance", 1999)
    assert "metrics: starts no server; left out" in said
    assert "devices: not carried over" in said
    again, _ = _import(tmp_path, capsys, COMPOSE, "--set", "MODEL=/m/other", "--set", "TAG=v0.23.0-a3")
    assert (again.model.path, again.image) == ("/m/other", "quay.io/ascend/vllm-ascend:v0.23.0-a3")


def test_compose_variables_come_of_files_given_with_it_or_are_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = """\
services:
  v4:
    image: ascend:${TAG}
    env_file: engine.env
    command: --model ${MODEL} --tensor-parallel-size 8 --port 8000
"""
    text = text.replace("ascend:${TAG}", "quay.io/ascend/vllm-openai:${TAG}")
    said = _refused(tmp_path, capsys, text, "--set", "TAG=v1")
    assert "MODEL: the value needs $MODEL, which nothing in the script sets" in said
    assert "--set MODEL=…" in said
    (tmp_path / ".env").write_text("MODEL=/m/V4\nTAG='v0.23.0'\n")
    (tmp_path / "engine.env").write_text("# sizes\nHCCL_BUFFSIZE=512  # MB\n")
    layout, _ = _import(tmp_path, capsys, text, str(tmp_path / ".env"), str(tmp_path / "engine.env"))
    assert layout.model.path == "/m/V4"
    assert layout.image == "quay.io/ascend/vllm-openai:v0.23.0"
    assert layout.groups["mixed"].env == {"HCCL_BUFFSIZE": "512"}


LWS = """\
apiVersion: leaderworkerset.x-k8s.io/v1
kind: LeaderWorkerSet
metadata: {name: v4}
spec:
  replicas: 1
  leaderWorkerTemplate:
    size: 2
    leaderTemplate:
      spec:
        containers:
          - name: leader
            image: quay.io/ascend/vllm-ascend:v0.21.0rc1-a3
            env: &env
              - {name: MODEL_PATH, value: /m/V4}
              - {name: HCCL_BUFFSIZE, value: "1024"}
              - {name: MASTER, value: "tcp://$(LWS_LEADER_ADDRESS):5000"}
              - {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
            command: [sh, -c]
            args:
              - |
                export HCCL_IF_IP=$(hostname -I | awk '{print $1}')
                vllm serve $MODEL_PATH --port 8080 --tensor-parallel-size 16 --data-parallel-size $(LWS_GROUP_SIZE) \\
                  --data-parallel-size-local 1 --data-parallel-address $HCCL_IF_IP --data-parallel-rpc-port 13389
            ports: [{containerPort: 8080}]
    workerTemplate:
      spec:
        containers:
          - name: worker
            image: quay.io/ascend/vllm-ascend:v0.21.0rc1-a3
            env: *env
            command:
              - bash
              - -c
              - >-
                leader_ip=$(getent hosts $LWS_LEADER_ADDRESS | awk '{print $1}');
                vllm serve $MODEL_PATH --headless --tensor-parallel-size 16 --data-parallel-size $LWS_GROUP_SIZE
                --data-parallel-size-local 1 --data-parallel-start-rank $LWS_WORKER_INDEX
                --data-parallel-address $leader_ip --data-parallel-rpc-port 13389
---
apiVersion: v1
kind: Service
metadata: {name: v4-leader}
spec: {ports: [{port: 8080}]}
"""


def test_a_leader_worker_set_is_one_group_over_its_pods(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layout, said = _import(tmp_path, capsys, LWS)
    group = layout.groups["mixed"]
    assert (group.nodes, group.data_parallel.size, group.tensor_parallel, group.port) == (2, 2, 16, 8080)
    assert group.data_parallel.rpc_port == 13389
    assert group.env == {"HCCL_BUFFSIZE": "1024", "MODEL_PATH": "/m/V4"}
    assert group.env_from == {"MASTER": "tcp://{dp_address}:5000"}
    assert not group.by_node
    assert (layout.model.path, layout.hardware.name) == ("/m/V4", "a3")
    assert "made like it" not in said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("vllm serve", "bash /opt/run.sh; echo vllm"), "/opt/run.sh"),
        (("metadata: {name: v4}", "metadata: {name: '{{ .Release.Name }}'}"), "is a template: {{ .Release.Name }}"),
        (("size: 2", "size: many"), "'many' pods"),
        (
            ("vllm serve $MODEL_PATH --port", "ray start --head; vllm serve $MODEL_PATH --port"),
            "runs the engine on Ray",
        ),
    ],
)
def test_a_set_that_cannot_be_read_says_what_to_do(
    change: tuple[str, str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = _refused(tmp_path, capsys, LWS.replace(*change))
    assert message in said
    assert "x.yaml:" in said


def test_a_script_that_pods_run_may_be_given_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = LWS.replace("vllm serve $MODEL_PATH --port", "bash /opt/run.sh; true --port").replace(
        "vllm serve $MODEL_PATH --headless",
        "bash /opt/run.sh --headless --data-parallel-start-rank $LWS_WORKER_INDEX; true",
    )
    words = '"$@" --tensor-parallel-size 16 --data-parallel-size $LWS_GROUP_SIZE --data-parallel-size-local 1'
    (tmp_path / "run.sh").write_text(f"vllm serve $MODEL_PATH {words} --data-parallel-address $LWS_LEADER_ADDRESS\n")
    layout, _ = _import(tmp_path, capsys, text, str(tmp_path / "run.sh"))
    assert (layout.groups["mixed"].nodes, layout.model.path) == (2, "/m/V4")


SINGLE = """\
_envs: &envs
  OMP_NUM_THREADS: "1"
  HCCL_BUFFSIZE: 1024
  SERVER_PORT: "DEFAULT_PORT"
_server_cmd: &cmd
  - "--tensor-parallel-size"
  - "4"
  - "--data-parallel-size"
  - "4"
  - "--port"
  - "$SERVER_PORT"
test_cases:
  - name: one
    model: Eco-Tech/V4
    envs: {<<: *envs}
    server_cmd: *cmd
    server_cmd_extra: ["--additional-config", '{"a": true}']
    benchmarks: {acc: {case_type: accuracy}}
  - name: two
    model: Eco-Tech/V4
    envs: {<<: *envs, HCCL_OP_EXPANSION_MODE: AIV}
    server_cmd: *cmd
    kv_pool: {type: memcache}
  - {name: encoder, model: m, envs: {}, service_mode: epd, epd_server_cmds: [], epd_proxy_args: []}
"""


def test_a_single_node_configuration_of_the_ci(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = _refused(tmp_path, capsys, SINGLE)
    assert "x.yaml:12: test_cases" in said
    assert "there are 3 cases" in said
    assert "--set case=one (or two, encoder)" in said
    assert "no case 'three'" in _refused(tmp_path, capsys, SINGLE, "--set", "case=three")
    assert "encoders on their own" in _refused(tmp_path, capsys, SINGLE, "--set", "case=encoder")
    layout, said = _import(tmp_path, capsys, SINGLE, "--set", "case=two", "--hardware", "a3")
    group = layout.groups["mixed"]
    assert (group.nodes, group.data_parallel.size, group.data_parallel.per_node, group.port) == (1, 4, 4, 8000)
    assert group.env["HCCL_BUFFSIZE"] == "1024"
    assert group.env["HCCL_OP_EXPANSION_MODE"] == "AIV"
    assert "kv_pool: its KV pool server is not started" in said
    assert "SERVER_PORT is any free port there; 8000 is taken" in said
    layout, _ = _import(tmp_path, capsys, SINGLE, "--set", "case=one")
    assert layout.groups["mixed"].args["additional-config"] == {"a": True}


TEMPLATE = """\
export HCCL_IF_IP=$(hostname -I | awk '{print $1}')
export ASCEND_RT_VISIBLE_DEVICES=$1
export HCCL_BUFFSIZE=%s
vllm serve /m/V4 --host 0.0.0.0 --port $2 --data-parallel-size $3 --data-parallel-rank $4 \\
  --data-parallel-address $5 --data-parallel-rpc-port $6 --tensor-parallel-size $7 --max-num-seqs %s \\
  --kv-transfer-config '{"kv_connector": "MooncakeHybridConnector", "kv_role": "%s", "kv_port": "%s", "engine_id": "%s",
    "kv_connector_extra_config": {"prefill": {"dp_size": 2, "tp_size": 16}, "decode": {"dp_size": 16, "tp_size": 2}}}'
"""
P = "--dp-size 2 --tp-size 16 --dp-size-local 1 --dp-address $p0 --dp-rpc-port 12321 --vllm-start-port 7100"
D = "--dp-size=16 --tp-size=2 --dp-size-local=8 --dp-address=x.x.x.3 --dp-rpc-port=12321 --vllm-start-port=7200"
LAUNCH = f"""\
# p0, p1
python launch_online_dp.py {P} --dp-rank-start 0
python launch_online_dp.py --dp-rank-start 1 {P}
# d0, d1
python launch_online_dp.py {D} --dp-rank-start=0
python launch_online_dp.py {D} --dp-rank-start=8
"""
PORTS = "7200 7201 7202 7203 7204 7205 7206 7207"
PROXY = f"""\
python load_balance_proxy_server_example.py --host 10.0.0.9 --port 1999 --prefiller-hosts a b --prefiller-ports 7100 7100 \\
  --decoder-hosts c c c c c c c c d d d d d d d --decoder-ports {PORTS} {PORTS[:-5]}
"""


def test_scripts_of_both_roles_launch_lines_and_a_proxy_line_are_one_layout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {
        "prefill.sh": TEMPLATE % ("1024", "16", "kv_producer", "30200", "1"),
        "decode.sh": TEMPLATE % ("2048", "60", "kv_consumer", "30800", "8"),
        "launch.sh": LAUNCH,
        "proxy.sh": PROXY,
        "launch_online_dp.py": "import argparse\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    paths = [str(tmp_path / name) for name in files]
    assert main(["import", paths[0], "--version", "v0.21.0rc1", *paths[1:], "--name", "mine"]) == 0
    said = capsys.readouterr()
    layout = parse_layout(said.out.encode(), "x.yaml")
    assert (layout.name, layout.version, layout.hardware.name) == ("mine", "v0.21.0rc1", "a3")
    prefill, decode = layout.groups["prefill"], layout.groups["decode"]
    assert (prefill.nodes, prefill.data_parallel.size, prefill.tensor_parallel, prefill.port) == (2, 2, 16, 7100)
    assert (decode.nodes, decode.data_parallel.size, decode.data_parallel.per_node) == (2, 16, 8)
    assert (decode.tensor_parallel, decode.port, decode.data_parallel.rpc_port) == (2, 7200, 12321)
    assert (prefill.env["HCCL_BUFFSIZE"], decode.env["HCCL_BUFFSIZE"]) == ("1024", "2048")
    assert prefill.kv_transfer is not None
    assert (prefill.kv_transfer.port, prefill.kv_transfer.engine_id) == (30200, "1")
    assert layout.proxy is not None
    assert layout.proxy.port == 1999
    assert "--decoder-hosts lists 15 engines, 16 are started" in said.err
    assert not prefill.by_node
    assert not decode.by_node


def test_one_template_for_all_lines_and_what_no_template_fits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run_dp_template.sh").write_text(TEMPLATE % ("1", "16", "kv_producer", "30200", "1"))
    (tmp_path / "l.sh").write_text("\n".join(LAUNCH.splitlines()[:3]))
    assert main(["import", str(tmp_path / "l.sh"), str(tmp_path / "run_dp_template.sh")]) == 0
    assert parse_layout(capsys.readouterr().out.encode(), "x.yaml").groups["prefill"].nodes == 2
    assert "launch_online_dp.py runs run_dp_template.sh" in _refused(tmp_path, capsys, LAUNCH, name="alone.sh")
    (tmp_path / "p.sh").write_text(TEMPLATE % ("1", "16", "kv_producer", "30200", "1"))
    (tmp_path / "q.sh").write_text(TEMPLATE % ("2", "17", "kv_producer", "30200", "1"))
    assert main(["import", *(str(tmp_path / name) for name in ("l.sh", "p.sh", "q.sh"))]) == 2
    assert "each of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "NAME"], "--set 'NAME' gives no value"),
        (["--set", "PROT=1"], "no file asks for 'PROT'"),
    ],
)
def test_wrong_options_are_told(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.sh").write_text("vllm serve /m --port ${PORT:-8000}\n")
    assert main(["import", str(tmp_path / "x.sh"), *words]) == 2
    assert message in capsys.readouterr().err


def test_options_stand_anywhere_among_files_and_before_the_scripts_arguments(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.sh").write_text('. ./common.sh\nvllm serve /m --port $1 --seed $2 --max-num-seqs $SEQS "${@:3}"\n')
    (tmp_path / "common.sh").write_text("SEQS=5\nexport HCCL_BUFFSIZE=7\n")
    words = ["import", "--name", "n", str(tmp_path / "x.sh"), "--hardware", "a3", str(tmp_path / "common.sh")]
    assert main([*words, "--", "8001", "3", "--tensor-parallel-size", "4"]) == 0
    layout = parse_layout(capsys.readouterr().out.encode(), "x.yaml")
    group = layout.groups["mixed"]
    assert (layout.name, group.port, group.args["seed"], group.args["max-num-seqs"]) == ("n", 8001, 3, 5)
    assert (group.tensor_parallel, group.env) == (4, {"HCCL_BUFFSIZE": "7"})


JUNK: list[object] = [
    None,
    "",
    "x",
    "$NOPE",
    "$(NOPE)",
    "${",
    -1,
    0,
    10**9,
    True,
    [],
    {},
    [{}],
    {"a": []},
    "'",
    "{",
    1.5,
]


@given(st.data())
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_damaged_file_gives_a_layout_or_a_file_error(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from([COMPOSE, LWS.partition("---")[0], SINGLE]))
    config = yaml.safe_load(text)
    place = config
    while True:
        key = data.draw(st.sampled_from(list(place) if isinstance(place, dict) else list(range(len(place)))))
        if isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans()):
            place = place[key]
            continue
        place[key] = data.draw(st.sampled_from(JUNK))
        break
    with TemporaryDirectory() as folder, suppress(ConsoleError, ValidationError):
        path = Path(folder, "x.yaml")
        path.write_text(yaml.safe_dump(config))
        check(example(build(read_files([path], settings={"case": "one"} if "test_cases" in config else {})).layout))
