"""Logs arrive byte for byte: restarts are said, late files are waited for, and a flood starves nobody."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.node.driver import Driver, Key, helper
from tests.waiting import until_blocking

KEY: Key = ("dep", "decode-5", "r1")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Driver]:
    with helper(tmp_path / "base") as driver:
        yield driver


def log_of(node: Driver, key: Key = KEY) -> Path:
    path = node.base / key[0] / key[1] / "runs" / key[2] / "out.log"
    if not path.parent.exists():
        node.prepare(key, "exit 0")
    return path


def got(node: Driver, key: Key = KEY) -> bytes:
    return bytes(node.logs.get(key, b""))


def test_any_bytes_arrive_as_they_are(node: Driver) -> None:
    data = bytes(range(256)) * 100 + b"\r  5%\r 10%\xff\xfe" + b"x" * (10 * 1024 * 1024) + b"\n"
    log_of(node).write_bytes(data)
    node.notify("follow", key=KEY, offset=0)
    until_blocking(lambda: len(got(node)) == len(data))
    assert got(node) == data


def test_a_file_that_appears_late_is_followed(node: Driver) -> None:
    path = log_of(node)
    node.notify("follow", key=KEY, offset=0)
    node.ask("ping")
    path.write_bytes(b"late")
    until_blocking(lambda: got(node) == b"late")


def test_following_goes_on_from_an_offset(node: Driver) -> None:
    log_of(node).write_bytes(b"0123456789")
    node.logs[KEY] = bytearray(b"01234")
    node.notify("follow", b"01234", key=KEY, offset=5)
    until_blocking(lambda: got(node) == b"0123456789")


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (b"another file, longer than before", "replaced"),
        (b"WHAT THE COPY HAS", "replaced"),
        (b"short", "truncated"),
        (b"", "truncated"),
    ],
    ids=["other", "of the same length", "shorter", "empty"],
)
def test_another_file_than_the_copy_is_of_is_said(node: Driver, now: bytes, why: str) -> None:
    log_of(node).write_bytes(now)
    node.logs[KEY] = bytearray(b"what the copy has")
    node.notify("follow", b"what the copy has", key=KEY, offset=17)
    until_blocking(lambda: got(node) == now)
    assert [why] == [push["restarted"] for push in node.pushes if push["push"] == "log"]


def test_a_log_that_is_truncated_or_replaced_meanwhile_is_read_anew(node: Driver) -> None:
    path = log_of(node)
    path.write_bytes(b"first contents\n")
    node.notify("follow", key=KEY, offset=0)
    until_blocking(lambda: got(node) == b"first contents\n")
    path.write_bytes(b"short\n")
    until_blocking(lambda: got(node) == b"short\n")
    (path.parent / "new").write_bytes(b"a file of the same length or more\n")
    os.rename(path.parent / "new", path)
    until_blocking(lambda: got(node) == b"a file of the same length or more\n")
    said = [push["restarted"] for push in node.pushes if push["push"] == "log" and push["restarted"]]
    assert said == ["truncated", "replaced"]


@pytest.mark.parametrize(
    "now",
    [
        b"head two\nother lines, longer than what was there before\n",
        b"head two\nbody one\n",
        b"head one\nbody two\nmore\n",
    ],
    ids=["longer", "of the same length", "with the same head"],
)
def test_a_log_that_is_rewritten_in_place_is_read_anew(node: Driver, now: bytes) -> None:
    """The same file, never seen shorter than what was read of it."""
    path = log_of(node)
    path.write_bytes(b"head one\nbody one\n")
    inode = path.stat().st_ino
    node.notify("follow", key=KEY, offset=0)
    until_blocking(lambda: got(node) == b"head one\nbody one\n")
    with path.open("r+b") as file:
        file.write(now)
    assert path.stat().st_ino == inode
    until_blocking(lambda: got(node) == now)
    assert "rewritten" in [push["restarted"] for push in node.pushes if push["push"] == "log"]
    with path.open("ab") as file:
        file.write(b"and on\n")
    until_blocking(lambda: got(node) == now + b"and on\n")


def test_a_copy_that_goes_on_notices_that_its_log_is_rewritten(node: Driver) -> None:
    path = log_of(node)
    path.write_bytes(b"head one\nbody one\n")
    node.logs[KEY] = bytearray(b"head one\nbody one\n")
    node.notify("follow", b"head one\nbody one\n", key=KEY, offset=18)
    node.ask("ping")
    with path.open("r+b") as file:
        file.write(b"head two\nbody two\n")
    until_blocking(lambda: got(node) == b"head two\nbody two\n")


def test_a_log_that_only_grows_is_never_said_to_be_another(node: Driver) -> None:
    path = log_of(node)
    path.write_bytes(b"")
    node.notify("follow", key=KEY, offset=0)
    written = b""
    with path.open("ab", buffering=0) as file:
        until = time.monotonic() + 3.0
        while time.monotonic() < until:
            piece = b"line %d of many\n" % len(written) * (1 + len(written) % 7)
            file.write(piece)
            written += piece
            node.ask("ping")
    until_blocking(lambda: got(node) == written)
    assert not [push for push in node.pushes if push["push"] == "log" and push["restarted"]]


def test_a_reader_that_gives_no_credit_is_sent_one_window(node: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    log_of(node).write_bytes(b"x" * 3_000_000)
    monkeypatch.setattr(Driver, "_credit", lambda *_: None)
    node.notify("follow", key=KEY, offset=0)
    until_blocking(lambda: len(got(node)) == 1024 * 1024)
    node.ask("ping")
    assert len(got(node)) == 1024 * 1024
    node.notify("credit", key=KEY, bytes=1000)
    until_blocking(lambda: len(got(node)) == 1024 * 1024 + 1000)


def test_a_flood_starves_no_other_log(node: Driver) -> None:
    quiet: Key = ("dep", "quiet", "r1")
    log_of(node).write_bytes(b"x" * 200_000_000)
    path = log_of(node, quiet)
    path.write_bytes(b"")
    node.notify("follow", key=quiet, offset=0)
    node.notify("follow", key=KEY, offset=0)
    until_blocking(lambda: len(got(node)) > 1_000_000)
    waits = []
    for number in range(10):
        began = time.monotonic()
        with path.open("ab") as file:
            file.write(b"line %d\n" % number)
        until_blocking(lambda number=number: got(node, quiet).endswith(b"line %d\n" % number))  # type: ignore[misc]
        waits.append(time.monotonic() - began)
    assert len(got(node)) < 200_000_000, "the flood was still running"
    assert max(waits) < 2.0


def test_unfollowed_logs_are_silent(node: Driver) -> None:
    path = log_of(node)
    path.write_bytes(b"one")
    node.notify("follow", key=KEY, offset=0)
    until_blocking(lambda: got(node) == b"one")
    node.notify("unfollow", key=KEY)
    node.ask("ping")
    path.write_bytes(b"onetwo")
    other: Key = ("dep", "other", "r1")
    log_of(node, other).write_bytes(b"seen")
    node.notify("follow", key=other, offset=0)
    until_blocking(lambda: got(node, other) == b"seen")
    assert got(node) == b"one"
