"""Commands reach a process exactly as they were computed, and hold what follows from the assignment."""

from __future__ import annotations

import shlex
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from console.commands.flags import flag_words
from console.commands.launch_scripts import shell_bundle
from console.commands.quoting import join, quote
from console.commands.script import SHELL_OWNED, cmd_sh
from console.commands.serve import proxy_command, serve_command
from console.files import load_layout, shipped_layouts
from console.model.cluster import Cluster, Node
from console.model.deployment import Command, Deployment
from console.model.errors import UsageError
from console.model.layout import Layout
from console.rules import check
from console.services.placement.edits import example
from console.services.serving.request_auth import key_of
from tests.files.dumper import run_script
from tests.files.words import flags

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,20}", fullmatch=True).filter(
    lambda name: name not in SHELL_OWNED and name not in ("LD_PRELOAD", "PATH", "DSV4_DUMP", "IFS", "POSIXLY_CORRECT")
)
PLAIN = Node(name="n", host="h")


@given(st.lists(TEXT, max_size=6))
def test_quoted_words_split_into_the_same_words(words: list[str]) -> None:
    assert shlex.split(join(words)) == words


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_text_no_process_can_be_given_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        quote(text)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(env=st.dictionaries(NAMES, TEXT, max_size=4), words=st.lists(TEXT, max_size=5))
def test_any_text_reaches_the_process_byte_for_byte(env: dict[str, str], words: list[str]) -> None:
    with TemporaryDirectory() as directory:
        seen = run_script(cmd_sh(Command(env, ("vllm", "serve", *words)), PLAIN), Path(directory))
    assert seen.argv == [b"vllm", b"serve", *(word.encode() for word in words)]
    for name, value in env.items():
        assert seen.env[name.encode()] == value.encode()


@pytest.mark.parametrize("name", shipped_layouts())
def test_every_shipped_rank_reaches_the_process_as_computed(name: str, tmp_path: Path) -> None:
    deployment = example(load_layout(name))
    for rank in (deployment.ranks()[0], deployment.ranks()[-1]):
        command = serve_command(deployment, rank)
        seen = run_script(cmd_sh(command, deployment.node(rank.node)), tmp_path)
        assert [word.decode() for word in seen.argv] == list(command.argv)
        wanted = {key: value for key, value in command.env.items() if key != "LD_PRELOAD"}
        assert wanted.items() <= {key.decode(): value.decode() for key, value in seen.env.items()}.items()


def test_one_script_becomes_the_engine_that_is_named(tmp_path: Path) -> None:
    deployment = example(load_layout("a3-pd"))
    proxy = deployment.proxy_rank()
    assert proxy is not None
    script = shell_bundle(deployment, (*deployment.ranks(), proxy))
    for rank in (deployment.ranks()[7], proxy):
        command = proxy_command(deployment) if rank is proxy else serve_command(deployment, rank)
        assert command is not None
        assert [word.decode() for word in run_script(script, tmp_path, rank.id).argv] == list(command.argv)


def test_a_preloaded_library_is_put_before_others_and_left_out_when_absent(tmp_path: Path) -> None:
    there = tmp_path / "libthere.so"
    there.write_bytes(b"")
    script = cmd_sh(Command({"LD_PRELOAD": f"{there}:/no/such.so"}, ("vllm",)), PLAIN)
    assert (
        run_script("export LD_PRELOAD=/other.so\n" + script, tmp_path).env[b"LD_PRELOAD"]
        == f"{there}:/other.so".encode()
    )
    assert run_script(script, tmp_path).env[b"LD_PRELOAD"] == str(there).encode()


def test_an_environment_file_that_breaks_under_strict_shells_is_sourced(tmp_path: Path) -> None:
    file = tmp_path / "env with blank.sh"
    file.write_text("export FROM_FILE=$UNSET_VARIABLE/x\nfalse\nreturn 1\n")
    seen = run_script(cmd_sh(Command({"A": "b"}, ("vllm",)), Node(env_file=str(file))), tmp_path)
    assert (seen.env[b"FROM_FILE"], seen.env[b"A"]) == (b"/x", b"b")


