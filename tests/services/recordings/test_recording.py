"""Recordings: what was seen comes back as it was, without secrets, up to wherever the file ends."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.commands.masking import MASK
from console.model.errors import ConsoleError, FileError, Refused, UsageError
from console.model.snapshot import EngineState
from console.services.recordings import recording
from console.services.recordings.recording import Object, Recorder, Recording, apply_difference, difference
from console.services.recordings.replay import Replay
from tests.screens.fakes import FakeSession

_SIMPLE = st.none() | st.integers() | st.text(max_size=3)
_OBJECT = st.recursive(
    st.dictionaries(st.text(max_size=2), _SIMPLE | st.lists(_SIMPLE, max_size=2), max_size=4),
    lambda inner: st.dictionaries(st.text(max_size=2), inner | _SIMPLE, max_size=4),
    max_leaves=12,
)


@given(_OBJECT, _OBJECT)
def test_a_difference_makes_the_one_from_the_other(before: Object, after: Object) -> None:
    assert apply_difference(before, difference(before, after)) == after


def recorded(tmp_path: Path, count: int = 5, *, close: bool = True) -> tuple[Path, FakeSession]:
    """A recording of so many pictures, one a second; decode-N fails in the Nth."""
    session = FakeSession(tmp_path)
    file = tmp_path / "was.rec"
    recorder = Recorder(file)
    for number in range(count):
        session.set_state(f"decode-{number}", EngineState.FAILED, cause=f"picture {number}")
        recorder.record(replace(session.snapshot, at=1_764_000_000.0 + number), session.deployment)
        recorder.record(replace(session.snapshot, at=1_764_000_000.1 + number), session.deployment)
    if close:
        recorder.close()
    return file, session


def failed(tape: Recording, number: int) -> int:
    """How many engines had failed in a picture."""
    return sum(each.state is EngineState.FAILED for each in tape.snapshot(number).engines.values())


def test_pictures_come_back_forwards_and_backwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "WHOLE_EVERY", 2)
    file, session = recorded(tmp_path, 6)
    tape = Recording(file)
    assert tape.times == [1_764_000_000.0 + number for number in range(6)]
    assert [failed(tape, number) for number in (0, 1, 2, 5, 3, 4, 0)] == [1, 2, 3, 6, 4, 5, 1]
    assert tape.snapshot(5) == replace(session.snapshot, at=1_764_000_005.0)
    assert tape.deployment == session.deployment
    assert file.stat().st_mode & 0o077 == 0


def test_a_console_that_was_killed_leaves_what_it_had(tmp_path: Path) -> None:
    file, _ = recorded(tmp_path, close=False)
    assert len(Recording(file).times) == 5
    cut = tmp_path / "cut.rec"
    cut.write_bytes(file.read_bytes()[:-20])
    assert 1 <= len(Recording(cut).times) < 5


def test_secrets_are_not_written(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    layout = session.deployment.layout.model_copy(update={"env": {"VLLM_API_KEY": "hunter2"}})
    session.set_state("decode-0", EngineState.FAILED, cause="bad --api-key hunter3 given")
    recorder = Recorder(tmp_path / "was.rec")
    recorder.record(session.snapshot, replace(session.deployment, layout=layout))
    recorder.close()
    text = gzip.decompress((tmp_path / "was.rec").read_bytes()).decode()
    assert "hunter" not in text
    assert MASK in text
    assert Recording(tmp_path / "was.rec").snapshot(0).engines["decode-0"].state is EngineState.FAILED


def test_a_recording_is_never_written_over(tmp_path: Path) -> None:
    file, _ = recorded(tmp_path)
    before = file.read_bytes()
    with pytest.raises(UsageError, match="File exists"):
        Recorder(file)
    assert file.read_bytes() == before


def test_a_recording_stops_at_its_bound_and_stays_readable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "MOST_BYTES", 2000)
    file, _ = recorded(tmp_path, 5)
    assert len(Recording(file).times) == 1


HEAD = json.dumps({"format": recording.FORMAT}).encode() + b"\n"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no gzip",
        gzip.compress(b"no json\n"),
        gzip.compress(b"{}\n"),
        gzip.compress(HEAD),
        gzip.compress(HEAD + b'{"whole":{"at":1}}\n'),
        gzip.compress(b'{"a":' * 100_000 + b"\n"),
    ],
    ids=["empty", "no gzip", "no json", "no head", "no picture", "no cluster", "nested"],
)
def test_what_is_no_recording_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(FileError, match="x: ") as caught:
        Recording(tmp_path / "x")
    assert caught.value.exit_code == 2
    assert "--record FILE" in caught.value.hint


def test_a_broken_picture_is_named(tmp_path: Path) -> None:
    file, _ = recorded(tmp_path, 2)
    lines = gzip.decompress(file.read_bytes()).splitlines()
    lines[2] = json.dumps({"then": {"+": {"at": 1_764_000_001.0}, ">": {"nobody": {}}}}).encode()
    file.write_bytes(gzip.compress(b"\n".join(lines) + b"\n"))
    with pytest.raises(ConsoleError, match="snapshot 2 cannot be read"):
        Recording(file).snapshot(1)


async def test_a_replay_can_be_stepped_and_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    file, _ = recorded(tmp_path)
    replay = Replay(Recording(file))
    seen: list[float] = []
    replay.subscribe(lambda picture: seen.append(picture.at - 1_764_000_000.0))
    replay.tape.step(2)
    replay.tape.step(-1)
    replay.tape.skip(60)
    replay.tape.step(9)
    assert seen == [2.0, 1.0, 4.0, 4.0]
    assert replay.tape.words.endswith("end 5/5")
    with pytest.raises(Refused, match="read-only"):
        await replay.operator.prepare("stop", ["decode-0"])
    with pytest.raises(Refused, match="replay"):
        replay.assign(None, ["p0"])
    with pytest.raises(Refused, match="replay"):
        replay.undo()
