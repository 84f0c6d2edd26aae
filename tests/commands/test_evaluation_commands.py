"""The commands of evaluations: what a real bash and a real python make of them, and where they point."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from console.commands import evaluation as commands
from console.commands.evaluation import AccuracyLoad, BenchLoad
from console.commands.script import cmd_sh
from console.evaluation.result_transfer import TransferredFiles, unpack
from console.model.cluster import Node
from console.model.deployment import Assignment, Deployment
from console.model.errors import UsageError
from tests.evaluation.figures import SUMMARY, bench_json
from tests.services.deployments import CLUSTER, LAYOUT, deployment
from tests.waiting import until_blocking

TOKEN = "00ff00ff00ff00ff"
WHERE = commands.Endpoint("10.0.0.1", 8000, "p0", "proxy")


def start(work: Path, argv: tuple[str, ...], config: tuple[str, str] = ("", "")) -> subprocess.Popen[bytes]:
    """The run's script, as a supervisor starts it: in a session of its own, output to one file."""
    script = work / "cmd.sh"
    script.write_text(cmd_sh(commands.run_command(TOKEN, argv, config), Node(name="n0", host="127.0.0.1")))
    with (work / "out.log").open("wb") as log:
        return subprocess.Popen(
            ["bash", str(script)], cwd=work, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
        )


def delivered(work: Path) -> TransferredFiles:
    return unpack((work / "out.log").read_bytes(), TOKEN)


def test_what_the_tool_wrote_comes_home_in_the_log(tmp_path: Path) -> None:
    body = f"echo running; printf %s {bench_json()!r} >bench.json"
    assert start(tmp_path, ("sh", "-c", body)).wait(30) == 0
    found = delivered(tmp_path)
    assert json.loads(found.text("bench.json")) == json.loads(bench_json())
    assert found.facts == {"exit": "0"}


def test_a_tool_that_fails_or_is_missing_ends_the_run_with_its_own_code(tmp_path: Path) -> None:
    assert start(tmp_path, ("sh", "-c", "exit 7")).wait(30) == 7
    assert delivered(tmp_path).facts["exit"] == "7"
    assert start(tmp_path, ("no-such-tool-here",)).wait(30) == 127
    assert delivered(tmp_path).facts["exit"] == "127"


def test_the_files_of_aisbench_are_found_where_it_puts_them(tmp_path: Path) -> None:
    place = "outputs/20261123_204010"
    body = (
        f"mkdir -p {place}/summary {place}/performances/m {place}/predictions/m && "
        f"printf %s {SUMMARY!r} >{place}/summary/summary_1.csv && echo a,b >{place}/performances/m/d.csv && "
        f'echo "{{}}" >{place}/performances/m/d.json && echo "[1]" >{place}/performances/m/d_details.json && '
        f"""printf '{{"prediction": ""}}\\n{{"prediction":""}}\\n{{"prediction":"x"}}\\n' >{place}/predictions/m/d.jsonl && """
        f"mkdir {place}/predictions/m/tmp && cp {place}/predictions/m/d.jsonl {place}/predictions/m/tmp/tmp_1.jsonl && "
        f"""printf '{{"prediction": "", "error_info": "x"}}\\n' >{place}/predictions/m/d_failed.jsonl"""
    )
    assert start(tmp_path, ("sh", "-c", body), ("name", "models = []\n'quoted' \"twice\"\n")).wait(30) == 0
    found = delivered(tmp_path)
    assert set(found.files) == {"summary.csv", "performance.csv", "performance.json"}
    assert found.text("performance.json") == "{}\n"
    assert found.facts == {"answers": "3", "failed-requests": "1", "empty-answers": "2", "exit": "0"}
    assert (tmp_path / "config/models/name.py").read_text() == "models = []\n'quoted' \"twice\"\n"


