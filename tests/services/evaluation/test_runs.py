"""Evaluations on a node behind a real sshd: checked, launched, watched, cancelled, and kept by any console that looks."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pydantic import JsonValue

from console.commands.evaluation import AccuracyLoad, BenchLoad
from console.demo.http import HttpRequest, HttpResponse, HttpServer, answer
from console.evaluation.progress import Progress
from console.evaluation.records import Ending, Tool
from console.model.deployment import Assignment
from console.model.errors import ConsoleError, Refused
from console.model.findings import Severity
from console.model.layout import Layout
from console.services.evaluation.evaluator import LocalRun
from console.services.evaluation.plans import EvaluationRequest
from console.services.session import Session
from tests.container_tools import box_tool
from tests.evaluation.figures import SUMMARY, bench_json
from tests.node.test_containers import container
from tests.sshd import SshNodes, needs_sshd, running_nodes
from tests.waiting import until

pytestmark = [pytest.mark.sshd, needs_sshd]

VLLM = r"""#!/bin/sh
printf '\r 50%%|##   | 10/20 [00:06<00:06,  1.60it/s]'
case "$(cat "$HOME/manner")" in
good) cp "$HOME/bench.json" bench.json ;;
half) head -c 100 "$HOME/bench.json" >bench.json ;;
silent) echo "ERROR something broke" ;;
broken) cp "$HOME/bench.json" bench.json; exit 3 ;;
long) sleep 1000 & while ! [ -e "$HOME/go" ]; do sleep 0.1; done; cp "$HOME/bench.json" bench.json; kill $! ;;
esac
"""

AIS_BENCH = r"""#!/bin/sh
mkdir -p outputs/1/summary outputs/1/predictions
cp "$HOME/summary.csv" outputs/1/summary/summary_1.csv
cp "$HOME/predictions" outputs/1/predictions/p.jsonl
cp "$HOME/failed" outputs/1/predictions/p_failed.jsonl
"""


class Engine:
    """Answers as an engine does; `manner` breaks it."""

    def __init__(self) -> None:
        self.manner = "good"
        self.chats = 0

    async def respond(self, request: HttpRequest) -> HttpResponse:
        if self.manner == "dead":
            return HttpResponse(503)
        if request.path == "/v1/models":
            return answer({"object": "list", "data": [{"id": "dsv4", "max_model_len": 4096}]})
        if request.path == "/version":
            return answer({"version": "0.21.0"})
        self.chats += 1
        body = request.json()
        assert isinstance(body, dict)
        if self.manner == "empty":
            return HttpResponse(200)
        if body.get("stream"):
            return HttpResponse(kind="text/event-stream", pieces=self._stream())
        text = "" if self.manner == "wordless" else "I am a model."
        return answer({"choices": [{"message": {"role": "assistant", "content": text}}]})

    async def _stream(self) -> AsyncGenerator[bytes, None]:
        for word in ("one ", "two "):
            yield b"data: " + json.dumps({"choices": [{"delta": {"content": word}}]}).encode() + b"\n\n"
        usage: JsonValue = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}
        yield b"data: " + json.dumps(usage).encode() + b"\n\ndata: [DONE]\n\n"


def _unseen(_request: HttpRequest, _response: HttpResponse) -> None:
    """Nobody reads an access log here."""


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshNodes]:
    with running_nodes(tmp_path_factory.mktemp("sshd"), 1, first=61) as nodes:
        yield nodes


@pytest.fixture
async def engine(sshd: SshNodes) -> AsyncIterator[tuple[Engine, int]]:
    """An engine on the node's address, and its port."""
    engine = Engine()
    server = HttpServer(engine.respond, _unseen)
    listening = await asyncio.start_server(lambda _r, _w: None, sshd.nodes[0].host, 0)
    port = listening.sockets[0].getsockname()[1]
    listening.close()
    await server.listen(host=sshd.nodes[0].host, port=port)
    yield engine, port
    server.stop_listening()
    await server.drain(1.0)


