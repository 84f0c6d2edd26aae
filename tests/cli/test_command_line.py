"""The command line as a program from outside meets it: where options may stand, odd streams, odd locales, completion."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from console.cli.main import CHANGING, COMMANDS, main
from console.cli.options import layout_of, remember_layout, remembered_layout
from console.cli.output import OperationData, print_data
from console.cli.screen import must_be_terminal
from console.files import load_layout, shipped_layouts, shipped_text
from console.model.cluster import Cluster
from console.model.errors import UsageError
from console.model.plan import Confirm, Outcome, Plan, PlanResult, Stage, Step, StepEvent

LAB = "name: lab\nnodes: {p0: {host: 10.0.0.1}, p1: {host: 10.0.0.2}, d0: {host: 10.0.0.3}, d1: {host: 10.0.0.4}}\n"


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("DSV4_CLUSTER", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lab.yaml").write_text(LAB)


@pytest.mark.parametrize(
    "words",
    [
        ("--cluster", "lab.yaml", "--layout", "a3-pd", "plan", "-o", "json"),
        ("--layout=a3-pd", "-c", "lab.yaml", "--readonly", "plan", "-o", "json"),
        ("--layout", "a3-pd", "plan", "-o", "json", "--cluster", "lab.yaml"),
        ("plan", "--cluster", "lab.yaml", "--layout", "a3-pd", "-o", "json"),
    ],
)
def test_shared_options_may_stand_before_or_behind_the_command(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    roles = ("--assign", "prefill=p0,p1", "--assign", "decode=d0,d1")
    for placed in ((*words, *roles), (*roles, *words)):
        assert main(placed) == 0
        assert len(json.loads(capsys.readouterr().out)["ranks"]) == 18


def test_what_is_behind_the_command_wins_and_a_wrong_command_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--layout", "a2-pd", "plan", "--layout", "a3-pd", "-o", "json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["ranks"]) == 18
    assert main(["--layout", "plan", "plna"]) == 2
    assert "did you mean plan?" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["layouts", "validate a3-pd lab.yaml"])
def test_lists_are_printed_one_by_one_for_programs(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.split(), "-o", "json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert main([*command.split(), "-o", "jsonl"]) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == whole


def _run(words: str, redirection: str = "", **env: str) -> subprocess.CompletedProcess[bytes]:
    shell = (
        f'"{sys.executable}" -c "import sys; from console.cli.main import main; sys.exit(main())" {words} {redirection}'
    )
    root = str(Path(__file__).resolve().parents[2])
    given = {**os.environ, "PYTHONPATH": root, **env}
    return subprocess.run(["bash", "-c", shell], capture_output=True, check=False, env=given)


PLAIN = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def test_a_locale_without_utf_8_changes_no_byte_of_what_a_pipe_gets(tmp_path: Path) -> None:
    text = shipped_text("a3-pd").replace("title: DeepSeek", "title: 深度求索 DeepSeek")
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    for words in ("plan --layout mine.yaml", "layouts", "validate mine.yaml -o json", "export --layout mine.yaml"):
        plain, usual = _run(words, **PLAIN), _run(words, PYTHONUTF8="1")
        assert (plain.returncode, plain.stdout) == (0, usual.stdout), plain.stderr


def test_a_name_that_is_no_text_is_shown_escaped() -> None:
    done = _run(r"plan --layout $'no\xff.yaml'")
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("redirection", "code", "said"),
    [
        (">/dev/full", 1, b"No space left on device"),
        (">&-", 0, b"are examples"),
        ("2>&-", 0, b""),
        ("| head -1", 0, b"are examples"),
    ],
)
def test_output_that_cannot_be_written_ends_in_one_line_at_most(redirection: str, code: int, said: bytes) -> None:
    done = _run("plan --layout a3-pd", redirection)
    assert done.returncode == code
    assert said in done.stderr
    assert b"Traceback" not in done.stderr


def test_without_stderr_no_talk_gets_into_the_data() -> None:
    done = _run("plan --layout nope", "2>&-")
    assert (done.returncode, done.stdout) == (2, b"")


def test_a_state_directory_that_cannot_be_made_is_named() -> None:
    done = _run("assign --cluster lab.yaml --layout a3-pd --auto", XDG_STATE_HOME="/dev/null")
    assert done.returncode == 1
    assert done.stderr.startswith(b"dsv4-console: /dev/null/dsv4-console")
    assert b"Traceback" not in done.stderr


def test_a_shell_completes_commands_options_layouts_and_files(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out

    def completed(*words: str) -> set[str]:
        ask = 'COMP_WORDS=(dsv4-console "$@"); COMP_CWORD=$#; _dsv4_console; printf "%s\\n" "${COMPREPLY[@]}"'
        done = subprocess.run(
            ["bash", "-c", f"{script}\n{ask}", "bash", *words], capture_output=True, text=True, check=True
        )
        return set(done.stdout.split())

    assert completed("pl") == {"plan"}
    assert completed("--layout", "a3-pd", "ver") == {"verify"}
    assert completed("plan", "--lay") == {"--layout"}
    assert completed("plan", "--layout", "") >= set(shipped_layouts())
    assert completed("plan", "-c", "la") == {"lab.yaml"}
    assert completed("start", "--dry") == {"--dry-run"}
    assert completed("") >= set(COMMANDS)
    for shell in ("zsh", "fish"):
        assert main(["completion", shell]) == 0
        assert "--layout" in capsys.readouterr().out.replace("-l layout", "--layout")


def test_assignments_are_taken_back_and_made_again_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    file = tmp_path / "cluster.yaml"
    file.write_text("name: lab\nnodes: {n0: {host: 10.0.0.1}, n1: {host: 10.0.0.2}}\n")
    common = ["assign", "-c", str(file), "--layout", "a3-mixed"]

    def carried(*words: str, code: int = 0) -> str:
        assert main([*common, *words]) == code
        return next((line for line in capsys.readouterr().out.splitlines() if line.startswith("mixed")), "")

    assert carried("--undo", code=2) == "", "there is nothing to take back"
    assert carried("--assign", "mixed=n0,n1").endswith("n0, n1")
    assert carried("--swap", "n0=n1").endswith("n1, n0")
    assert carried("--undo", "--dry-run").endswith("n0, n1")
    assert carried("--undo").endswith("n0, n1")
    assert carried().endswith("n0, n1")
    assert carried("--redo").endswith("n1, n0")
    assert carried("--undo").endswith("n0, n1")
    assert carried("--undo").endswith("-")
    assert carried("--undo", "--auto", code=2) == ""


def test_an_act_is_one_document_or_a_line_for_each_thing_that_happens(capsys: pytest.CaptureFixture[str]) -> None:
    step = Step("s1", "prepare", "write it", "p0", ("prefill-0",))
    plan = Plan("start", "lab", "pd", ("prefill-0",), (Stage("one", (step,)),), Confirm("count", "1"))
    event = StepEvent("s1", Outcome.DONE, "it runs", 7.0)
    result = PlanResult({"s1": Outcome.DONE}, {"s1": "it runs"})

    def told(output: str, *, only: bool) -> list[dict[str, object]]:
        data = OperationData(output)
        data.plan(plan, only=only)
        if not only:
            data.with_events(lambda _: None)(event)
            data.end(result)
        text = capsys.readouterr().out
        return [json.loads(text)] if output == "json" else [json.loads(line) for line in text.splitlines()]

    assert told("table", only=False) == []
    (dry,) = told("json", only=True)
    assert dry["verb"] == "start"
    (done,) = told("json", only=False)
    assert done["outcomes"] == {"s1": "done"}
    assert isinstance(done["plan"], dict)
    assert [next(iter(each)) for each in told("jsonl", only=False)] == ["plan", "event", "end"]


def test_lists_are_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    print_data("jsonl", [{"a": 1}, {"a": "é\n"}])
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [{"a": 1}, {"a": "é\n"}]


@pytest.mark.parametrize("words", ["start --yes", "stop --yes", "tune set --yes", "containers create --yes"])
def test_a_read_only_cluster_refuses_an_act_before_it_dials(
    words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cluster.yaml").write_text("name: lab\nnodes: {n0: {host: 127.0.0.1, port: 9}}\n")
    assert main([*words.split(), "--readonly", "--layout", "a3-mixed", "--assign", "mixed=n0"]) == 4
    assert "read-only" in capsys.readouterr().err


def test_the_layout_used_last_is_the_file_that_was_meant_though_it_kept_a_shipped_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    cluster = Cluster.model_validate({"name": "lab", "nodes": {"d0": {"host": "10.0.0.1"}}})
    Path("mine.yaml").write_text(shipped_text("a3-pd"), encoding="utf-8")
    remember_layout(cluster, load_layout("mine.yaml"))
    monkeypatch.chdir("/")
    assert remembered_layout(cluster) == str(tmp_path / "mine.yaml")
    (tmp_path / "mine.yaml").unlink()
    with pytest.raises(UsageError, match="the layout used last with this cluster does not exist any more") as caught:
        layout_of(argparse.Namespace(layout=None), cluster)
    assert "--layout" in caught.value.hint
    remember_layout(cluster, load_layout("a3-pd"))
    assert remembered_layout(cluster) == "a3-pd"


@pytest.mark.parametrize("kind", ["dumb", "", "unknown"])
def test_the_screen_refuses_a_terminal_it_cannot_draw_on(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stream:
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "__stdin__", Stream())
    monkeypatch.setattr(sys, "__stderr__", Stream())
    monkeypatch.setenv("TERM", kind)
    with pytest.raises(UsageError, match="cannot be drawn with TERM"):
        must_be_terminal()
    monkeypatch.setenv("TERM", "screen-256color")
    must_be_terminal()


@pytest.mark.parametrize(
    ("word", "first"),
    [("stat", "status"), ("sta", "status"), ("stats", "status"), ("verfy", "verify"), ("stp", "stop")],
)
def test_a_command_that_changes_something_is_never_suggested_before_one_that_looks(
    word: str, first: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([word]) == 2
    meant = capsys.readouterr().err.partition("did you mean ")[2].partition("?")[0].split(" or ")
    assert meant[0] == first
    assert meant == sorted(meant, key=lambda each: each in CHANGING)


def test_what_is_called_changing_is_a_command() -> None:
    assert set(COMMANDS) > CHANGING


def test_help_lists_every_command_in_one_group(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    listed = [
        line.split()[0] for line in capsys.readouterr().out.partition("look:")[2].splitlines() if line[:2] == "  "
    ]
    assert sorted(listed) == sorted(COMMANDS)
