"""Files are read as they were meant or refused with the place and the fix; what the console writes is whole or not there."""

from __future__ import annotations

import copy
import errno
import json
import os
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from console.cli.main import main
from console.commands.launch_scripts import rank_script
from console.files import (
    layout_text,
    load_assignment,
    load_cluster,
    load_layout,
    parse_layout,
    read_document,
    save_assignment,
    shipped_layouts,
    shipped_text,
    yaml_text,
)
from console.model.deployment import Assignment
from console.model.errors import ConsoleError, FileError, Problem, UsageError
from console.model.hardware import Hardware
from console.rules import capacity_notes, check
from console.services.placement.edits import example
from tests.files.broken_cases import BROKEN, Broken
from tests.shared import SHARED, needs_shared


@pytest.mark.parametrize("case", BROKEN, ids=lambda case: case.name)
def test_a_broken_file_is_told_by_line_key_and_nearest_key(
    case: Broken, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(case.text)
    code = main(["validate", "-o", "json", str(path)])
    problems = json.loads(capsys.readouterr().out)[0]["problems"]
    found = [each for each in problems if case.message in each["message"] and each["key"] == case.key]
    assert found, problems
    assert (found[0]["line"] or 0, found[0]["nearest"]) == (case.line, case.nearest)
    assert code == 2


def test_every_problem_is_listed_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("name: lab\nnodes:\n  a: {hots: x, port: y}\n  b: {porrt: 1}\nsshh: {}\n")
    with pytest.raises(FileError) as caught:
        load_cluster(path)
    keys = [(problem.line, problem.key) for problem in caught.value.problems]
    assert keys == [(3, "nodes.a.hots"), (3, "nodes.a.port"), (4, "nodes.b.porrt"), (5, "sshh")]
    assert str(caught.value.problems[0]) == f"{path}:3:7: nodes.a.hots: is not a known key here; did you mean host?"


def test_bytes_that_are_not_text_are_told_by_line(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(b"name: lab\nnodes: \xff\n")
    with pytest.raises(FileError, match=r":2:8: byte 0xff is not UTF-8"):
        load_cluster(path)


@pytest.mark.parametrize("make", ["missing", "directory", "nul"])
def test_a_file_that_cannot_be_read_is_a_file_error(make: str, tmp_path: Path) -> None:
    path = {"missing": tmp_path / "no.yaml", "directory": tmp_path, "nul": Path("a\0b.yaml")}[make]
    with pytest.raises(FileError, match="cannot be read"):
        load_cluster(path)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_give_a_value_or_a_file_error(data: bytes) -> None:
    assert all(problem.line >= 0 for problem in _layout_or_problems(data))


_SCRAPS = (
    "groups~~model~~:~~ ~~\n~~  ~~- ~~{~~}~~[~~]~~&a ~~*a~~<<: ~~!!x ~~'~~|~~>~~#~~0x1~~1e999~~null~~name~~---~~..."
)
_ODD = "%YAML 1.2~~\\~~\t~~é~~\x85~~? ~~,~~env"
PIECES = st.sampled_from((*_SCRAPS.split("~~"), *_ODD.split("~~"), '"', "~"))


def _layout_or_problems(data: bytes) -> tuple[Problem, ...]:
    """The problems of a file, none when it is a layout; anything but a FileError gets out."""
    try:
        parse_layout(data, "x.yaml")
    except FileError as error:
        return error.problems or (Problem("no problem told", -1, 0, "", ""),)
    return ()


@settings(max_examples=400, deadline=None)
@given(st.lists(PIECES, max_size=40).map("".join))
def test_any_yaml_like_text_gives_a_value_or_a_file_error(text: str) -> None:
    assert all(problem.line >= 0 for problem in _layout_or_problems(text.encode()))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(shipped_layouts()), st.integers(0, 3000), st.text(max_size=3))
def test_a_shipped_layout_with_any_edit_gives_a_value_or_a_file_error(name: str, at: int, put: str) -> None:
    text = shipped_text(name)
    edited = (text[:at] + put + text[at + 1 :]).encode("utf-8", "replace")
    assert all(0 <= problem.line <= text.count("\n") + 4 for problem in _layout_or_problems(edited))


def test_nodes_start_from_the_defaults_and_runtime_is_merged(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        "name: lab\ndefaults: {user: root, hardware: a2, runtime: {kind: docker, container: c, image: i}}\n"
        "nodes:\n  a: {runtime: {container: other}}\n  b:\n"
    )
    nodes = load_cluster(path).nodes
    assert (nodes["a"].runtime.kind, nodes["a"].runtime.container, nodes["a"].runtime.image) == ("docker", "other", "i")
    assert (nodes["b"].host, nodes["b"].user, nodes["b"].hardware.devices) == ("b", "root", 8)


@pytest.mark.parametrize("written", ["plain", "{name: plain, devices: 2, hbm_mib: 65536, dies_per_card: 2}"])
def test_a_plain_machine_has_no_npus_whatever_is_written(tmp_path: Path, written: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"name: lab\nnodes:\n  a: {{hardware: {written}}}\n")
    assert load_cluster(path).nodes["a"].hardware == Hardware(name="plain", devices=0, hbm_mib=0)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("on", "on"),
        ("010", "010"),
        ("True", "True"),
        ("1e3", "1e3"),
        ("0.90", "0.90"),
        ("yes", "yes"),
        ("12:30", "12:30"),
    ],
)
def test_a_variable_is_the_text_that_was_written(written: str, value: str) -> None:
    text = shipped_text("a3-pd").replace("HCCL_BUFFSIZE: 1024", f"HCCL_BUFFSIZE: {written}")
    assert parse_layout(text.encode(), "x").env["HCCL_BUFFSIZE"] == value


