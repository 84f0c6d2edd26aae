"""Every log of a failure that is at hand against every signature: what each is explained by, how often that is right."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from console.diagnosis.signatures import load_signatures
from console.probes.engine_log import LaunchLog
from console.services.serving.log_files import FileDiagnosis, LogText, diagnose
from tests.diagnosis.field_logs import FieldLog, field_logs
from tests.probes.captures import HERE
from tests.shared import SHARED, needs_shared

SIGNATURES = load_signatures()
LOGS = {each.name: each for each in field_logs()}
WRITTEN_AT = 1795466400.0
WRAPPER = re.compile(
    r"^(?:Traceback|The above exception|During handling|TimeoutError$|\w+(?:Error|Exception):?$|EngineCore (?:failed|encountered)"
    r"|WorkerProc|Exception: WorkerProc|RuntimeError: Engine core init)"
)

FIELD = {
    "aivector": "C8", "dp-coordinator": "A26", "host-register": "C21", "import-name": "A21", "iso-date": "D14",
    "ray-no-npu": "A25", "rootinfo-old": "B5", "sample-tokens": "F3", "socversion": "D19", "store-broken-pipe": "B24",
    "threads": "C22",
}  # fmt: skip
CAPTURES = {
    "start_requests_sigterm": None, "sigterm_inflight": None, "sigint_inflight": None, "kill9_apiserver": None,
    "port_shared_with_other_vllm_SO_REUSEPORT": None, "dp/hl_node1": None, "dp/internal_dp2": None,
    "fail/tokenizer_mode_deepseek_v4_wrong_model": None, "dp/a3_node0": "A2", "dp/a3_node1": "A2", "dp/ext_rank0": "F10",
    "dp/ext_rank1": "C18", "dp/hl_node0": "F10", "engine_dead_on_first_request": "A29", "kill9_enginecore": "F1",
    "fail/bad_flag": "A20", "fail/bad_json": "A20", "fail/dp2_worker_segfault_on_request": "F11",
    "fail/external_lb_nonmoe": "A10", "fail/kv_connector_unknown": "A28", "fail/max_model_len_too_long": "A28",
    "fail/missing_model_path": "D8", "fail/model_dir_without_config": "D8", "fail/port_in_use_by_other": "A11",
    "fail/quantization_ascend_without_plugin": "D9", "fail/rank_and_start_rank": "A9",
    "fail/reasoning_parser_unknown": "A19", "fail/tool_parser_unknown": "A19", "fail/tp2_odd_heads": "A28",
}  # fmt: skip


def _told(text: str, name: str = "mixed-0") -> FileDiagnosis:
    return diagnose([LogText(f"{name}.log", name, text, WRITTEN_AT)], SIGNATURES)


def _first(text: str) -> str | None:
    first = _told(text).first
    return first.diagnosis.signature if first else None


def _captured() -> Iterator[tuple[str, str, str | None]]:
    folders = [HERE / "vllm/engine", SHARED / "fixtures/vllm/engine"]
    for name, right in CAPTURES.items():
        path = next((each / f"{name}.log" for each in folders if (each / f"{name}.log").exists()), None)
        if path is not None:
            yield name, path.read_text(errors="replace"), right
    for name, right in FIELD.items():
        path = SHARED / "fixtures/field/logs" / f"{name}.log"
        if path.exists():
            yield name, path.read_text(), right


@pytest.mark.parametrize("log", LOGS.values(), ids=list(LOGS))
def test_the_right_cause_is_named(log: FieldLog) -> None:
    assert _first(log.text) == log.right, log.record


def test_each_kind_is_tried_in_several_wordings() -> None:
    kinds = ("A21", "A25", "B5", "B24", "C8", "C21", "C22", "D8", "D14", "D19", "D20", "D21", "F3")
    assert {kind for kind in kinds if sum(each.right == kind for each in LOGS.values()) < 2} == set()


@needs_shared
@pytest.mark.parametrize("name", sorted(FIELD))
def test_what_the_field_read_wrong_is_right(name: str) -> None:
    assert _first((SHARED / "fixtures/field/logs" / f"{name}.log").read_text()) == FIELD[name]


def test_precision_and_recall_over_all_logs(capsys: pytest.CaptureFixture[str]) -> None:
    """Each signature: in how many logs it was named first, in how many rightly, and how many were its own."""
    rows = [(each.name, each.text, each.right) for each in LOGS.values()] + list(_captured())
    named = [(right, _first(text)) for _, text, right in rows]
    lines = []
    for id in sorted({id for pair in named for id in pair if id is not None}):
        own, told = sum(right == id for right, _ in named), sum(first == id for _, first in named)
        both = sum(right == first == id for right, first in named)
        lines.append((id, own, told, both))
    told, right = sum(first is not None for _, first in named), sum(a == b for a, b in named if b is not None)
    own = sum(a is not None for a, _ in named)
    with capsys.disabled():
        print(f"\n{len(named)} logs, {own} failures: precision {right / told:.3f}, recall {right / own:.3f}")
        for id, mine, all_, both in lines:
            if both < max(mine, all_):
                print(f"  {id}: {mine} logs, named first in {all_}, rightly in {both}")
    assert (right / told, right / own) == (1.0, 1.0)


def test_the_line_that_is_shown_is_never_a_wrapper_where_a_better_one_stands() -> None:
    shown = {}
    for name, text, right in [(each.name, each.text, each.right) for each in LOGS.values()] + list(_captured()):
        if right not in (None, "F1", "A23"):
            launch = LaunchLog()
            launch.feed(text.encode() + b"\n", WRITTEN_AT)
            first = _told(text).first
            assert first is not None, name
            shown[name] = (launch.state.first_error, first.diagnosis.text.rpartition("] ")[2])
    assert {name: lines for name, lines in shown.items() if any(WRAPPER.match(line) for line in lines)} == {}


@needs_shared
def test_of_two_ranks_the_first_in_true_time_is_named() -> None:
    folder = SHARED / "fixtures/field/logs/two-ranks"
    logs = [LogText(str(path), path.stem, path.read_text(), WRITTEN_AT) for path in sorted(folder.iterdir())]
    for order in (logs, logs[::-1]):
        told = diagnose(order, SIGNATURES)
        assert told.first is not None
        assert (told.first.diagnosis.engine, told.first.diagnosis.signature, told.first.line) == ("mixed-0", "C1", 6)
        assert [each.diagnosis.signature for each in told.causes] == ["C1", "D16"]


def _deaths(*names: str) -> FileDiagnosis:
    folder = HERE / "vllm/engine/deaths"
    return diagnose([LogText(f"{n}.log", n, (folder / f"{n}.log").read_text(), WRITTEN_AT) for n in names], SIGNATURES)


@pytest.mark.parametrize(
    ("dead", "peer", "signature"),
    [
        ("core-kill-b", "core-kill-a", "F10"),
        ("core0-kill-a", "core0-kill-b", "F1"),
        ("worker-kill-b", "worker-kill-a", "F2"),
    ],
)
def test_of_real_deaths_the_killed_rank_is_named(dead: str, peer: str, signature: str) -> None:
    told = _deaths(peer, dead)
    assert told.first is not None
    assert (told.first.diagnosis.engine, told.first.diagnosis.signature) == (dead, signature)