def test_term_reaches_the_whole_run_and_is_said(tmp_path: Path) -> None:
    body = 'sleep 1000 & echo "$!" >pid; wait'
    run = start(tmp_path, ("sh", "-c", body))
    pid = tmp_path / "pid"
    until_blocking(lambda: pid.exists() and pid.read_text().strip())
    run.send_signal(signal.SIGTERM)
    assert run.wait(20) != 0
    until_blocking(lambda: not Path(f"/proc/{pid.read_text().strip()}").exists() or _zombie(int(pid.read_text())))
    assert delivered(tmp_path).facts["stopped"] == "yes"


def _zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"


def test_requests_go_to_the_proxy_and_without_one_to_the_first_server() -> None:
    assert str(commands.endpoint(deployment())) == "10.0.0.1:8000"
    alone = Deployment(CLUSTER, LAYOUT.model_copy(update={"proxy": None}), deployment().assignment)
    assert (str(commands.endpoint(alone)), commands.endpoint(alone).engine) == ("10.0.0.1:7100", "prefill-0")
    with pytest.raises(UsageError):
        commands.endpoint(Deployment(CLUSTER, LAYOUT, Assignment({})))


def test_the_line_of_vllm_bench_serve_is_that_of_the_ci() -> None:
    load = BenchLoad(3500, 1500, 64, 16, 2.5)
    argv = commands.bench_argv(deployment(), WHERE, "dsv4", load)
    text = " ".join(argv)
    assert argv[:3] == ("vllm", "bench", "serve")
    for words in (
        "--backend openai-chat --endpoint /v1/chat/completions --host 10.0.0.1 --port 8000",
        "--served-model-name dsv4",
        "--dataset-name random --random-input-len 3500 --random-output-len 1500 --num-prompts 64",
        "--max-concurrency 16 --request-rate 2.5",
        "--ignore-eos",
        "--save-result --result-filename bench.json",
    ):
        assert words in text
    assert "--request-rate" not in commands.bench_argv(deployment(), WHERE, "dsv4", BenchLoad())
    assert "tokenizer-mode" not in text
    layout = LAYOUT.model_copy(update={"args": {"tokenizer_mode": "deepseek_v4"}})
    special = Deployment(CLUSTER, layout, deployment().assignment)
    assert "--tokenizer-mode deepseek_v4" in " ".join(commands.bench_argv(special, WHERE, "dsv4", BenchLoad()))


def test_the_lines_of_aisbench_are_those_of_the_guide() -> None:
    text = " ".join(commands.accuracy_argv(AccuracyLoad("gpqa")))
    assert text.startswith("ais_bench --models dsv4_console_general_chat --datasets gpqa_gen_0_shot_str --mode all")
    assert "--dump-eval-details --merge-ds" in text
    text = " ".join(commands.performance_argv(BenchLoad(requests=8), program="/opt/ais/bin/ais_bench"))
    assert text.startswith("/opt/ais/bin/ais_bench --models dsv4_console_stream_chat")
    assert "--mode perf --summarizer default_perf --num-prompts 8" in text


def test_an_unknown_dataset_needs_its_configuration_named() -> None:
    with pytest.raises(UsageError, match="mmlu"):
        commands.accuracy_argv(AccuracyLoad("mmlu"))
    assert "mmlu_gen" in commands.accuracy_argv(AccuracyLoad("mmlu", "mmlu_gen"))


@pytest.mark.parametrize(
    "wrong", [{"requests": 0}, {"concurrency": 0}, {"rate": 0.0}, {"rate": -1.0}, {"input_tokens": -5}]
)
def test_a_load_that_cannot_be_is_refused(wrong: Mapping[str, float]) -> None:
    with pytest.raises(UsageError):
        BenchLoad(**wrong)  # type: ignore[arg-type]


