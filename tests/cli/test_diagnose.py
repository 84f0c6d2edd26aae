"""`diagnose` on files as they come: wrapped by docker, Kubernetes, CI, Markdown and editors; its words, data and exit codes."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console.cli.main import main
from console.diagnosis.signatures import load_signatures
from console.probes.external_log import decoded
from console.probes.log_time import written
from console.services.serving.log_files import LogText, diagnose
from tests.diagnosis.field_logs import field_logs

SIGNATURES = load_signatures()
LOGS = {each.name: each for each in field_logs()}
OOM = LOGS["hbm-torch"].text
ECHO = LOGS["gloo-reset"].text
CLEAN = LOGS["stopped"].text


def _run(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any], str]:
    code = main(["diagnose", "-o", "json", *words])
    out, err = capsys.readouterr()
    return code, json.loads(out) if out else {}, err


def _each(line: Callable[[int, str], str]) -> Callable[[str], str]:
    return lambda text: "".join(f"{line(number, each)}\n" for number, each in enumerate(text.splitlines(), 1))


WRAPPED: dict[str, Callable[[str], str]] = {
    "gh run view": _each(lambda n, x: f"build\tRun the engine\t2026-11-20T08:10:{n % 60:02}.1234567Z {x}"),
    "kubectl with times": _each(lambda n, x: f"[pod/prefill-0/vllm] 2026-11-20T08:10:{n % 60:02}.1234567Z {x}"),
    "srun": _each(lambda n, x: f"0: {x}"),
    "docker -t": _each(lambda n, x: f"2026-11-20T08:{n // 60:02}:{n % 60:02}.1234567Z {x}"),
    "GitHub": _each(lambda n, x: f"2026-11-20T08:10:{n % 60:02}.1234567Z {x}"),
    "CRI": _each(lambda n, x: f"2026-11-20T16:10:{n % 60:02}.123456789+08:00 stderr F {x}"),
    "compose": _each(lambda n, x: f"prefill-0  | {x}"),
    "kubectl": _each(lambda n, x: f"[pod/prefill-0/vllm] {x}"),
    "journal": _each(lambda n, x: f"Nov 20 08:10:15 n0 vllm[71]: {x}"),
    "json-file": _each(
        lambda n, x: json.dumps({"log": f"{x}\n", "stream": "stderr", "time": f"2026-11-20T08:10:{n % 60:02}.5Z"})
    ),
    "quoted": _each(lambda n, x: f"> > {x}"),
    "indented": _each(lambda n, x: f"    {x}"),
    "indented and quoted": _each(lambda n, x: f"   > {x}"),
    "fenced": lambda text: f"### What happened\n\n```text\n{text}```\n\nPlease help.\n",
    "numbered": _each(lambda n, x: f"{n:5} | {x}"),
    "journal iso": _each(lambda n, x: f"2026-11-20T08:10:{n % 60:02}+0800 node-7 docker[4242]: {x}"),
    "journal precise": _each(lambda n, x: f"Nov 20 08:10:{n % 60:02}.123456 node-7 vllm: {x}"),
    "grep -n": _each(lambda n, x: f"{n}:{x}"),
    "grep -n of files": _each(lambda n, x: f"logs/decode.log:{n}:{x}"),
    "collector": _each(lambda n, x: json.dumps({"timestamp": f"2026-11-20T08:10:{n % 60:02}Z", "message": x})),
    "tagged": _each(lambda n, x: f"[RAW SERVER] {x}"),
    "pdsh": _each(lambda n, x: f"node-7: {x}"),
    "coloured": _each(lambda n, x: x.replace("(", "\x1b[0;36m(", 1).replace(")", ")\x1b[0;0m", 1)),
    "colours lost": _each(lambda n, x: x.replace("(", "[0;36m(", 1).replace(")", ")[0;0m", 1) if x[:1] == "(" else x),
    "colours half lost": _each(lambda n, x: x.replace("(", "36m(", 1).replace(") ", ")0m ", 1) if x[:1] == "(" else x),
    "Windows": lambda text: text.replace("\n", "\r\n"),
    "Windows, from an editor": lambda text: text.replace("\n", "^M\n"),
    "all at once": _each(lambda n, x: f"> prefill-0 | 2026-11-20T08:10:{n % 60:02}.1Z \x1b[31m{x}\x1b[0m\r"),
}
KINDS = (
    "hbm-torch",
    "rpc-execute-model",
    "store-wait-timeout",
    "quant-no-description",
    "rootinfo-with-ei0015",
    "mte-address",
    "enum-member",
    "device-without-address",
    "uid-without-name",
)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("how", WRAPPED)
def test_a_log_is_read_however_it_was_wrapped(
    how: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mixed-0.log"
    path.write_bytes(WRAPPED[how](LOGS[name].text).encode())
    code, told, _ = _run(str(path), capsys=capsys)
    assert (code, told["first"] and told["first"]["id"]) == (0, LOGS[name].right)
    assert told["first"]["engine"] == "mixed-0"
    path.write_bytes(WRAPPED[how](CLEAN).encode())
    code, told, _ = _run(str(path), capsys=capsys)
    assert (code, told) == (1, {"first": None, "causes": []})


@pytest.mark.parametrize(
    ("ending", "pack"),
    [
        (".log", lambda text: text.encode("utf-16")),
        (".log", lambda text: text.encode("utf-16-le")),
        (".txt", lambda text: text.encode("utf-16-be")),
        (".log", lambda text: text.encode("utf-8-sig")),
        (".log", lambda text: f"# 启动日志\n{text}".encode("gbk")),
        (".log.gz", lambda text: gzip.compress(text.encode())),
        (".log.bz2", lambda text: bz2.compress(text.encode())),
        (".out.xz", lambda text: lzma.compress(text.encode())),
        (".log", lambda text: bytes(4096) + text.encode()),
        ("", lambda text: text.encode()),
    ],
)
def test_any_encoding_and_packing_is_read(
    ending: str, pack: Callable[[str], bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"decode-3{ending}"
    path.write_bytes(pack(OOM))
    code, told, _ = _run(str(path), capsys=capsys)
    assert (code, told["first"]["id"], told["first"]["engine"]) == (0, "C1", "decode-3")


def test_a_cause_has_its_file_line_text_and_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mixed-0.log"
    path.write_text(f"Here is my log:\n```\n{OOM}```\n")
    code, told, err = _run(str(path), capsys=capsys)
    number = next(n for n, line in enumerate(path.read_text().splitlines(), 1) if "out of memory" in line)
    first = told["first"]
    assert (code, err) == (0, "")
    assert set(first) == {"file", "engine", "id", "title", "cause", "remedy", "line", "text", "time"}
    assert (first["file"], first["line"], first["time"]) == (str(path), number, "11-20 08:03:00")
    assert "NPU out of memory. Tried to allocate 8.75 GiB" in first["text"]
    assert told["causes"][0] == first
    assert [each["id"] for each in told["causes"]] == ["C1", "A23"]


def test_the_line_of_a_wrapper_is_the_error_it_wraps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mixed-0.log"
    path.write_text(LOGS["hbm-torch"].text.replace("NPU out of memory. Tried", "The moon is in the way. Tried"))
    code, told, _ = _run(str(path), capsys=capsys)
    assert (code, told["first"]["id"]) == (0, "A23")
    assert "The moon is in the way" in told["first"]["text"]
    assert "The moon is in the way" in path.read_text().splitlines()[told["first"]["line"] - 1]


def test_what_is_not_known_is_said_with_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mixed-0.log"
    path.write_text(
        'Traceback (most recent call last):\n  File "a.py", line 1, in a\nValueError: the moon is in the way\n'
    )
    code, told, err = _run(str(path), capsys=capsys)
    assert (code, told["first"]) == (1, None)
    assert f"{path}:3" in err
    assert "the moon is in the way" in err


def test_an_echo_does_not_elect_its_rank_whatever_the_times(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "decode-0.log").write_text(ECHO)
    (tmp_path / "decode-1.log").write_text(OOM.replace("11-20 08:03", "11-20 08:33"))
    code, told, _ = _run(str(tmp_path), capsys=capsys)
    assert (code, told["first"]["engine"], told["first"]["id"]) == (0, "decode-1", "C1")
    assert "decode-0" in {each["engine"] for each in told["causes"]}


def test_zones_of_files_are_told_by_what_carried_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def at(text: str, shift: int) -> str:
        return "".join(f"2026-11-20T{shift:02}:03:00.5Z {line}\n" for line in text.splitlines())

    (tmp_path / "decode-0.log").write_text(at(LOGS["pin-malloc-host"].text, 9))  # stamps 08:03, zone -1
    (tmp_path / "decode-1.log").write_text(at(OOM.replace("11-20 08:0", "11-20 16:0"), 8))  # stamps 16:03, zone +8
    code, told, _ = _run(str(tmp_path), capsys=capsys)
    assert (code, told["first"]["engine"]) == (0, "decode-1")


@pytest.mark.parametrize(
    "prefix",
    [
        *("{} | ", "[pod/{}/vllm] ", "[{}] ", "{}: ", "<{}> ", "{} vllm ", "{}  | 2026-11-20T08:10:15.1Z "),
        *("[pod/{}/vllm] 2026-11-20T08:10:15.1Z ", "2026-11-20T08:10:15.1Z {} | ", "\x1b[36m{} |\x1b[0m "),
    ],
)
def test_ranks_of_one_file_are_told_apart_by_name(
    prefix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = zip(ECHO.splitlines(), OOM.replace("11-20 08:03", "11-20 08:33").splitlines(), strict=False)
    lines = [
        f"{prefix.format(name)}{line}"
        for pair in both
        for name, line in zip(("decode-0", "decode-1"), pair, strict=True)
    ]
    (tmp_path / "all.log").write_text("\n".join(lines))
    code, told, _ = _run(str(tmp_path / "all.log"), capsys=capsys)
    assert (code, told["first"]["engine"], told["first"]["id"]) == (0, "decode-1", "C1")


def test_ranks_of_one_file_are_told_apart_by_their_processes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (
        "(APIServer pid=1) INFO 11-20 08:00:08 [utils.py:233] non-default args: {'port': 8004}\n"
        "(EngineCore_DP0 pid=2) ERROR 11-20 08:28:03 [core.py:1138] RuntimeError: Connection closed by peer [10.0.0.9]:4\n"
        "(Worker_DP1_TP0 pid=31) INFO 11-20 08:28:04 [w.py:1] flushing\n"
        "[ERROR] APP(31,):2026-11-20-08:28:30.127.837 742 NPU function error: aclrtMalloc, error code is 207001\n"
        "(EngineCore_DP1 pid=3) ERROR 11-20 08:28:33 [core.py:1138] EngineCore encountered a fatal error.\n"
    )
    (tmp_path / "mixed-0.log").write_text(text)
    code, told, _ = _run(str(tmp_path / "mixed-0.log"), capsys=capsys)
    assert (code, told["first"]["engine"], told["first"]["id"], told["first"]["line"]) == (0, "mixed-0/DP1", "C1", 4)


def test_stdin_is_read(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(OOM.encode())))
    code, told, _ = _run("-", capsys=capsys)
    assert (code, told["first"]["file"], told["first"]["id"]) == (0, "-", "C1")


def test_files_of_one_name_stay_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, text in (("decode-0", ECHO), ("decode-1", OOM)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "out.log").write_text(text)
    _, told, _ = _run(str(tmp_path), capsys=capsys)
    assert {each["engine"] for each in told["causes"]} == {"out", "decode-1/out"}


def test_a_rank_that_fell_silent_while_the_others_went_on_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    waits = "(APIServer pid=1) INFO 11-20 08:00:30 [utils.py:700] Started DP Coordinator process (PID: 150)\n"
    (tmp_path / "mixed-0.log").write_text(waits)
    assert _run(str(tmp_path), capsys=capsys)[:2] == (1, {"first": None, "causes": []})
    (tmp_path / "mixed-1.log").write_text("(APIServer pid=1) INFO 11-20 08:09:30 [utils.py:700] still here\n")
    code, told, _ = _run(str(tmp_path), capsys=capsys)
    assert (code, told["first"]["engine"], told["first"]["id"]) == (0, "mixed-0", "A5")


def test_what_cannot_be_read_is_named_and_exits_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.log.gz").write_bytes(gzip.compress(OOM.encode())[:60])
    (tmp_path / "core.log").write_bytes(bytes(range(256)) * 64)
    names = [str(tmp_path / each) for each in ("none.log", "empty", "bad.log.gz", "core.log")]
    assert main(["diagnose", *names]) == 2
    err = capsys.readouterr().err
    assert all(name in err for name in names), err
    assert main(["diagnose", "-", "-"]) == 2


def test_an_empty_log_is_no_error_and_shows_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mixed-0.log").write_text("")
    assert _run(str(tmp_path / "mixed-0.log"), capsys=capsys)[:2] == (1, {"first": None, "causes": []})


def test_people_read_cause_remedy_place_and_consequences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, text in (("decode-0", ECHO), ("decode-1", OOM), ("decode-2", ECHO)):
        (tmp_path / f"{name}.log").write_text(text)
    (tmp_path / "decode-1.log").write_text(OOM + "\x1b]0;owned\x07\x1b[2J\n")
    assert main(["diagnose", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("decode-1 failed first: HBM is full (C1)\n")
    assert "remedy: Lower gpu-memory-utilization" in out
    assert "a rank of the group died (F10) on decode-0, decode-2" in out
    assert "\x1b" not in out


def test_own_signatures_are_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(
        "signatures:\n- {id: X1, severity: fatal, title: the moon, find: [the moon is], cause: c., remedy: r.}\n"
    )
    (tmp_path / "mixed-0.log").write_text("ERROR 11-20 08:00:01 [x.py:1] the moon is in the way\n")
    code, told, _ = _run("--signatures", str(own), str(tmp_path / "mixed-0.log"), capsys=capsys)
    assert (code, told["first"]["id"]) == (0, "X1")


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.one_of(st.binary(max_size=80), st.sampled_from([line.encode() for line in OOM.splitlines()])), max_size=30
    )
)
def test_any_bytes_are_read(lines: list[bytes]) -> None:
    text = decoded(b"\n".join(lines))
    if text is not None:
        told = diagnose([LogText("a.log", "a", text, 0.0), LogText("b.log", "a", text[::-1], 1.79e9)], SIGNATURES)
        assert all(1 <= each.line <= text.count("\n") + 1 for each in told.causes)


def test_line_and_time_of_a_cause_are_of_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrapper's consequence was shown with its own time at the line that another cause stands on."""
    compared = 0
    for name, log in LOGS.items():
        path = tmp_path / f"{name}.log"
        path.write_text(log.text, encoding="utf-8")
        lines = log.text.splitlines()
        for cause in _run(str(path), capsys=capsys)[1].get("causes", ()):
            line = lines[cause["line"] - 1]
            if cause["time"] and written(line.encode()):
                assert cause["time"] in line, (name, cause)
                compared += 1
    assert compared > 20


