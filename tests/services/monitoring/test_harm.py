"""One node never harms another, nor the console: whatever it pushes, its own row shows it and the others go on."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from console.diagnosis.matcher import Matcher
from console.diagnosis.signatures import load_signatures
from console.model.cluster import Node
from console.model.deployment import Deployment
from console.model.run import LogChunk, RunKey, RunState, RunVerdict, Sample
from console.model.snapshot import ClusterSnapshot, EngineState, EventLevel, LinkState
from console.node.frames import MAX_RUNS, MAX_SAID, Decoder, FrameError
from console.node.log_tails import TURN_BYTES
from console.node.questions import WANTS
from console.probes.host import host_probe
from console.probes.npu_smi import info_probe
from console.remote.frame_decoding import WireError
from console.remote.link_status import LinkStatus
from console.remote.push_dispatch import PushDispatch
from console.remote.standing_questions import Question, StandingQuestions
from console.services.logs.copies import KEPT_EARLIER, MOST_NOTES, LogBook
from console.services.monitoring.event_limit import MOST
from console.services.monitoring.log_following import MOST_FOLLOWED
from console.services.monitoring.monitor import Monitor
from tests.remote.test_standing_questions import FIGURES
from tests.services.deployments import ASSIGNMENT, CLUSTER, LAYOUT
from tests.services.monitoring.test_monitor import Scene, key, running

RUN = "20260101T000000Z-0000"
PROBES = [host_probe(), info_probe()]


@pytest.fixture
async def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


class Wire:
    """What a node's bytes do to a monitor, without SSH: decoded, validated and dispatched as on a link."""

    def __init__(self, scene: Scene, node: str) -> None:
        self.scene = scene
        self.questions = StandingQuestions(lambda _op, _body: None)
        self.hearing = PushDispatch(
            Node(name=node, host=node),
            scene.monitor,
            LinkStatus(lambda link: scene.monitor.on_link(node, link)),
            self.questions,
        )
        for want in WANTS:
            self.questions.ask(Question("10.0.0.1", 7100, "/x", want, 10.0, 5.0), lambda _: None)
        self.begin()

    def begin(self) -> None:
        """A new helper that said hello and runs nothing but what its engine's plan has."""
        self.hearing.begin(PROBES)
        self.take(json.dumps(VALID["hello"]).encode())
        self.take(json.dumps(VALID["runs"]).encode())
        self.hearing.asked.follow(key("decode-0"), 0)
        self.hearing.asked.end([key("decode-0")])

    def take(self, text: bytes, payload: bytes = b"") -> str:
        """Why the link is given up; empty when it goes on. Any other exception is a fault of the console."""
        decoder = Decoder(MAX_SAID)
        try:
            for header, data in decoder.feed(
                len(text).to_bytes(4, "big") + len(payload).to_bytes(4, "big") + text + payload
            ):
                self.hearing.take(header, data)
        except (FrameError, WireError) as error:
            return str(error)
        return ""


def run_of(**fields: Any) -> dict[str, Any]:
    said = {
        "key": ["pd", "decode-0", RUN], "verdict": "running", "pid": 4711, "token": "t", "started_at": 1.7e9,
        "exit": {"code": 1, "signal": None, "at": 1.7e9}, "pids": [4711], "halted": [], "log_size": 10, "log_at": 1.7e9,
        "stopping": True, "stop_at": 1.7e9, "stop_by": "ann@jump", "owner": "ann@jump", "reason": "", "abandoned": False,
        "zone": [[0.0, 28800.0]],
        "spec": {"role": "decode", "group": "decode", "headless": False, "argv": ["vllm", "serve"], "env": {"A": "b"}},
    }  # fmt: skip
    return {**said, **fields}