@pytest.mark.parametrize(
    ("written", "value"), [("on", "on"), ("off", "off"), ("no", "no"), ("010", "010"), ("true", True)]
)
def test_words_that_old_yaml_took_for_something_else_stay_words(written: str, value: object) -> None:
    text = shipped_text("a3-pd").replace("quantization: ascend", f"quantization: {written}")
    assert parse_layout(text.encode(), "x").args["quantization"] == value


def test_anchors_and_merge_keys_are_read() -> None:
    document = read_document(b"a: &x {k: 1, l: 2}\nb: {<<: *x, l: 3}\nc: {<<: [{k: 9}, *x]}\n", "x")
    assert document.value == {"a": {"k": 1, "l": 2}, "b": {"k": 1, "l": 3}, "c": {"k": 9, "l": 2}}


@needs_shared
@pytest.mark.shared
@pytest.mark.parametrize(
    "path", sorted((SHARED / "fixtures" / "ci-configs").glob("*.yaml")), ids=lambda path: path.stem
)
def test_foreign_files_are_read_as_their_own_loader_reads_them(path: Path) -> None:
    data = path.read_bytes()
    assert read_document(data, str(path), schema="1.1").value == yaml.safe_load(data)


@pytest.mark.parametrize("name", shipped_layouts())
def test_a_layout_written_and_read_again_is_the_same(name: str) -> None:
    layout = load_layout(name)
    again = parse_layout(layout_text(layout).encode(), "x")
    assert again.model_copy(update={"source": None}) == layout.model_copy(update={"source": None})


def test_an_unknown_layout_names_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        load_layout("a3pd")
    assert caught.value.hint == "did you mean a3-pd?"


def test_an_assignment_survives_writing_and_reading(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.yaml"
    assignment = Assignment({"prefill": ("on", "007"), "decode": ()})
    save_assignment(path, assignment)
    assert load_assignment(path) == assignment
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(path.parent) == ["a.yaml"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.yaml"
    save_assignment(path, Assignment({"g": ("a",)}))
    (tmp_path / "file").write_text("")
    with pytest.raises(ConsoleError, match="cannot be written"):
        save_assignment(tmp_path / "file" / "a.yaml", Assignment({}))

    def full(*paths: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConsoleError, match="No space left"):
        save_assignment(path, Assignment({"g": ("b",)}))
    assert load_assignment(path) == Assignment({"g": ("a",)})
    assert sorted(os.listdir(tmp_path)) == ["a.yaml", "file"]


JUNK: list[object] = [
    None,
    "",
    "x",
    -1,
    0,
    10**30,
    1.5,
    True,
    [],
    {},
    [{}],
    {"a": []},
    {"a": None},
    "é" * 200,
    "\n",
    ["a", 1],
]
CLUSTER = {
    "name": "lab",
    "defaults": {"user": "root", "hardware": "a3", "runtime": {"kind": "docker", "run_flags": ["--x"]}},
    "nodes": {
        "a": {"host": "10.0.0.1", "hardware": {"name": "x", "devices": 1, "hbm_mib": 1}},
        "b": None,
        "c": {"port": 22},
    },
    "ssh": {"config": "x"},
    "tags": ["production"],
}


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_a_file_with_any_value_replaced_is_judged_and_rendered_or_refused(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["cluster", *shipped_layouts()]))
    document = copy.deepcopy(CLUSTER) if kind == "cluster" else yaml.safe_load(shipped_text(kind))
    place: Any = document
    while True:
        key = data.draw(st.sampled_from(list(place) if isinstance(place, dict) else list(range(len(place)))))
        if isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans()):
            place = place[key]
            continue
        action = data.draw(st.sampled_from(["replace", "remove", "rename"]))
        if action == "replace" or isinstance(place, list):
            place[key] = data.draw(st.sampled_from(JUNK))
        elif action == "remove":
            del place[key]
        else:
            place[data.draw(st.sampled_from(["x", "prot", "nod", "groops", ""]))] = place.pop(key)
        break
    with TemporaryDirectory() as directory:
        path = Path(directory) / "f.yaml"
        path.write_text(yaml.safe_dump(document, allow_unicode=True))
        with suppress(ConsoleError):
            if kind == "cluster":
                load_cluster(path)
            else:
                deployment = example(load_layout(str(path)))
                check(deployment)
                capacity_notes(deployment)
                for rank in deployment.ranks()[:3]:
                    rank_script(deployment, rank)


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


@settings(max_examples=200, deadline=None)
@given(
    value=st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**60), 2**60)
        | st.floats(allow_nan=False, allow_infinity=False)
        | TEXT
        | st.from_regex(r"[-+]?[0-9.]{0,4}[eE_x:.]?[-+]?[0-9]{0,3}", fullmatch=True),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
        max_leaves=6,
    )
)
def test_any_value_of_a_flag_survives_writing_and_reading(value: object) -> None:
    read = read_document(yaml_text({"args": {"flag": value}}).encode(), "x.yaml").value
    assert repr(read) == repr({"args": {"flag": value}})