def test_a_failure_that_the_first_does_not_explain_is_no_consequence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stamps = {"decode-1": OOM, "prefill-0": LOGS["quant-no-description"].text, "decode-0": ECHO}
    for name, text in stamps.items():
        (tmp_path / f"{name}.log").write_text(text)
    assert main(["diagnose", str(tmp_path)]) == 0
    heads = ""
    groups: dict[str, list[str]] = {}
    for line in capsys.readouterr().out.splitlines():
        heads = line if not line.startswith(" ") else heads
        groups.setdefault(heads, []).append(line)
    firm = {line.partition(" on ")[2].partition(",")[0] for line in groups["not explained by the first failure:"][1:]}
    first = next(iter(groups)).partition(" failed first")[0]
    assert {first, *firm} == {"decode-1", "prefill-0"}
    assert any("on decode-0" in line for line in groups["consequences:"])


def test_what_fails_later_in_the_group_of_the_first_cause_is_its_consequence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A peer that waited in vain for a dead rank names its own time limit, with a remedy that helps nobody."""
    stamp = "11-20 08:{:02}:00"
    full = (
        f"ERROR {stamp.format(0)} [worker.py:88] torch.OutOfMemoryError: NPU out of memory. Tried to allocate 4 GiB\n"
    )
    late = f"ERROR {stamp.format(9)} [utils.py:1] Timed out waiting for engine core processes to start.\n"
    for name, text in (("decode-3", full), ("decode-4", late), ("decode-5", late), ("prefill-0", late)):
        (tmp_path / f"{name}.log").write_text(text)
    assert main(["diagnose", str(tmp_path)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("decode-3 failed first: HBM is full (C1)")
    other, after = (shown[shown.index(head) + 1] for head in ("not explained by the first failure:", "consequences:"))
    assert "(A24) on prefill-0" in other
    assert "(A24) on decode-4, decode-5" in after


def test_a_transfer_that_failed_does_not_explain_why_the_engine_at_its_other_end_died(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line of the death names no operator, so a more exact one at the same second on a living engine won."""
    ready = CLEAN.partition("Application startup complete.")[0] + "Application startup complete.\n"
    failed = "Failed to transfer KV cache for request cmpl-1: Mooncake transfer failed, ret: -1"
    (tmp_path / "decode-0.log").write_text(f"{ready}(Worker_DP0 pid=9) ERROR 11-20 08:28:04 [x.py:463] {failed}\n")
    (tmp_path / "prefill-0.log").write_text(LOGS["aicore-exception"].text)
    code, told, _ = _run(str(tmp_path), capsys=capsys)
    assert (code, told["first"]["engine"], told["first"]["id"]) == (0, "prefill-0", "C8")
    (tmp_path / "prefill-0.log").unlink()
    assert _run(str(tmp_path), capsys=capsys)[1]["first"]["id"] == "E3"