SAID: dict[str, object] = {"text": "{}", "models": ["dsv4"], "figures": FIGURES}
VALID: dict[str, dict[str, Any]] = {
    "hello": {
        "push": "hello", "hostname": "d0", "boot_id": "b", "uid": 0, "user": "root", "python": "3.9", "clock": 1.7e9,
        "zone": [[0.0, 0.0]],
    },
    "runs": {
        "push": "runs", "error": "", "hint": "", "clock": 1.7e9, "left_runs": 0, "left_unmanaged": 0, "runs": [run_of()],
        "unmanaged": [
            {"pid": 5, "start": 6, "owner": "u", "command": "vllm serve", "why": "vllm", "base": "", "container": "",
             "started_at": 1.7e9, "below": [7]}
        ],
    },
    "sample": {
        "push": "sample", "probe": "host", "at": 1.7e9, "took_s": 0.1, "exit_code": 0, "stdout_bytes": 3, "truncated": False,
        "same": False, "packed": False,
    },
    "grown": {"push": "grown", "logs": [[0, 11, 1.7e9]], "clock": 1.7e9},
    "same": {"push": "same", "ids": [[1, 0.5]]},
    **{
        f"answer {want}": {"push": "answer", "id": at, "status": 200, "took_s": 0.1, "error": "", "said": SAID.get(want)}
        for at, want in enumerate(WANTS, 1)
    },
    "log": {"push": "log", "key": ["pd", "decode-0", RUN], "offset": 0, "size": 3, "restarted": ""},
    "log-error": {"push": "log-error", "key": ["pd", "decode-0", RUN], "message": "no"},
    "stop": {"push": "stop", "key": ["pd", "decode-0", RUN], "stage": "TERM sent to 5"},
    "refused": {"push": "refused", "message": "no", "hint": "x"},
}  # fmt: skip

RAW = (
    "NaN", "Infinity", "-Infinity", "1e999", "-1e308", "1" + "0" * 400, "9" * 5000, "-1", "1e18", "true", "null", '""', "{}",
    "[]", "[[]]", r'"\ud800"', r'"\u0000\u001b]52;c;aGk=\u0007"', r'"\u202e\u200b"', '"' + "x" * 10_000_000 + '"',
    "[" * 200_000 + "]" * 200_000, '{"a":' * 500 + "1" + "}" * 500, "[" + "1," * 100_000 + "1]", '"../../etc/passwd"',
    '"' + "n" * 200 + '"', '["pd","decode-0",".."]', '["other","decode-0","r"]', '[["a",1],["b",2]]',
)  # fmt: skip
HOSTILE = st.sampled_from(RAW) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
).map(json.dumps)
MARK = "@@HOSTILE@@"


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a record, deep ones too."""
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at] * bool(at) + [each for name, inner in below for each in places(inner, (*at, name))]


def replaced(value: Any, at: tuple[Any, ...]) -> Any:
    """The record with the mark at one place."""
    if not at:
        return MARK
    made = dict(value) if isinstance(value, dict) else list(value)
    made[at[0]] = replaced(value[at[0]], at[1:])
    return made


PLACES = [(name, at) for name, said in VALID.items() for at in places(said) if at != ("push",)]


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.sampled_from(PLACES), HOSTILE)
async def test_a_record_with_one_hostile_field_ends_in_a_link_error_or_in_nothing(
    tmp_path_factory: pytest.TempPathFactory, place: tuple[str, tuple[Any, ...]], hostile: str
) -> None:
    name, at = place
    scene = Scene(SCENES.setdefault("path", tmp_path_factory.mktemp("harm")))
    scene.up("d1")
    scene.runs("d1", running("decode-2"))
    node = Wire(scene, "d0")
    if name == "hello":
        node.hearing.begin(PROBES)
    text = json.dumps(replaced(VALID[name], at)).replace(f'"{MARK}"', hostile)
    node.take(text.encode("utf-8", "surrogatepass"), b"abc")
    assert scene.state("decode-2") is EngineState.STARTING, "the other node's row is live"
    assert not scene.monitor.faults
    assert not [event for event in scene.monitor.snapshot.events if "cannot be shown" in event.text]
    json.dumps([event.text for event in scene.monitor.snapshot.events], ensure_ascii=False).encode("utf-8")


SCENES: dict[str, Path] = {}


@given(st.binary(max_size=200))
async def test_bytes_of_any_kind_end_in_a_frame_error_or_in_nothing(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    scene = Scene(SCENES.setdefault("path", tmp_path_factory.mktemp("harm")))
    node = Wire(scene, "d0")
    decoder = Decoder(MAX_SAID)
    try:
        for header, payload in decoder.feed(data):
            node.hearing.take(header, payload)
    except (FrameError, WireError):
        return


async def test_the_valid_records_are_taken(scene: Scene) -> None:
    """The fuzzer starts from what is right."""
    for name, said in VALID.items():
        node = Wire(scene, "d0")
        if name == "hello":
            node.hearing.begin(PROBES)
        assert node.take(json.dumps(said).encode(), b"abc") == "", name


async def test_two_nodes_that_name_one_run_write_one_log_that_of_the_node_where_its_engine_belongs(
    scene: Scene,
) -> None:
    """A node that knows another's run and pushes a log for it: the copy holds only what the right node sent."""
    forged, real = b"Application startup complete.\n", b"true\n"
    scene.up("d1")
    scene.runs("d1", running("decode-0", size=len(forged)))
    assert scene.links["d1"].followed == [(key("decode-0"), 0)], "as long as nobody else names it"
    scene.up("d0")
    scene.runs("d0", running("decode-0", size=len(real)))
    assert scene.links["d0"].followed == [(key("decode-0"), 0)]
    assert scene.links["d1"].unfollowed == [key("decode-0")]
    scene.monitor.on_log("d1", LogChunk(key("decode-0"), 0, forged, len(forged)))
    scene.monitor.on_log("d0", LogChunk(key("decode-0"), 0, real, len(real)))
    assert scene.logs.of(key("decode-0")).path.read_bytes() == real
    scene.runs("d1", running("decode-0", size=len(forged)))
    assert len(scene.links["d1"].followed) == 1
    scene.monitor.publish()
    said = [
        event for event in scene.monitor.snapshot.events if event.node == "d1" and "which belongs to d0" in event.text
    ]
    assert len(said) == 1