@pytest.fixture
def home(sshd: SshNodes) -> Path:
    """The node's home, with the tools and what they will write."""
    node = sshd.nodes[0]
    for name, text in (("vllm", VLLM), ("ais_bench", AIS_BENCH)):
        (node.bin / name).write_text(text)
        (node.bin / name).chmod(0o755)
    packages = node.home / "lib"
    (packages / "ais_bench/datasets/gsm8k").mkdir(parents=True, exist_ok=True)
    (packages / "ais_bench/__init__.py").write_text("")
    for name in ("train", "test"):
        (packages / f"ais_bench/datasets/gsm8k/{name}.jsonl").write_text("{}\n")
    (node.bin / "python3").write_text(f'#!/bin/sh\nPYTHONPATH={packages} exec {sys.executable} "$@"\n')
    (node.bin / "python3").chmod(0o755)
    (node.home / "bench.json").write_text(bench_json())
    (node.home / "summary.csv").write_text(SUMMARY)
    (node.home / "predictions").write_text('{"prediction":"x"}\n')
    (node.home / "failed").write_text("")
    (node.home / "manner").write_text("good")
    (node.home / "go").unlink(missing_ok=True)
    return node.home


def layout(port: int) -> dict[str, JsonValue]:
    plain: dict[str, JsonValue] = {"name": "plain", "devices": 0, "hbm_mib": 0}
    parallel: dict[str, JsonValue] = {"size": 1, "per_node": 1}
    group: dict[str, JsonValue] = {
        "role": "mixed",
        "nodes": 1,
        "tensor_parallel": 1,
        "data_parallel": parallel,
        "port": port,
    }
    model: dict[str, JsonValue] = {"path": "/models/v4", "served_name": "dsv4"}
    return {"name": "one", "hardware": plain, "model": model, "groups": {"mixed": group}}


@asynccontextmanager
async def console(
    sshd: SshNodes, port: int, state: Path, *, read_only: bool = False, **node_fields: object
) -> AsyncIterator[Session]:
    """A console whose link is up; `node_fields` change the node of the cluster file."""
    node = sshd.nodes[0].name
    made = Layout.model_validate(layout(port))
    cluster = sshd.cluster(**node_fields)
    session = Session(cluster, made, Assignment({"mixed": (node,)}), read_only=read_only, state_dir=state)
    await session.open()
    try:
        await until(lambda: session.first_sample_complete(node), 20)
        yield session
    finally:
        await session.close()


ASK = EvaluationRequest(Tool.VLLM_BENCH, BenchLoad(1000, 250, 20, 4))


async def test_a_run_is_checked_launched_watched_and_kept(
    sshd: SshNodes, engine: tuple[Engine, int], home: Path, tmp_path: Path
) -> None:
    async with console(sshd, engine[1], tmp_path / "a") as session:
        plan = await session.evaluator.prepare(ASK)
        assert [finding.message for finding in plan.findings] == []
        assert plan.model == "dsv4"
        assert engine[0].chats == 1
        seen: list[Progress | None] = []
        key = await session.evaluator.start(plan, confirmed=True)
        record = await session.evaluator.watch.wait(key, seen.append)
        assert (record.ending, record.error) == (Ending.DONE, "")
        assert (record.failed_requests, record.total_requests) == (0, 20)
        assert record.number("output_throughput") == 400.0
        assert record.versions["vllm"] == "0.21.0"
        assert record.parameters["concurrency"] == 4
        assert record.ended_at is not None
        progress = session.evaluator.watch.progress(key)
        assert progress is not None
        assert (progress.done, progress.total, progress.left_s) == (10, 20, 6)
    async with console(sshd, engine[1], tmp_path / "b") as other:
        await until(lambda: other.evaluator.store.has(key.run), 20)
        assert other.evaluator.store.get(key.run).numbers == record.numbers