def test_a_missing_environment_file_ends_the_start_with_its_name(tmp_path: Path) -> None:
    script = cmd_sh(Command({}, ("vllm",)), Node(env_file="/no/such/env.sh"))
    with pytest.raises(AssertionError, match=r"/no/such/env\.sh"):
        run_script(script, tmp_path)


def test_a_variable_of_the_shell_itself_is_refused() -> None:
    with pytest.raises(UsageError, match="UID"):
        cmd_sh(Command({"UID": "0"}, ("vllm",)), PLAIN)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"a": True}, ["--a"]),
        ({"a": False}, ["--no-a"]),
        ({"a": None}, []),
        ({"a": 0}, ["--a", "0"]),
        ({"a": 0.9}, ["--a", "0.9"]),
        ({"a": ""}, ["--a", ""]),
        ({"a": "-x"}, ["--a=-x"]),
        ({"a": -1}, ["--a", "-1"]),
        ({"a": {"k": [1, "ü"]}}, ["--a", '{"k":[1,"ü"]}']),
        ({"a": ["x", 1, {"k": 1}]}, ["--a", "x", "1", '{"k":1}']),
        ({"-O": "3"}, ["-O", "3"]),
    ],
)
def test_args_become_words(args: dict[str, JsonValue], words: list[str]) -> None:
    assert list(flag_words(args)) == words


def _on(hardware: dict[str, object] | str, name: str, **node: object) -> Deployment:
    made = example(load_layout(name))
    nodes = {key: {"host": value.host, "hardware": hardware, **node} for key, value in made.cluster.nodes.items()}
    return Deployment(Cluster.model_validate({"name": "lab", "nodes": nodes}), made.layout, made.assignment)


def test_a_machine_without_npus_gets_no_npu_variables() -> None:
    deployment = _on({"name": "plain", "devices": 0, "hbm_mib": 0}, "a3-pd", nic="eth0")
    env = serve_command(deployment, deployment.ranks()[3]).env
    assert {"HCCL_IF_IP", "ASCEND_RT_VISIBLE_DEVICES", "HCCL_SOCKET_IFNAME"}.isdisjoint(env)
    assert env["GLOO_SOCKET_IFNAME"] == "eth0"


def test_the_interface_is_asked_of_the_node_when_no_file_names_it(tmp_path: Path) -> None:
    made = example(load_layout("a3-mixed"))
    tool = tmp_path / "tools" / "ip"
    command = serve_command(made, made.ranks()[0])
    run_script(cmd_sh(command, PLAIN), tmp_path)
    tool.write_text(
        "#!/bin/sh\n[ \"$*\" = '-o -4 addr show to 192.0.2.1' ] && echo '2: bond0.7@if5 inet 192.0.2.1/24 x'\n"
    )
    tool.chmod(0o755)
    seen = run_script(cmd_sh(command, PLAIN), tmp_path)
    names = (b"HCCL_SOCKET_IFNAME", b"GLOO_SOCKET_IFNAME", b"TP_SOCKET_IFNAME")
    assert {seen.env.get(name) for name in names} == {b"bond0.7"}


def test_a_name_for_an_address_is_not_exported_as_one() -> None:
    made = example(load_layout("a3-mixed"))
    nodes = {name: {"host": f"{name}.lab"} for name in made.cluster.nodes}
    deployment = Deployment(Cluster.model_validate({"name": "lab", "nodes": nodes}), made.layout, made.assignment)
    env = serve_command(deployment, deployment.ranks()[0]).env
    assert {"VLLM_HOST_IP", "HCCL_IF_IP"}.isdisjoint(env)


def test_the_proxy_lists_every_serving_rank_by_position() -> None:
    command = proxy_command(example(load_layout("a2-pd")))
    assert command is not None
    words = list(command.argv)
    decoders = words[words.index("--decoder-hosts") + 1 : words.index("--decoder-ports")]
    ports = words[words.index("--decoder-ports") + 1 :]
    assert decoders == [f"192.0.2.{last}" for last in (5, 5, 6, 6, 7, 7, 8, 8)]
    assert ports == ["7100", "7101"] * 4