async def test_what_a_node_no_longer_lists_is_remembered_no_more(scene: Scene) -> None:
    scene.up("d0")
    for number in range(50):
        scene.runs("d0", RunState(RunKey("other", f"e{number}", "r"), RunVerdict.RUNNING, log_size=1))
    assert len(scene.monitor.runs) == 1


async def test_a_record_that_cannot_be_drawn_costs_its_own_row_and_no_other(scene: Scene) -> None:
    """Behind the validation: what nobody thought of."""
    for node in ("d0", "d1"):
        scene.up(node)
    scene.runs("d1", running("decode-2"))
    broken = RunState(key("decode-0"), RunVerdict.RUNNING, pid=1, started_at=cast(float, "soon"), log_size=1)
    scene.runs("d0", broken)
    assert scene.state("decode-2") is EngineState.STARTING
    shown = scene.monitor.snapshot.nodes["d0"].link
    assert shown.state is LinkState.BLOCKED
    assert "cannot be shown: TypeError" in shown.reason
    events = [event.text for event in scene.monitor.snapshot.events if "cannot be shown" in event.text]
    scene.monitor.publish()
    assert len(events) == 1
    scene.runs("d0", running("decode-0"))
    assert scene.state("decode-0") is EngineState.STARTING, "it is shown again as soon as it makes sense"
    assert scene.monitor.snapshot.nodes["d0"].link.state is LinkState.UP


async def test_a_listener_that_fails_is_told_of_and_costs_no_other(scene: Scene) -> None:
    def fails(_snapshot: ClusterSnapshot) -> None:
        raise KeyError("gone")

    seen: list[ClusterSnapshot] = []
    scene.monitor.subscribe(fails)
    scene.monitor.subscribe(seen.append)
    scene.monitor.publish()
    scene.monitor.publish()
    assert len(seen) == 2
    assert seen[-1].faults
    assert len([event for event in seen[-1].events if "KeyError" in event.text]) == 1


async def test_a_log_that_is_replaced_without_end_keeps_a_few_copies_and_says_so_a_few_times(scene: Scene) -> None:
    scene.up("d0")
    scene.runs("d0", running("decode-0", size=5))
    for _ in range(3 * MOST_NOTES):
        scene.monitor.on_log("d0", LogChunk(key("decode-0"), 0, b"text\n", 5, "replaced"))
    copy = scene.logs.of(key("decode-0"))
    assert len(list(copy.path.parent.glob("*.log.*"))) == KEPT_EARLIER
    assert len(copy.notes) == MOST_NOTES


def steps_of(work: Callable[[], object]) -> int:
    """How many instructions of Python are done: the same on every machine, however busy; loops in one expression count too."""
    count = 0

    def trace(frame: FrameType, event: str, _arg: object) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(None)
    return count