@pytest.mark.parametrize(
    ("manner", "words"),
    [
        ("half", "cannot be read"),
        ("silent", "printed no result"),
        ("broken", "the tool exited with 3"),
    ],
)
async def test_a_run_without_whole_results_has_an_error_and_no_number(
    sshd: SshNodes, engine: tuple[Engine, int], home: Path, tmp_path: Path, manner: str, words: str
) -> None:
    (home / "manner").write_text(manner)
    async with console(sshd, engine[1], tmp_path) as session:
        plan = await session.evaluator.prepare(ASK)
        key = await session.evaluator.start(plan, confirmed=True)
        record = await session.evaluator.watch.wait(key, lambda _: None)
    assert record.ending is Ending.FAILED
    assert words in record.error
    assert ("something broke" in record.error) is (manner == "silent")
    assert record.numbers == {}


@pytest.mark.parametrize(
    ("manner", "rule", "words"),
    [
        ("dead", "EVAL-MODEL", "HTTP 503"),
        ("empty", "EVAL-SMOKE", "HTTP 200 with nothing in it"),
        ("wordless", "EVAL-SMOKE", "empty message"),
    ],
)
async def test_an_endpoint_that_does_not_answer_with_words_blocks_the_run(
    sshd: SshNodes, engine: tuple[Engine, int], home: Path, tmp_path: Path, manner: str, rule: str, words: str
) -> None:
    engine[0].manner = manner
    async with console(sshd, engine[1], tmp_path) as session:
        plan = await session.evaluator.prepare(ASK)
        assert [finding.rule for finding in plan.findings] == [rule]
        assert words in plan.findings[0].message
        assert plan.blocked
        with pytest.raises(ConsoleError, match=rule):
            await session.evaluator.start(plan, confirmed=True)
        assert session.evaluator.watch.running() == ()


@pytest.mark.parametrize(
    ("ask", "rule"),
    [
        (EvaluationRequest(Tool.VLLM_BENCH, BenchLoad(), endpoint="127.0.0.1:1"), "EVAL-MODEL"),
        (EvaluationRequest(Tool.VLLM_BENCH, BenchLoad(), endpoint="127.0.0.1:1", model="dsv4"), "EVAL-SMOKE"),
        (EvaluationRequest(Tool.VLLM_BENCH, BenchLoad(4000, 400)), "EVAL-LEN"),
        (EvaluationRequest(Tool.AISBENCH, AccuracyLoad("gpqa", max_out_tokens=64)), "EVAL-DATA"),
        (
            EvaluationRequest(Tool.AISBENCH, AccuracyLoad("gsm8k", max_out_tokens=64), program="/no/ais_bench"),
            "EVAL-TOOL",
        ),
    ],
)
async def test_what_is_missing_is_found_before_anything_runs(
    sshd: SshNodes, engine: tuple[Engine, int], home: Path, tmp_path: Path, ask: EvaluationRequest, rule: str
) -> None:
    async with console(sshd, engine[1], tmp_path) as session:
        plan = await session.evaluator.prepare(ask)
    assert [finding.rule for finding in plan.findings] == [rule]
    assert plan.blocked


async def test_an_accuracy_run_gives_its_accuracy_and_counts_empty_answers_and_failures(
    sshd: SshNodes, engine: tuple[Engine, int], home: Path, tmp_path: Path
) -> None:
    (home / "predictions").write_text('{"prediction":"x"}\n{"prediction":""}\n')
    (home / "failed").write_text('{"id": 7, "error_info": "HTTP 500"}\n')
    async with console(sshd, engine[1], tmp_path) as session:
        plan = await session.evaluator.prepare(
            EvaluationRequest(Tool.AISBENCH, AccuracyLoad("gsm8k", max_out_tokens=64))
        )
        key = await session.evaluator.start(plan, confirmed=True)
        record = await session.evaluator.watch.wait(key, lambda _: None)
    assert record.number("accuracy") == 96.21
    assert (record.empty_answers, record.failed_requests, record.total_requests) == (1, 1, 3)
    assert not record.clean


