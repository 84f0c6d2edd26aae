"""What is refused below the base directory, what is kept and thrown away, and that nothing leaves it."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from console.node import run_dirs, runs
from console.node.file_reading import read_part
from console.node.request_error import RequestError
from console.node.run_dirs import Base, Key, key_of
from tests.node.driver import Refused, helper
from tests.waiting import until_blocking

KEY = ("dep", "decode-5", "r1")


@pytest.mark.parametrize(
    "value",
    [
        ("..", "e", "r"),
        ("d", "../e", "r"),
        ("d", "e", ""),
        ("d", "e", ".r"),
        ("d", "e"),
        "d/e/r",
        ("d", "e", "r\n"),
        ("d", 1, "r"),
    ],
    ids=repr,
)
def test_a_run_has_plain_names(value: object) -> None:
    with pytest.raises(RequestError) as refused:
        key_of(value)
    assert refused.value.kind == "bad-request"


def test_a_base_of_another_user_is_refused_in_words(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir(mode=0o700)
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    os.chown(base, 12345, -1)
    with helper(base) as node:
        with pytest.raises(Refused, match=r"refused: .*belongs to uid 12345"):
            node.prepare(KEY, "exit 0")
        until_blocking(lambda: "belongs to uid 12345" in node.error)


def test_a_base_that_others_may_write_is_refused(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    base.chmod(0o777)
    with helper(base) as node, pytest.raises(Refused, match=r"refused: .*other users can write to"):
        node.prepare(KEY, "exit 0")


@pytest.mark.parametrize("level", ["", "dep", "dep/decode-5", "dep/decode-5/runs"])
def test_a_link_in_the_path_is_refused(tmp_path: Path, level: str) -> None:
    base, elsewhere = tmp_path / "base", tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    link = base / level if level else base
    link.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    link.symlink_to(elsewhere)
    with helper(base) as node, pytest.raises(Refused, match=r"refused: .*symbolic link"):
        node.prepare(KEY, "exit 0")
    assert not list(elsewhere.iterdir())


def test_a_linked_run_is_not_launched_from(tmp_path: Path) -> None:
    base = tmp_path / "base"
    with helper(base) as node:
        node.prepare(KEY, "touch " + str(tmp_path / "ran"))
        run = base / "dep/decode-5/runs/r1"
        run.rename(tmp_path / "moved")
        run.symlink_to(tmp_path / "moved")
        with pytest.raises(Refused, match="refused"):
            node.ask("commit", key=KEY)
    assert not (tmp_path / "ran").exists()


def test_a_base_is_made_private(tmp_path: Path) -> None:
    with helper(tmp_path / "some/where/base") as node:
        node.prepare(KEY, "exit 0")
    assert (tmp_path / "some/where/base").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "some/where/base/dep/decode-5/runs/r1/spec.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "dep/../../secret", "link", "dep/link/secret", ""])
def test_reading_never_leaves_the_base(tmp_path: Path, path: str) -> None:
    (tmp_path / "secret").write_text("secret")
    base = tmp_path / "base"
    (base / "dep").mkdir(parents=True)
    base.chmod(0o700)
    (base / "link").symlink_to(tmp_path / "secret")
    (base / "dep/link").symlink_to(tmp_path)
    with pytest.raises(RequestError):
        read_part(Base(str(base)), None, path, 0, 100)


def test_reading_gives_a_part_and_the_size(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir(mode=0o700)
    (base / "file").write_bytes(b"0123456789")
    assert read_part(Base(str(base)), None, "file", 3, 4) == (b"3456", 10)


@pytest.mark.parametrize(
    ("now", "expected", "there", "launched"),
    [
        ("20260101T000000Z-aaaa", None, False, False),
        ("20260101T000000Z-aaaa", "20260102T000000Z-bbbb", True, True),
        ("20260101T000000Z-aaaa", "20260102T000000Z-bbbb", False, False),
        ("20260103T000000Z-cccc", "20260102T000000Z-bbbb", True, False),
    ],
    ids=["planned as never launched", "by a console whose clock is behind", "planned run is gone", "a newer run"],
)
def test_a_plan_from_before_somebody_launched_is_refused(
    tmp_path: Path, now: str, expected: str | None, there: bool, launched: bool
) -> None:
    for name in [now, *([expected] if expected and there else [])]:
        (tmp_path / "runs" / name).mkdir(parents=True)
    run_dirs.write_json(str(tmp_path / "runs" / now / runs.SPEC), {"owner": "ann"})
    if launched:
        run_dirs.write_json(str(tmp_path / "runs" / str(expected) / runs.RUN), {"pid": 1})
    (tmp_path / runs.CURRENT).write_text(now)
    with pytest.raises(RequestError, match="launched by ann since"):
        runs.check_expected(str(tmp_path), expected)


def test_a_plan_from_a_run_that_was_prepared_and_never_launched_is_right(tmp_path: Path) -> None:
    (tmp_path / "runs/20260102T000000Z-bbbb").mkdir(parents=True)
    runs.check_expected(str(tmp_path), "20260102T000000Z-bbbb")
    (tmp_path / runs.CURRENT).write_text("20260101T000000Z-aaaa")
    runs.check_expected(str(tmp_path), "20260102T000000Z-bbbb")
    runs.check_expected(str(tmp_path), "20260101T000000Z-aaaa")


def ended(base: Base, run: str, *, failed: bool, size: int = 0, days_ago: float = 30.0) -> None:
    """An old run of the engine, as a supervisor leaves it."""
    key = Key("dep", "decode-5", run)
    runs.prepare(base, key, {}, b"", None)
    run_dirs.write_json(base.file(key, runs.RUN), {"pid": 1})
    run_dirs.write_json(base.file(key, runs.EXIT), {"code": 1})
    run_dirs.write_file(base.file(key, runs.LOG), b"x" * size)
    if not failed:
        run_dirs.write_json(base.file(key, runs.STOP), {})
    at = time.time() - days_ago * 86400
    for name in (runs.RUN, runs.EXIT, runs.LOG):
        os.utime(base.file(key, name), (at, at))


def test_old_runs_go_by_count_but_never_the_newest_failed_or_a_living_one(tmp_path: Path) -> None:
    base = Base(str(tmp_path / "base"))
    for number in range(20):
        ended(base, f"r{number:02}", failed=number in (1, 3))
    gone = runs.prune(base, Key("dep", "decode-5", "r19"), ["r05"])
    assert gone == ["r09", "r08", "r07", "r06", "r04", "r02", "r01", "r00"]
    assert base.names("dep", "decode-5", "runs")[:3] == ["r03", "r05", "r10"]


def test_what_failed_in_the_last_week_is_kept_whatever_its_number_and_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "KEPT_BYTES", 100_000)
    base = Base(str(tmp_path / "base"))
    for number in range(6):
        ended(base, f"r{number}", failed=number < 5, size=50_000, days_ago=8.0 if number < 2 else 6.0)
    assert runs.prune(base, Key("dep", "decode-5", "r5"), []) == ["r1", "r0"]


def test_the_newest_failed_run_stays_while_the_run_that_was_just_launched_has_no_end_yet(tmp_path: Path) -> None:
    base = Base(str(tmp_path / "base"))
    for number in range(15):
        ended(base, f"r{number:02}", failed=number == 1, days_ago=30.0)
    (tmp_path / "base/dep/decode-5/runs/r14/exit.json").unlink()
    (tmp_path / "base/dep/decode-5/runs/r14/stop.json").unlink()
    assert runs.prune(base, Key("dep", "decode-5", "r14"), []) == ["r04", "r03", "r02", "r00"]


def test_an_engine_that_fails_in_a_loop_does_not_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "KEPT_FAILED", 12)
    base = Base(str(tmp_path / "base"))
    for number in range(20):
        ended(base, f"r{number:02}", failed=True, days_ago=0.0)
    assert len(runs.prune(base, Key("dep", "decode-5", "r19"), [])) == 7, "the newest of 20, and 12 before it, stay"


def test_old_runs_go_by_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "KEPT_BYTES", 2_500_000)
    base = Base(str(tmp_path / "base"))
    for number in range(5):
        ended(base, f"r{number}", failed=False, size=1_000_000)
    assert runs.prune(base, Key("dep", "decode-5", "r4"), []) == ["r2", "r1", "r0"]
    assert base.names("dep", "decode-5", "runs") == ["r3", "r4"]


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        run_dirs.write_file(str(path), b"new")
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_drafts_of_a_killed_helper_are_thrown_away_later(tmp_path: Path) -> None:
    base = Base(str(tmp_path / "base"))
    ended(base, "r1", failed=False)
    draft = tmp_path / "base/dep/decode-5/runs/.r2.abcd"
    shutil.copytree(tmp_path / "base/dep/decode-5/runs/r1", draft)
    runs.prune(base, Key("dep", "decode-5", "r1"), [])
    assert draft.exists(), "somebody may be writing it now"
    os.utime(draft, (1, 1))
    runs.prune(base, Key("dep", "decode-5", "r1"), [])
    assert not draft.exists()