def test_our_configuration_lays_ours_over_the_installed_release(tmp_path: Path) -> None:
    """Run by a real python with stand-ins of the two packages it imports."""
    packages = tmp_path / "ais_bench/benchmark/configs/models/vllm_api"
    packages.mkdir(parents=True)
    (packages / "vllm_api_stream_chat.py").write_text(
        "models = [dict(abbr='a', stream=True, host_port=1, generation_kwargs=dict(top_k=10, temperature=1))]\n"
    )
    (tmp_path / "mmengine").mkdir()
    (tmp_path / "mmengine/__init__.py").write_text("")
    (tmp_path / "mmengine/config.py").write_text("import contextlib\nread_base = contextlib.nullcontext\n")
    name = "it's \"quoted\" \\ and 'more'\nlines"
    text = commands.model_config(
        deployment(),
        WHERE,
        name,
        stream=True,
        max_out_tokens=64,
        concurrency=3,
        generation={"seed": None, "x": True},
        keyed=True,
    )
    code = text + "\nimport json; print(json.dumps(models[0]))\n"
    env = {**os.environ, **commands.run_command("t", (), api_key="sk-1").env, "PYTHONPATH": str(tmp_path)}
    out = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout
    found = json.loads(out)
    assert found["model"] == name
    assert (found["abbr"], found["stream"], found["host_ip"], found["host_port"]) == ("a", True, "10.0.0.1", 8000)
    assert (found["max_out_len"], found["batch_size"], found["request_rate"]) == (64, 3, 0)
    sampling = {"top_k": 10, "temperature": 0.0, "ignore_eos": True, "seed": None, "x": True}
    assert found["generation_kwargs"] == sampling
    assert found["api_key"] == "sk-1"


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A directory of programs with a python of its own that knows the package `ais_bench`."""
    programs, packages = tmp_path / "bin", tmp_path / "lib"
    (packages / "ais_bench/datasets/gsm8k").mkdir(parents=True)
    (packages / "ais_bench/__init__.py").write_text("")
    (packages / "ais_bench/datasets/gsm8k/train.jsonl").write_text("{}\n")
    (packages / "ais_bench/datasets/gsm8k/test.jsonl").write_text("")
    (packages / "ais_bench_benchmark-3.1.dist-info").mkdir()
    facts = "Metadata-Version: 2.1\nName: ais_bench_benchmark\nVersion: 3.1\n"
    (packages / "ais_bench_benchmark-3.1.dist-info/METADATA").write_text(facts)
    programs.mkdir()
    (programs / "ais_bench").write_text("#!/bin/sh\n")
    (programs / "python3").write_text(f'#!/bin/sh\nPYTHONPATH={packages} exec {sys.executable} "$@"\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    return programs


def ask(path: str, *files: str) -> commands.Presence:
    argv = commands.presence_argv((), "ais_bench", "ais_bench_benchmark", files)
    env = {**os.environ, "PATH": path}
    return commands.presence(subprocess.run(argv, env=env, capture_output=True, text=True, check=True).stdout)


def test_a_tool_its_version_and_missing_or_empty_dataset_files_are_found(tools: Path) -> None:
    found = ask(f"{tools}:{os.environ['PATH']}", "gsm8k/train.jsonl", "gsm8k/test.jsonl", "gpqa/gpqa_diamond.csv")
    assert (found.program, found.version, found.trouble) == (str(tools / "ais_bench"), "3.1", "")
    assert [path.rsplit("datasets/")[1] for path in found.missing] == ["gsm8k/test.jsonl", "gpqa/gpqa_diamond.csv"]


def test_a_tool_that_is_not_there_is_not_there(tools: Path) -> None:
    (tools / "ais_bench").unlink()
    assert ask(f"{tools}:/usr/bin:/bin") == commands.Presence()


def test_words_that_are_no_answer_are_trouble() -> None:
    assert "printed an unexpected answer" in commands.presence("Welcome to this host\n").trouble


def test_a_container_is_asked_inside() -> None:
    words = ("docker", "exec", "box")
    assert commands.presence_argv(words, "vllm", "vllm")[:5] == (*words, "sh", "-c")