async def test_a_cancelled_run_leaves_no_process_and_no_number(
    sshd: SshNodes, engine: tuple[Engine, int], home: Path, tmp_path: Path
) -> None:
    (home / "manner").write_text("long")
    node = sshd.nodes[0].name
    async with console(sshd, engine[1], tmp_path) as session:
        plan = await session.evaluator.prepare(ASK)
        key = await session.evaluator.start(plan, confirmed=True)
        await until(lambda: session.evaluator.watch.running() and session.evaluator.watch.running()[0][1].pids)
        pids = session.evaluator.watch.running()[0][1].pids
        again = await session.evaluator.prepare(ASK)
        assert [finding.rule for finding in again.findings] == ["EVAL-BUSY"]
        result = await session.evaluator.cancel(key, node)
        assert result.outcome == "stopped"
        assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
        record = await session.evaluator.watch.wait(key, lambda _: None)
    assert (record.ending, record.numbers) == (Ending.CANCELLED, {})


async def test_a_run_survives_the_kill_of_its_console_and_another_console_keeps_its_result(
    sshd: SshNodes, engine: tuple[Engine, int], home: Path, tmp_path: Path
) -> None:
    (home / "manner").write_text("long")
    files = tmp_path / "cluster.yaml", tmp_path / "layout.yaml"
    node = sshd.nodes[0]
    facts = {
        "host": node.host,
        "port": node.port,
        "identity": str(sshd.identity),
        "base": str(node.base),
        "hardware": {"name": "plain", "devices": 0, "hbm_mib": 0},
    }
    ssh = {"config": str(sshd.config), "known_hosts": str(sshd.known_hosts)}
    files[0].write_text(json.dumps({"name": "test", "nodes": {node.name: facts}, "ssh": ssh}))
    files[1].write_text(json.dumps(layout(engine[1])))
    words = ["bench", "--yes", "--cluster", str(files[0]), "--layout", str(files[1]), "--assign", f"mixed={node.name}"]
    code = "import sys; from console.cli.main import main; sys.exit(main())"
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    said = tmp_path / "said"
    with said.open("wb") as out:
        first = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, *words, env=env, stdout=out, stderr=out
        )
        await until(lambda: b"it continues when this console ends" in said.read_bytes(), 60, said.read_text())
        first.kill()
        await first.wait()
    async with console(sshd, engine[1], tmp_path / "state" / "dsv4-console") as session:
        await until(session.evaluator.watch.running, 20)
        key = session.evaluator.watch.running()[0][1].key
        (home / "go").touch()
        record = await session.evaluator.watch.wait(key, lambda _: None)
    assert (record.ending, record.number("output_throughput")) == (Ending.DONE, 400.0)


async def test_runs_that_ended_while_no_console_looked_are_kept_all_and_not_only_the_newest(
    sshd: SshNodes, engine: tuple[Engine, int], home: Path, tmp_path: Path
) -> None:
    runs = []
    async with console(sshd, engine[1], tmp_path / "a") as session:
        for _ in range(3):
            key = await session.evaluator.start(await session.evaluator.prepare(ASK), confirmed=True)
            record = await session.evaluator.watch.wait(key, lambda _: None)
            runs.append(key.run)
    async with console(sshd, engine[1], tmp_path / "b") as other:
        await until(lambda: all(other.evaluator.store.has(run) for run in runs), 30)
        found = [other.evaluator.store.get(run) for run in runs]
    assert {each.number("output_throughput") for each in found} == {400.0}
    assert {each.parameters["concurrency"] for each in found} == {4}
    assert found[-1].started_at == pytest.approx(record.started_at, abs=5.0)


