"""Results are kept whole, once, by two consoles at once; a broken file is said, never overwritten."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from console.evaluation.records import Ending, Kind, NpuSample, NpuUse, ServedSample, TimePoint, Tool
from console.evaluation.result_store import Filter, ResultStore
from console.model.errors import ConsoleError
from tests.evaluation.figures import record

FULL = record(
    timeline=(TimePoint(0.0, 12.5, 4), TimePoint(1.0, 0.0, None)),
    npu=NpuUse(51.5, 97.0, 61000, None, 0.8, (NpuSample(1795466400.0, "p0", None, 60999, 1234.5),)),
    warnings=("one",),
    ending=Ending.FAILED,
    error="half-written",
)


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(tmp_path / "state" / "results.sqlite")


def test_a_result_comes_back_as_it_was(store: ResultStore) -> None:
    assert store.add(FULL)
    assert store.get(FULL.run) == FULL
    assert store.has(FULL.run)
    assert oct(store.path.stat().st_mode)[-3:] == "600"


def test_the_first_of_two_results_of_one_run_stays(store: ResultStore) -> None:
    store.add(record(by="first"))
    assert not store.add(record(by="second"))
    assert store.get(record().run).by == "first"


def test_results_are_found_newest_first_by_what_they_are(store: ResultStore) -> None:
    store.add(record("run-1", started_at=1.0))
    store.add(record("run-2", started_at=2.0, tool=Tool.AISBENCH, kind=Kind.ACCURACY, subject="gsm8k"))
    store.add(record("run-3", started_at=3.0, deployment="other"))
    assert [each.run for each in store.find()] == ["run-3", "run-2", "run-1"]
    assert [each.run for each in store.find(Filter(deployment="pd", kind="performance"))] == ["run-1"]
    assert [each.run for each in store.find(Filter(limit=1))] == ["run-3"]
    assert store.find(Filter(subject="gpqa")) == ()


def test_a_beginning_of_a_run_id_is_enough_when_only_one_has_it(store: ResultStore) -> None:
    store.add(record("20261123T1-aaaa"))
    store.add(record("20261123T1-aab_"))
    assert store.get("20261123T1-aaa").run == "20261123T1-aaaa"
    assert store.get("20261123T1-aab_").run == "20261123T1-aab_"
    with pytest.raises(ConsoleError, match="matches several"):
        store.get("20261123T1-a")
    with pytest.raises(ConsoleError, match="no result '%'"):
        store.get("%")


def test_a_removed_result_takes_its_samples_with_it(store: ResultStore) -> None:
    store.add(FULL)
    store.add_samples(FULL.run, [NpuSample(1.0, "p0", 10.0, 5, None)])
    assert store.remove(FULL.run)
    assert not store.remove(FULL.run)
    assert store.samples(FULL.run) == ()


def test_a_sample_that_two_consoles_saw_is_kept_once_and_unknown_stays_unknown(store: ResultStore) -> None:
    first = NpuSample(1.0, "p0", None, 61000, None)
    second = NpuSample(2.0, "p0", 50.0, None, 310.0)
    store.add_samples("r", [second, first])
    ResultStore(store.path).add_samples("r", [first])
    assert store.samples("r") == (first, second)


def test_what_engines_served_is_kept_by_time_and_once(store: ResultStore) -> None:
    later, earlier = ServedSample(20.0, 400.0, 4), ServedSample(10.0, 0.0, 0)
    for sample in (later, earlier, later):
        store.add_served("r", sample)
    assert store.served("r") == (earlier, later)


def test_two_consoles_write_at_once_and_nothing_is_lost(store: ResultStore) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from console.evaluation.result_store import ResultStore\n"
        "from tests.evaluation.figures import record\n"
        "store = ResultStore(Path(sys.argv[1]))\n"
        "for index in range(25): store.add(record(f'{sys.argv[2]}-{index}'))\n"
    )
    consoles = [subprocess.Popen([sys.executable, "-c", code, str(store.path), name]) for name in ("a", "b")]
    assert [console.wait(60) for console in consoles] == [0, 0]
    assert {each.run for each in store.find()} == {f"{name}-{index}" for name in "ab" for index in range(25)}


def test_a_file_that_is_no_database_is_an_error_and_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "results.sqlite"
    path.write_bytes(b"this is no database, but somebody's notes " * 20)
    before = path.read_bytes()
    with pytest.raises(ConsoleError, match="cannot be used"):
        ResultStore(path).add(record())
    assert path.read_bytes() == before


def test_a_file_of_a_newer_console_is_not_touched(store: ResultStore) -> None:
    store.add(record())
    with sqlite3.connect(store.path) as file:
        file.execute("PRAGMA user_version = 7")
    file.close()
    with pytest.raises(ConsoleError, match="newer console"):
        store.find()


def test_a_directory_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConsoleError, match="cannot be used"):
        ResultStore(tmp_path / "file" / "results.sqlite").find()
