"""A recording on the screen: unmistakably one, moved by keys, and read-only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from console.model.snapshot import EngineState
from console.services.recordings.recording import Recorder, Recording
from console.services.recordings.replay import Replay
from screens.app import ConsoleApp
from screens.options import Options
from tests.screens.fakes import FakeSession
from tests.screens.seen import LARGE, SMALL, Clock, Seen, running
from tests.screens.terminal import Terminal


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
async def test_a_replay_is_labelled_and_moves_by_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    session = FakeSession(tmp_path)
    recorder = Recorder(tmp_path / "was.rec")
    for number in range(4):
        session.set_state(f"decode-{number}", EngineState.FAILED, cause="out of memory")
        recorder.record(replace(session.snapshot, at=1_764_000_000.0 + 1000 * number), session.deployment)
    recorder.close()
    replay = Replay(Recording(tmp_path / "was.rec"))
    replay.tape.playing = False
    app = ConsoleApp(replay, Options(), clock=Clock(1.0))
    async with app.run_test(size=size) as pilot:
        seen = Seen(app, pilot, session, Clock(1.0))
        await seen.sees("REPLAY")
        await seen.sees("held 1/4")
        assert "RW" not in seen.text()
        assert "Start" not in seen.lines()[-1]
        await seen.press("full_stop", "full_stop")
        await seen.sees("held 3/4")
        await seen.sees("3 FAILED")
        await seen.press("comma")
        await seen.sees("2 FAILED")
        await seen.press("x")
        await seen.sees(lambda: "read-only" in seen.toasts())
        await seen.press("7")
        await seen.sees("2 of 2 nodes")
        await seen.press("right_curly_bracket")
        await seen.sees("held 3/4")
        await seen.press("f8", "f8")
        assert replay.tape.speed == 16


async def test_time_keys_elsewhere_say_that_this_is_no_replay(tmp_path: Path) -> None:
    async with running(FakeSession(tmp_path)) as seen:
        await seen.press("f7")
        await seen.sees(lambda: "this is not a replay" in seen.toasts())


@pytest.mark.parametrize("content", [None, b"", b"name: lab\n"], ids=["no file", "empty", "a cluster file"])
def test_a_file_that_is_no_recording_ends_the_command_with_a_usage_error(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "lab.yaml"
    if content is not None:
        file.write_bytes(content)
    with Terminal.of_module("console", "--replay", str(file)) as terminal:
        assert terminal.ended() == 2
        assert b"lab.yaml: " in terminal.received
        assert b"dsv4-console --record FILE" in terminal.received