async def test_a_run_inside_a_container_has_its_results_and_a_cancelled_one_leaves_nothing(
    sshd: SshNodes, engine: tuple[Engine, int], home: Path, tmp_path: Path
) -> None:
    places = ("-e", f"PATH={sshd.nodes[0].bin}:{os.environ['PATH']}", "-e", f"HOME={home}")
    with box_tool("podman") as tool, container(tool, *places) as name:
        runtime = {"kind": "podman", "command": tool.words, "container": name}
        base = f"/var/tmp/dsv4-test-{name}"
        async with console(sshd, engine[1], tmp_path, runtime=runtime, base=base) as session:
            plan = await session.evaluator.prepare(ASK)
            assert [finding.message for finding in plan.findings] == []
            record = await session.evaluator.watch.wait(
                await session.evaluator.start(plan, confirmed=True), lambda _: None
            )
            assert (record.ending, record.error, record.number("output_throughput")) == (Ending.DONE, "", 400.0)
            (home / "manner").write_text("long")
            key = await session.evaluator.start(await session.evaluator.prepare(ASK), confirmed=True)
            await until(lambda: session.evaluator.watch.running() and session.evaluator.watch.running()[0][1].pids, 30)
            pids = session.evaluator.watch.running()[0][1].pids
            result = await session.evaluator.cancel(key, sshd.nodes[0].name)
            assert result.outcome == "stopped"
            assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
            assert (await session.evaluator.watch.wait(key, lambda _: None)).ending is Ending.CANCELLED


async def test_the_built_in_generator_measures_through_the_link_and_is_named_so(
    sshd: SshNodes, engine: tuple[Engine, int], home: Path, tmp_path: Path
) -> None:
    async with console(sshd, engine[1], tmp_path) as session:
        plan = await session.evaluator.prepare(EvaluationRequest(Tool.BUILT_IN, BenchLoad(10, 2, 12, 3, warmups=4)))
        assert plan.script == ""
        asked = engine[0].chats
        seen: list[Progress] = []
        record = await session.evaluator.measure(plan, seen.append, confirmed=True)
        assert session.evaluator.store.get(record.run) == record
    assert (record.tool, record.failed_requests, record.total_requests) == ("built-in", 0, 12)
    assert engine[0].chats - asked == 16
    assert session.evaluator.local == {}
    assert (record.parameters["through"], record.parameters["warmups"]) == ("tunnel", 4)
    assert record.numbers["output_tokens"].value == 24
    assert seen[-1].done == 12


async def test_what_is_measured_from_here_counts_as_busy_too(
    sshd: SshNodes, engine: tuple[Engine, int], home: Path, tmp_path: Path
) -> None:
    async with console(sshd, engine[1], tmp_path) as session:
        plan = await session.evaluator.prepare(EvaluationRequest(Tool.BUILT_IN, BenchLoad(10, 2, 12, 3)))
        session.evaluator.local[plan.key] = LocalRun(plan, 0.0, Progress(0, 12))
        other = await session.evaluator.prepare(ASK)
        again = await session.evaluator.prepare(EvaluationRequest(Tool.BUILT_IN, BenchLoad(10, 2, 12, 3)))
    assert [(finding.rule, finding.severity) for finding in other.findings] == [("EVAL-BUSY", Severity.WARNING)]
    assert [finding.where for finding in again.findings] == ["this machine"]
    assert again.blocked


async def test_nothing_is_measured_in_a_read_only_session_or_unconfirmed(
    sshd: SshNodes, engine: tuple[Engine, int], home: Path, tmp_path: Path
) -> None:
    async with console(sshd, engine[1], tmp_path / "a", read_only=True) as session:
        with pytest.raises(Refused, match="read-only"):
            await session.evaluator.prepare(ASK)
    async with console(sshd, engine[1], tmp_path / "b") as session:
        plan = await session.evaluator.prepare(ASK)
        with pytest.raises(Refused, match="not confirmed"):
            await session.evaluator.start(plan, confirmed=False)
    assert engine[0].chats == 1