@pytest.mark.parametrize(
    ("args", "env", "key"),
    [
        ({}, {}, ""),
        ({"api-key": "one"}, {}, "one"),
        ({"api_key": ["one", "two"]}, {"VLLM_API_KEY": "other"}, "one"),
        ({"api-key": "-one"}, {}, "-one"),
        ({}, {"VLLM_API_KEY": "other"}, "other"),
    ],
)
def test_the_proxy_sends_the_key_its_engines_want(args: dict[str, object], env: dict[str, str], key: str) -> None:
    data = load_layout("a3-pd").model_dump(mode="json")
    data["args"].update(args)
    data["env"].update(env)
    deployment = example(Layout.model_validate(data))
    proxy, command = deployment.proxy_rank(), proxy_command(deployment)
    assert proxy is not None
    assert command is not None
    assert {key_of(deployment.layout, rank.group) for rank in (*deployment.ranks(), proxy)} == {key}
    assert key_of(deployment.layout, "") == "", "another server is not shown it"
    assert command.env == ({"OPENAI_API_KEY": key} if key else {})


def test_there_is_no_proxy_command_before_both_sides_have_nodes() -> None:
    made = example(load_layout("a3-pd"))
    half = Deployment(made.cluster, made.layout, type(made.assignment)({"prefill": made.assignment.of("prefill")}))
    assert proxy_command(half) is None


def _left(group: str, **change: object) -> Deployment:
    data = load_layout("a3-pd").model_dump(mode="json")
    data["groups"][group].update(change)
    return example(Layout.model_validate(data))


def _given(deployment: Deployment, engine: str) -> tuple[dict[str, object], dict[str, str], int | None]:
    rank = next(rank for rank in deployment.ranks() if rank.id == engine)
    command = serve_command(deployment, rank)
    return flags(command.argv), dict(command.env), rank.port


def test_flags_and_variables_can_be_left_to_each_rank() -> None:
    left: dict[str, JsonValue] = {
        "log-dir": "/log/{dp_rank}-{local_rank}",
        "max_num_seqs": "{port}",
        "hf-overrides": {"peer": "http://{address:prefill/1}:80", "text": "{nothing}", "list": ["{dp_address}"]},
    }
    url = {"URL": "tcp://{address:decode/1}:{port}", "OWN": "address", "NIC": "{nic}"}
    words, env, _ = _given(_left("decode", args_from=left, env_from=url), "decode-9")
    assert words["log-dir"] == "/log/9-1"
    assert words["max-num-seqs"] == "7101"
    expected = {"peer": "http://192.0.2.2:80", "text": "{nothing}", "list": ["192.0.2.3"]}
    assert words["hf-overrides"] == expected
    assert (env["URL"], env["OWN"]) == ("tcp://192.0.2.4:7101", "192.0.2.4")
    assert "NIC" not in env


def test_one_node_can_have_another_port_and_texts_of_its_own() -> None:
    change = {"port": 7300, "args_from": {"log-dir": "/second/{dp_rank}"}, "env_from": {"A": "port"}}
    deployment = _left("decode", by_node={"1": change}, args_from={"log-dir": "/first/{dp_rank}"})
    assert [_given(deployment, engine)[2] for engine in ("decode-0", "decode-8", "decode-9")] == [7100, 7300, 7301]
    words, env, port = _given(deployment, "decode-9")
    assert (words["log-dir"], words["port"], env["A"], port) == ("/second/9", "7301", "7301", 7301)
    assert _given(deployment, "decode-1")[0]["log-dir"] == "/first/1"
    proxy = proxy_command(deployment)
    assert proxy is not None
    assert proxy.argv[-8:] == tuple(str(port) for port in range(7300, 7308))


@pytest.mark.parametrize("where", ["args_from", "env_from"])
def test_a_text_without_a_fact_belongs_elsewhere(where: str) -> None:
    with pytest.raises(ValueError, match=r"contains no rank fact \(facts: address, .*address:GROUP/INDEX\)"):
        _left("decode", **{where: {"A": "{port:1} {nothing}"}})


def test_a_group_changes_a_flag_of_the_layout_however_either_spells_it() -> None:
    data = load_layout("a3-pd").model_dump(mode="json")
    data["args"] |= {"max_model_len": 1, "seed": 2, "--block-size": 64}
    del data["args"]["max-model-len"], data["args"]["block-size"]
    data["groups"]["decode"]["args"] |= {"max-model-len": 3, "--seed": None, "block_size": 32}
    words = _given(example(Layout.model_validate(data)), "decode-0")[0]
    assert (words["max-model-len"], words["block-size"]) == ("3", "32")
    assert "seed" not in words


