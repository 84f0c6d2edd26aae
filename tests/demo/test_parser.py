"""The simulated command refuses what the real parser refuses, with its text and its exit code."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from console.commands.serve import serve_command
from console.demo.engine.flags import FlagError, human_readable_int_or_auto, parse, parser
from console.demo.engine.name_checks import refused
from console.demo.engine.serve_config import resolve
from console.demo.release import VLLM_VARIABLE
from console.demo.tools import install_tools
from console.demo.tools.demo_node import this_node
from console.files import load_layout, shipped_layouts
from console.releases.facts import facts_of, release_name
from console.services.placement.edits import example
from tests.demo.bench import Bench
from tests.shared import SHARED, needs_shared

FIXTURES = SHARED / "fixtures" / "vllm"


def _plain(text: str) -> str:
    """Without what differs from run to run."""
    return re.sub(r"0x[0-9a-f]+", "0x", re.sub(r"\s+", " ", text)).strip()


@needs_shared
def test_odd_argument_lists_get_the_real_verdict() -> None:
    for name, case in json.loads((FIXTURES / "parser_cases.json").read_text()).items():
        try:
            parse(case["argv"][1:])
            said, code = "", 0
        except FlagError as refusal:
            said, code = refusal.text, refusal.code
        assert (code == 0) == case["ok"], name
        if code:
            assert _plain(case["error"]) in _plain(said), name
            assert code == (2 if "error: " in case["error"] else 1), name


@needs_shared
def test_the_tutorial_commands_are_taken() -> None:
    argvs = [case["argv"] for case in json.loads((FIXTURES / "parser_seed_argv.json").read_text())]
    assert len(argvs) == 9
    for argv in argvs:
        parse(argv[1:])


CAPTURED = ("bad_flag", "bad_json", "rank_and_start_rank")


@needs_shared
@pytest.mark.parametrize("name", CAPTURED)
def test_a_refused_command_prints_what_the_real_one_printed(bench: Bench, name: str) -> None:
    first, *body, last = (FIXTURES / "engine" / "fail" / f"{name}.log").read_text().splitlines()
    done = bench.run(0, *first.removeprefix("# ").split())
    assert f"exit code {done.returncode} " in last
    printed = done.stdout + done.stderr
    traced = body[0].startswith("Traceback")
    assert _plain(printed).endswith(_plain(body[-1])) if traced else _plain(printed) == _plain("\n".join(body))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("128k", 128000), ("128K", 131072), ("131072", 131072), ("auto", -1), ("AUTO", -1), ("-1", -1), (" 8k", 8000),
        ("1.5k", 1500), ("2M", 2 << 20), ("1_000", 1000),
    ],
)  # fmt: skip
def test_human_numbers(text: str, value: int) -> None:
    assert human_readable_int_or_auto(text) == value
    assert parse(["/m", f"--max-model-len={text}"]).max_model_len == value


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--max-model-len long", "argument --max-model-len: invalid human_readable_int_or_auto value: 'long'"),
        ("--max-model-len 1.5", "argument --max-model-len: invalid human_readable_int_or_auto value: '1.5'"),
        (
            "--max-num-batched-tokens auto",
            "argument --max-num-batched-tokens: invalid human_readable_int value: 'auto'",
        ),
        (
            "--max-model-len 1.5K",
            "argument --max-model-len: Decimals are not allowed with binary suffixes like K."
            " Did you mean to use 1.5k instead?",
        ),
    ],
)
def test_what_is_no_number(words: str, said: str) -> None:
    with pytest.raises(FlagError, match=re.escape(said)):
        parse(["/m", *words.split()])


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        ("-O3", "optimization_level", "3"),
        ("-O=2", "optimization_level", "2"),
        ("-O 1", "optimization_level", "1"),
        ("--optimization_level 0", "optimization_level", "0"),
        ("-cc.mode=3 -cc.cudagraph_mode none", "compilation_config", {"mode": 3, "cudagraph_mode": "none"}),
        ("-sc.method mtp", "speculative_config", {"method": "mtp"}),
        ("-ac.backend=X", "attention_config", {"backend": "X"}),
        ("--additional_config.a_b.c=true", "additional_config", {"a_b": {"c": True}}),
        (
            "--compilation-config.sizes+ 1,2 --compilation-config.sizes+=4",
            "compilation_config",
            {"sizes": ["1", "2", "4"]},
        ),
        ("--additional-config.a=1 --additional-config.a.b=2", "additional_config", {"a": {"b": 2}}),
    ],
)
def test_the_flexible_forms_of_a_flag(words: str, name: str, value: object) -> None:
    assert getattr(parse(["/m", *words.split()]), name) == value


@pytest.mark.parametrize("name", ["headless", "disable-log-stats", "aggregate-engine-logging"])
def test_some_flags_have_no_negation(name: str) -> None:
    assert getattr(parse(["/m", f"--{name}"]), name.replace("-", "_")) is True
    with pytest.raises(FlagError, match=f"unrecognized arguments: --no-{name}"):
        parse(["/m", f"--no-{name}"])


MODES = [
    ("", "single", 0, 1, 1),
    ("-dp 2 --data-parallel-rank 1", "external", 1, 1, 1),
    ("-dp 16 --data-parallel-rank 9", "external", 9, 1, 1),
    ("-dp 4 -dpl 1 --data-parallel-start-rank 0", "internal", 0, 1, 1),
    ("-dp 4 -dpl 1 --data-parallel-start-rank 2 --headless", "internal", 2, 1, 0),
    ("-dp 2 -dpl 1 --data-parallel-start-rank 1", "external", 1, 1, 1),
    ("-dp 8 -dpl 4 --data-parallel-start-rank 4", "hybrid", 4, 4, 4),
    ("-dp 8 -dpl 4 --data-parallel-hybrid-lb", "hybrid", 0, 4, 8),
    ("-dp 2", "internal", 0, 2, 2),
    ("-dp 2 --api-server-count 1", "internal", 0, 2, 1),
]


@pytest.mark.parametrize(("words", "balance", "first", "local", "servers"), MODES)
def test_flags_mean_what_vllm_makes_of_them(words: str, balance: str, first: int, local: int, servers: int) -> None:
    launch = resolve(parse(["/m", *words.split()]), this_node({}), {})
    assert (launch.balance, launch.first_rank, launch.local_ranks, launch.api_servers) == (
        balance,
        first,
        local,
        servers,
    )


def test_a_flag_takes_a_value_exactly_where_the_real_parser_takes_one() -> None:
    facts = facts_of("0.21.0rc1")
    assert facts is not None
    for action in parser()._actions:
        bare = action.nargs == 0
        names = [each.lstrip("-") for each in action.option_strings if not each.startswith("--no-")]
        for name in facts.flags.keys() & set(names):
            assert bare == (facts.flags[name].takes in ("nothing", "switch")), name


@pytest.mark.parametrize("name", shipped_layouts())
def test_a_shipped_layout_is_taken_by_a_node_of_its_release(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = load_layout(name)
    facts = facts_of(release_name(layout.version))
    assert facts is not None
    monkeypatch.setenv(VLLM_VARIABLE, facts.vllm)
    deployment = example(layout)
    for rank in deployment.ranks():
        launch = resolve(parse(list(serve_command(deployment, rank).argv[2:])), this_node({}), {})
        assert refused(launch) is None, rank.id


def test_a_node_says_the_release_it_is_given_and_has_the_weights_of_its_layout(tmp_path: Path) -> None:
    path = "/data/weights/DeepSeek-V4.1-Flash-w8a8"
    tools = install_tools(
        tmp_path / "bin", tmp_path, hardware="a3", address="127.0.0.1", release="0.30.0rc2", vllm="0.30.0", model=path
    )
    for words, said in (
        (("pip", "show", "vllm-ascend"), "Version: 0.30.0rc2"),
        (("vllm", "--version"), "0.30.0"),
        (("sh", "-c", f"ls {path}"), "model.safetensors.index.json"),
        (("python3", "-c", "import sys; print(open(sys.argv[1]).read())", f"{path}/config.json"), "deepseek_v4"),
    ):
        done = subprocess.run(
            words, check=False, env={**os.environ, **tools}, capture_output=True, text=True, timeout=60
        )
        assert said in done.stdout, (words, done.stderr)