def listing(count: int) -> bytes:
    """A list of so many living runs of engines nobody planned, all started by one person."""
    runs = [run_of(key=["other", f"e{number}", RUN], token=f"t{number}", log_size=0) for number in range(count)]
    return json.dumps({**VALID["runs"], "runs": runs}).encode()


async def test_the_work_for_a_list_of_runs_grows_as_the_list_does(tmp_path: Path) -> None:
    """Four times the runs are about four times the work, not sixteen."""
    work = {}
    for count in (MAX_RUNS // 4, MAX_RUNS):
        scene = Scene(tmp_path / str(count))
        node = Wire(scene, "d0")
        text = listing(count)

        def push(node: Wire = node, text: bytes = text, scene: Scene = scene) -> None:
            assert node.take(text) == ""
            scene.monitor.publish()

        push()
        work[count] = steps_of(push)
    assert work[MAX_RUNS] < 6 * work[MAX_RUNS // 4], work


async def test_the_work_for_replaced_logs_does_not_grow_with_their_number(scene: Scene) -> None:
    scene.up("d0")
    scene.runs("d0", running("decode-0", size=TURN_BYTES))
    chunk = LogChunk(key("decode-0"), 0, b"x" * 79 + b"\n", 80, "replaced")
    first = [steps_of(lambda: scene.monitor.on_log("d0", chunk)) for _ in range(20)]
    for _ in range(500):
        scene.monitor.on_log("d0", chunk)
    assert steps_of(lambda: scene.monitor.on_log("d0", chunk)) <= 2 * max(first)


async def test_a_node_does_not_push_the_events_of_others_out(scene: Scene) -> None:
    scene.monitor.note(EventLevel.ERROR, "what matters", node="d1")
    for number in range(5 * MOST):
        scene.monitor.on_log_error("d0", key("decode-0"), f"no {number}")
    scene.monitor.publish()
    events = scene.monitor.snapshot.events
    assert [event.text for event in events if event.node == "d1"] == ["what matters"]
    assert len(events) == MOST + 2
    assert "dropped" in events[-1].text


def host(address: str) -> Sample:
    text = f"== ssh\n10.9.9.9 5 {address} 22\n== end\n".encode()
    return Sample("host", time.time(), 0.1, 0, text)


async def test_a_node_takes_no_address_that_is_known_as_another_s(tmp_path: Path) -> None:
    """A node that is written down by name tells its address itself: its word counts for an address that nobody has."""
    named = {**CLUSTER.nodes, "d1": CLUSTER.nodes["d1"].model_copy(update={"host": "d1.lab"})}
    made = Deployment(CLUSTER.model_copy(update={"nodes": named}), LAYOUT, ASSIGNMENT)
    monitor = Monitor(made, LogBook(tmp_path, lambda _: None), {}, read_only=False)
    for _ in range(2):
        monitor.on_sample("d1", host("10.0.0.3"))
    assert monitor.deployment.address("d1") == "d1.lab"
    monitor.publish()
    said = [event.text for event in monitor.snapshot.events if event.node == "d1"]
    assert said == ["reports the address 10.0.0.3, which belongs to d0; ignored: set `ip` of the node"]
    monitor.on_sample("d1", host("10.0.0.44"))
    assert monitor.deployment.address("d1") == "10.0.0.44"


async def test_more_logs_than_are_followed_at_once_are_left_and_told_of(scene: Scene) -> None:
    scene.up("d0")
    many = [RunState(RunKey("other", f"e{number}", "r"), RunVerdict.RUNNING, log_size=1) for number in range(100)]
    scene.runs("d0", *many)
    assert len(scene.links["d0"].followed) == MOST_FOLLOWED
    scene.monitor.publish()
    assert [event for event in scene.monitor.snapshot.events if "logs to follow" in event.text]


async def test_a_reader_of_a_log_is_made_by_work_that_grows_as_its_table_does() -> None:
    """A node may list hundreds of runs, and each has a reader of its own."""
    table = [each for each in load_signatures() if each.find]
    half, whole = (steps_of(lambda found=found: Matcher(found)) for found in (table[: len(table) // 2], table))  # type: ignore[misc]
    assert whole < 3 * half