@pytest.mark.parametrize("balance", ["internal", "external", "hybrid"])
def test_a_single_rank_is_told_nothing_of_data_parallelism_however_requests_are_spread(balance: str) -> None:
    layout = load_layout("a3-mixed").model_dump()
    (group,) = layout["groups"].values()
    group.update(nodes=1, tensor_parallel=16, data_parallel={"size": 1, "per_node": 1, "balance": balance})
    deployment = example(Layout.model_validate(layout))
    command = serve_command(deployment, deployment.ranks()[0])
    assert not any(word.startswith("--data-parallel") for word in command.argv)


@pytest.mark.parametrize(("asked", "servers"), [({}, "1"), ({"api_server_count": 2}, "2")])
def test_the_engine_that_serves_has_no_start_rank_and_its_api_servers_said(
    asked: dict[str, JsonValue], servers: str
) -> None:
    """From vLLM 0.28 on a start rank makes it serve alone, and its absence changes how many API servers there are."""
    data = load_layout("a3-mixed").model_dump()
    data["args"].update(asked)
    (group,) = data["groups"].values()
    group.update(tensor_parallel=8, data_parallel={"size": 4, "per_node": 2, "balance": "internal"})
    serving, headless = _flags_of(data)
    assert (serving.get("data-parallel-start-rank"), serving.get("api-server-count")) == (None, servers)
    assert (headless["data-parallel-start-rank"], headless["headless"]) == ("2", True)
    assert "api-server-count" not in headless, "vLLM refuses it beside --headless"
    group["data_parallel"]["balance"] = "hybrid"
    assert [each["data-parallel-start-rank"] for each in _flags_of(data)] == ["0", "2"]
    group.update(nodes=1, data_parallel={"size": 2, "per_node": 2, "balance": "internal"})
    (alone,) = _flags_of(data)
    assert (alone.get("data-parallel-start-rank"), alone.get("api-server-count")) == (None, servers if asked else None)


QUIET = "disable-access-log-for-endpoints"


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ({}, "/health,/metrics,/v1/models"),
        ({"version": "", "image": "quay.io/ascend/vllm-ascend:v0.30.0rc1-a3"}, "/health,/metrics,/v1/models"),
        ({"version": "v0.17.0"}, None),
        ({"version": "main", "image": ""}, None),
        ({"version": "", "image": ""}, None),
        ({"args": {"disable_access_log_for_endpoints": "/ping"}}, "/ping"),
        ({"args": {QUIET: None}}, None),
    ],
)
def test_the_polling_is_kept_out_of_the_log_where_the_release_can_and_the_layout_says_nothing_else(
    change: dict[str, JsonValue], value: str | None
) -> None:
    serving, headless = _flags_of({**load_layout("a3-mixed").model_dump(), **change})
    assert serving.get(QUIET) == value
    assert headless.get(QUIET) == (None if "args" not in change else value), "a headless engine serves nothing"


def _flags_of(data: dict[str, object]) -> list[dict[str, object]]:
    deployment = example(Layout.model_validate(data))
    return [flags(serve_command(deployment, rank).argv) for rank in deployment.ranks()]


@pytest.mark.parametrize(
    ("version", "severity"), [("v0.21.0rc1", "warning"), ("v0.27.1rc1", "warning"), ("v0.28.0rc1", "error")]
)
def test_a_start_rank_zero_written_for_the_first_node_is_an_error_from_0_28_on(version: str, severity: str) -> None:
    data = load_layout("a3-mixed").model_dump()
    (group,) = data["groups"].values()
    group["by_node"] = {0: {"args": {"data-parallel-start-rank": 0}}}
    found = check(example(Layout.model_validate({**data, "version": version, "image": ""})))
    assert [(each.severity.value, each.message) for each in found if each.rule == "R5"] == [
        (
            severity,
            "mixed: with --data-parallel-start-rank 0 only its first node serves from vLLM 0.28 on; remove it from by_node",
        )
    ]
