"""What a node says of its time zone is what Python's own tables say, and stands in the record of a run."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from console.node import time_zones
from console.node.helper import hello
from console.probes.log_time import Steps
from console.remote import frame_decoding
from tests.node.driver import helper

NOW = datetime(2026, 11, 30, tzinfo=UTC).timestamp()


@pytest.fixture(autouse=True)
def _own_zone() -> Iterator[None]:
    before = os.environ.get("TZ")
    yield
    assert os.environ.get("TZ") == before, "the zone of the process is as it was"
    time.tzset()


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("Asia/Shanghai", 1),
        ("UTC", 1),
        ("America/Los_Angeles", 7),
        ("Australia/Lord_Howe", 7),
        ("Africa/Casablanca", 7),
    ],
)
def test_a_zone_by_name_is_told_as_its_changes(name: str, steps: int) -> None:
    table = time_zones.table(NOW, name)
    assert abs(len(table) - steps) <= 1
    zone, told = ZoneInfo(name), Steps(tuple((begin, east) for begin, east in table))
    for hour in range(-390 * 24, 790 * 24, 3):
        at = datetime.fromtimestamp(NOW, UTC) + timedelta(hours=hour)
        assert told(at.timestamp()) == (at.astimezone(zone).utcoffset() or timedelta()).total_seconds()
    for begin, east in table[1:]:
        assert told(begin) == east
        assert told(begin - 1) != east


def test_the_first_frame_of_a_helper_has_the_zone_of_its_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "XYZ-5:45")
        time.tzset()
        said = frame_decoding.hello(hello())
    time.tzset()
    assert [east for _, east in said.zone] == [5.75 * 3600]


@pytest.mark.parametrize(
    "zone",
    [None, "x", 3, [], [[1]], [["a", 1]], [[0, 1e9]], [[1, 0], [0, 0]], [[float("nan"), 0]], [[0, float("inf")]],
     [[10**400, 0]], [[0, 0]] * 100],
)  # fmt: skip
def test_a_table_that_is_none_is_no_zone(zone: object) -> None:
    assert frame_decoding.hello(dict(hello(), zone=zone)).zone == ()


def test_a_run_says_in_which_zone_its_log_is_stamped(tmp_path: Path) -> None:
    """The one its script sets, else that of where it runs."""
    with helper(tmp_path / "base") as node:
        for engine, env, east in (("set", {"TZ": "XYZ+3:30"}, -3.5 * 3600), ("unset", {}, None)):
            key = ("dep", engine, "r1")
            node.prepare(key, "date +%z; sleep 1000", env=env)
            state = node.ask("commit", key=key)[0]["state"]
            table = frame_decoding.run(state).zone
            assert table[-1][1] == (time.localtime().tm_gmtoff if east is None else east)
        node.stop(("dep", "set", "r1"), ("dep", "unset", "r1"))
