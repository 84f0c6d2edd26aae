"""Every captured `npu-smi info` reads as a person reads it; what is cut reads as unknown."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console.model.run import Sample
from console.model.snapshot import Device, Process
from console.probes.npu_smi import NpuTable, info_probe, owners, parse_info, read_info
from tests.probes.captures import HERE, capture

A2_TWO = "a2_info_25.0.rc1.2_910B2C_2dev_two_procs_one_npu.txt"
A2_LOADED = "a2_info_25.3.rc1_910B3_vllm_loaded_8dev.txt"
A3_BUSY = "a3_info_25.2.0_busy_16chips_container_empty_names_8row_cap.txt"
A3_X86 = "a3_info_26.1.1_x86_half_loaded_16chips.txt"
A3_TWO_CARDS = "a3_info_26.0.rc1_busy_trimmed_npu0_npu5.txt"
A3_LOST = "a3_info_25.5.0_card5_absent.txt"


def _table(name: str) -> NpuTable:
    folder, _, file = name.rpartition("/")
    return parse_info(capture(f"npu/{folder}".rstrip("/"), file))


@pytest.mark.parametrize(
    ("name", "tool", "driver", "generation", "ids", "complete"),
    [
        ("a2_info_25.0.rc1.1_910B4_idle_8dev.txt", "25.0.rc1.1", "25.0.rc1.1", "a2", range(8), True),
        (A2_TWO, "25.0.rc1.2", "25.0.rc1.2", "a2", range(2), True),
        ("a2_info_25.2.0_910B2_idle_8dev.txt", "25.2.0", "25.2.0", "a2", range(8), True),
        (A2_LOADED, "25.3.rc1", "25.3.rc1", "a2", range(8), True),
        ("a2_info_25.5.0_npu3_critical.txt", "25.5.0", "25.5.0", "a2", range(8), True),
        ("a2_info_25.5.1_910B3_trimmed_npu0_npu5.txt", "25.5.1", "25.5.1", "a2", (0, 5), True),
        (
            "a2_info_24.1.rc1.b030_910B3_8dev_no_process_table.txt",
            "24.1.rc1.b030",
            "24.1.rc1.b030",
            "a2",
            range(8),
            False,
        ),
        ("a2_info_23.0.rc2_910B1_partial_npu0_1_7.txt", "23.0.rc2", "23.0.rc2", "a2", (0, 1, 7), False),
        ("a3_info_24.1.rc3.7_idle_16chips.txt", "24.1.rc3.7", "24.1.rc3.7", "a3", range(16), True),
        (A3_BUSY, "25.2.0", "25.2.0", "a3", range(16), True),
        ("a3_info_25.5.0_idle_16chips.txt", "25.5.0", "25.5.0", "a3", range(16), True),
        ("a3_info_26.0.rc1_idle_16chips.txt", "26.0.rc1", "26.0.rc1", "a3", range(16), True),
        (A3_TWO_CARDS, "26.0.rc1", "26.0.rc1", "a3", (0, 1, 10, 11), True),
        (A3_X86, "26.1.1", "26.1.1", "a3", range(16), True),
        (A3_LOST, "25.5.0", "25.5.0", "a3", (*range(10), *range(12, 16)), True),
        ("910A_info_22.0.3.1_93wide.txt", "22.0.3.1", "22.0.3.1", "other", range(8), False),
        ("910A_info_23.0.rc3_busy_8dev_hugepages_misaligned.txt", "23.0.rc3", "23.0.rc2.3", "other", range(8), True),
        ("910A_info_23.0.rc3_container_single_npu1_warning.txt", "23.0.rc3", "23.0.rc3", "other", (1,), True),
        ("other_info_20.2.0_310_device_column.txt", "20.2.0", "20.2.0", "other", range(4), False),
        ("other_info_21.0.4_310_device_column.txt", "21.0.4", "21.0.4.B030", "other", (3, 4, 5, 6), False),
        ("other_info_23.0.0_310B4_alarm_busid_NA.txt", "23.0.0", "23.0.0", "other", (0,), False),
        ("a5_info_25.7.rc1_950PR.txt", "25.7.rc1", "25.7.rc1", "a5", (0, 1), True),
    ],
)
def test_the_table_as_a_whole(name: str, tool: str, driver: str, generation: str, ids: range, complete: bool) -> None:
    table = _table(name)
    assert (table.tool_version, table.driver_version, table.generation) == (tool, driver, generation)
    assert [device.id for device in table.devices] == list(ids)
    assert table.complete is complete
    assert (table.error == "") is complete


def _d(id: int, card: int, die: int, name: str, bus: str, health: str | None, *rest: object) -> Device:
    core, used, total, temperature, power = rest[:5]
    return Device(id, card, die, name, bus, health, core, used, total, temperature, power)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "a2_info_25.0.rc1.1_910B4_idle_8dev.txt",
            _d(5, 5, 0, "910B4", "0000:02:00.0", "OK", 0, 2837, 32768, 37, 94.6),
        ),
        (A2_TWO, _d(1, 1, 0, "910B2C", "0000:65:02.0", "OK", 11, 35761, 65536, 49, 143.2)),
        ("a2_info_25.2.0_910B2_idle_8dev.txt", _d(5, 5, 0, "910B2", "0000:41:00.0", "OK", 0, 3413, 65536, 32, 93.4)),
        (A2_LOADED, _d(7, 7, 0, "910B3", "0000:42:00.0", "OK", 0, 60051, 65536, 33, 86.4)),
        (
            "a2_info_25.5.0_npu3_critical.txt",
            _d(3, 3, 0, "910B2", "0000:82:00.0", "Critical", 0, 3427, 65536, 38, 93.7),
        ),
        (
            "a2_info_24.1.rc1.b030_910B3_8dev_no_process_table.txt",
            _d(6, 6, 0, "910B3", "0000:41:00.0", "OK", 0, 3314, 65536, 45, 103.8),
        ),
        (
            "a2_info_23.0.rc2_910B1_partial_npu0_1_7.txt",
            _d(7, 7, 0, "910B1", "0000:42:00.0", "OK", 0, 4174, 65536, 48, 92.7),
        ),
        (
            "a3_info_24.1.rc3.7_idle_16chips.txt",
            _d(10, 5, 0, "Ascend910", "0000:89:00.0", "OK", 0, 3398, 65536, 36, 189.2),
        ),
        (
            "a3_info_24.1.rc3.7_idle_16chips.txt",
            _d(15, 7, 1, "Ascend910", "0000:83:00.0", "OK", 0, 3187, 65536, 38, None),
        ),
        (A3_BUSY, _d(12, 6, 0, "Ascend910", "0000:85:00.0", "OK", 6, 61614, 65536, 43, 201.9)),
        (A3_TWO_CARDS, _d(0, 0, 0, "Ascend910", "0000:9D:00.0", "OK", 100, 59807, 65536, 43, 204.0)),
        (A3_TWO_CARDS, _d(1, 0, 1, "Ascend910", "0000:9F:00.0", "OK", 60, 59536, 65536, 40, None)),
        (A3_X86, _d(5, 2, 1, "Ascend910", "0000:84:00.0", "OK", 0, 63939, 65536, 39, None)),
        (A3_X86, _d(14, 7, 0, "Ascend910", "0000:3B:00.0", "OK", 0, 3097, 65536, 37, 170.1)),
        (
            "a3_info_26.0.rc1_idle_16chips.txt",
            _d(14, 7, 0, "Ascend910", "0000:81:00.0", "OK", 0, 3132, 65536, 55, 174.1),
        ),
        ("910A_info_22.0.3.1_93wide.txt", _d(3, 3, 0, "910A", "0000:3E:00.0", "OK", 0, 0, 32768, 42, 191.7)),
        (
            "910A_info_23.0.rc3_busy_8dev_hugepages_misaligned.txt",
            _d(4, 4, 0, "xxx", "0000:C2:00.0", "OK", 0, 30709, 32768, 40, 71.3),
        ),
        (
            "910A_info_23.0.rc3_container_single_npu1_warning.txt",
            _d(1, 1, 0, "910A", "0000:81:00.0", "Warning", 0, 1, 32768, 35, 69.6),
        ),
        (
            "other_info_20.2.0_310_device_column.txt",
            _d(3, 215, 3, "310", "0000:DB:00.0", "OK", 0, None, None, 55, 12.8),
        ),
        ("other_info_21.0.4_310_device_column.txt", _d(5, 6, 2, "310", "0000:8B:00.0", "OK", 0, None, None, 70, 12.8)),
        ("other_info_23.0.0_310B4_alarm_busid_NA.txt", _d(0, 0, 0, "310B4", "", "Alarm", 0, None, None, 65, 0.0)),
        (
            "a5_info_25.7.rc1_950PR.txt",
            _d(0, 0, 0, "Ascend950PR", "0000:01:00.0", "OK", 0, 6620, 131072, 46, 187.1),
        ),
    ],
)
def test_one_device_of_each_capture(name: str, expected: Device) -> None:
    found = {device.id: device for device in _table(name).devices}
    assert replace(found[expected.id], processes=(), processes_known=True) == expected


@pytest.mark.parametrize(
    ("name", "processes"),
    [
        (
            A2_TWO,
            {0: [(6513, "rayWorkerDict", 617), (33776, "VLLMWorker_TP", 31747)], 1: [(33777, "VLLMWorker_TP", 31747)]},
        ),
        (A2_LOADED, {id: [(3329455 + id + (3 if id == 7 else 0), "VLLMWorker_TP", 56683)] for id in range(8)}),
        (
            A3_X86,
            {id: [(20001 + id, "VLLMWorker_PP", 62412 if id < 4 else 61112)] if id < 8 else [] for id in range(16)},
        ),
        (
            A3_TWO_CARDS,
            {0: [(1774110, "VLLMWorker_PP", 56684)], 1: [(1777209, "VLLMWorker_PP", 56684)], 10: [], 11: []},
        ),
        (A3_LOST, {id: [] for id in (*range(10), *range(12, 16))}),
    ],
)
def test_the_processes_of_each_device(name: str, processes: dict[int, list[tuple[int, str, int]]]) -> None:
    table = _table(name)
    expected = {id: tuple(Process(*each) for each in rows) for id, rows in processes.items()}
    assert {device.id: device.processes for device in table.devices} == expected
    assert table.processes_known


def test_eight_rows_are_the_tools_limit_so_the_list_may_hide_the_owner() -> None:
    table = _table(A3_BUSY)
    assert [device.processes_known for device in table.devices] == [False] + [True] * 15
    assert [process.mib for process in table.devices[0].processes] == [141] * 8
    assert {process.name for device in table.devices for process in device.processes} == {""}
    assert table.complete


def test_a_process_belongs_to_the_device_with_its_largest_share() -> None:
    found = owners(_table(A3_BUSY).devices)
    assert found[929673] == 2
    assert found[942487] == 14
    assert found[929405] == 1
    assert found[944268] == 15


@pytest.mark.parametrize("name", ["a2_info_25.5.0_npu3_critical.txt", A3_X86, A3_TWO_CARDS])
def test_a_missing_last_border_takes_nothing_from_a_row_that_says_all(name: str) -> None:
    data = (HERE / "npu" / name).read_bytes().rstrip()
    border = data.rfind(b"\n") + 1
    assert data[border:].startswith(b"+=")
    assert parse_info(data[:border]) == _table(name)
    assert not parse_info(data[: border - 3]).devices[-1].processes_known


def test_a_table_without_process_rows_proves_nothing_about_processes() -> None:
    table = _table("a2_info_24.1.rc1.b030_910B3_8dev_no_process_table.txt")
    assert not any(device.processes_known for device in table.devices)
    assert table.error == "npu-smi printed no process table"


def _changed(*changes: tuple[str, str]) -> NpuTable:
    text = (HERE / "npu" / A2_TWO).read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return parse_info(text.encode())


def test_an_a2_device_may_have_the_name_of_its_part() -> None:
    table = _changed(("910B2C", "A2G3  "))
    assert (table.generation, table.devices[1].name) == ("a2", "A2G3")


def test_zeros_with_health_ok_are_failed_queries_and_unknown() -> None:
    table = _changed(("35738/ 65536", "0    / 0    "), ("118.6       47", "0.0         0 "))
    assert table.devices[0] == replace(
        _d(0, 0, 0, "910B2C", "0000:6B:02.0", None, None, None, None, None, None), processes=table.devices[0].processes
    )
    assert table.devices[1].health == "OK"


@pytest.mark.parametrize(
    ("old", "new", "fields"),
    [
        ("118.6       47", "NA          NA", {"power_w": None, "temperature_c": None}),
        ("118.6       47", "-           - ", {"power_w": None, "temperature_c": None}),
        ("0    / 0          35738", "NA   / NA         35738", {}),
        ("35738/ 65536", "NA   / NA   ", {"hbm_used_mib": None, "hbm_total_mib": None}),
        ("6           0    / 0", "NA          0    / 0", {"aicore_percent": None}),
    ],
)
def test_a_value_that_is_not_available_is_unknown_and_spoils_no_other(
    old: str, new: str, fields: dict[str, None]
) -> None:
    assert _changed((old, new)).devices[0] == replace(_table(A2_TWO).devices[0], **fields)  # type: ignore[arg-type]


def test_a_chip_row_without_its_card_row_is_not_given_to_another_card() -> None:
    table = _changed(
        ("| 1     910B2C              | OK            | 143.2       49                0    / 0             |\n", "")
    )
    assert [device.id for device in table.devices] == [0]
    assert (table.complete, "only one of its two rows" in table.error) == (True, True)


def test_a_card_whose_chip_could_not_be_asked_is_there_with_unknown_memory() -> None:
    table = _changed(
        ("| 0                         | 0000:6B:02.0  | 6           0    / 0          35738/ 65536         |\n", "")
    )
    assert [(device.id, device.hbm_used_mib, device.temperature_c) for device in table.devices] == [
        (0, None, 47),
        (1, 35761, 49),
    ]
    assert (table.devices[0].health, table.complete) == (None, True)
    assert "only one of its two rows" in table.error


def test_a_die_without_its_card_row_is_there_with_unknown_health() -> None:
    text = (HERE / "npu" / A3_TWO_CARDS).read_text()
    row = "| 0     Ascend910           | OK            | -                    40                      0    / 0                |\n"
    assert row in text
    table = parse_info(text.replace(row, "").encode())
    die = table.devices[1]
    assert (die.id, die.card, die.die, die.health, die.hbm_used_mib) == (1, 0, 1, None, 59536)


def test_the_unframed_driver_warning_after_the_table_is_harmless() -> None:
    warning = capture("npu", "err_npu_smi_driver_incomplete_warning.txt")
    assert parse_info((HERE / "npu" / A2_TWO).read_bytes() + warning) == _table(A2_TWO)


def test_of_several_tables_one_after_the_other_the_last_counts() -> None:
    old, new = (HERE / "npu" / A3_LOST).read_bytes(), (HERE / "npu" / A2_TWO).read_bytes()
    assert parse_info(old + b"Every 5.0s: npu-smi info\n\n" + new) == _table(A2_TWO)
    cut = parse_info(old + new[: new.find(b"| 1     910B2C")])
    assert ([device.id for device in cut.devices], cut.complete) == ([0], False)


@pytest.mark.parametrize("name", [A2_TWO, A3_X86])
def test_blanks_may_be_tabs_and_stand_before_a_line(name: str) -> None:
    text = re.sub("  +", "\t", (HERE / "npu" / name).read_text())
    assert parse_info(re.sub("^", "\t ", text, flags=re.MULTILINE).encode()) == _table(name)


def test_carriage_returns_and_colours_do_not_matter() -> None:
    data = (HERE / "npu" / A3_X86).read_bytes()
    assert parse_info(data.replace(b"\n", b"\r\n")) == _table(A3_X86)
    assert parse_info(data.replace(b"OK", b"\x1b[32mOK\x1b[0m")) == _table(A3_X86)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("dcmi module initialize failed. ret is -8005\n", "the driver does not answer (dcmi -8005)"),
        (
            "DrvMngGetConsoleLogLevel failed. (ret=4)\ndcmi module initialize failed. ret is -8005\n",
            "the driver does not answer (dcmi -8005)",
        ),
        (
            "dcmi model initialized failed, because the device is used. ret is -8020\n",
            "another container uses the devices (dcmi -8020)",
        ),
        ("npu-smi: command not found\n", "npu-smi is not installed"),
        ("sh: 1: npu-smi: not found\n", "npu-smi is not installed"),
        ("Invalid card id.\nError parameter of -i\nUsage: npu-smi info\n", "the card does not exist or was lost"),
        ("There is no NPU card on this server.\n", "the driver sees no NPU"),
    ],
)
def test_known_errors_say_what_to_do(text: str, error: str) -> None:
    table = parse_info(text.encode())
    assert (table.devices, table.complete, table.error) == ((), False, error)
    assert table.hint


def test_a_table_of_another_form_is_not_called_none() -> None:
    title = "+----+\n| npu-smi 26.1.0    Version: 26.1.0 |\n+----+\n| NPU ID | Name | Health | Temp(C) |\n"
    table = parse_info(f"{title}+====+\n| 0 | 950 | OK | 41 |\n+====+\n".encode())
    assert (table.devices, table.complete) == ((), False)
    assert table.error == "npu-smi 26.1.0 printed no device in a known format"


def test_nothing_and_nonsense_are_no_table() -> None:
    assert parse_info(b"").error == "npu-smi printed no table"
    assert parse_info(b"bash: who knows\n").error == "npu-smi printed no table: bash: who knows"


def _at_most(part: Device, whole: Device) -> bool:
    fields = ("health", "aicore_percent", "hbm_used_mib", "hbm_total_mib", "temperature_c", "power_w")
    same = all(getattr(part, each) in (None, getattr(whole, each)) for each in fields)
    return (
        same
        and part.processes == whole.processes[: len(part.processes)]
        and (part.card, part.die) == (whole.card, whole.die)
    )


ALL = sorted(path.name for path in (HERE / "npu").glob("*_info_*.txt"))


@pytest.mark.parametrize("name", ALL)
def test_every_prefix_gives_true_values_or_unknown(name: str) -> None:
    data = (HERE / "npu" / name).read_bytes()
    whole = parse_info(data)
    devices = {device.id: device for device in whole.devices}
    last_row = max(data.rfind(b"| No running"), data.rfind(b"VLLM"), data.rfind(b"| 7  "))
    step = 1 if len(data) < 2500 else 13
    ends = {
        *range(0, len(data), step),
        *(at + shift for at, byte in enumerate(data) if byte == 10 for shift in (-1, 0, 1)),
    }
    for end in sorted(ends):
        part = parse_info(data[:end])
        assert all(_at_most(device, devices[device.id]) for device in part.devices), end
        for device in part.devices:
            assert not device.processes_known or device.processes == devices[device.id].processes, end
        assert not part.complete or (end > last_row and part.devices == whole.devices), end


def test_a_chip_row_with_an_empty_first_cell_is_no_device() -> None:
    table = _changed(("| 0                         | 0000:6B:02.0", "|                           | 0000:6B:02.0"))
    assert ([device.id for device in table.devices], table.complete) == ([1], False)


def test_a_number_without_end_is_not_read() -> None:
    assert parse_info(b"| No running processes found in NPU %s |\n" % (b"9" * 5000)).devices == ()


@given(st.binary(max_size=400))
def test_any_bytes_give_a_table(data: bytes) -> None:
    assert parse_info(data).devices == ()


@settings(max_examples=150)
@given(st.sampled_from(ALL), st.data())
def test_a_damaged_table_never_raises(name: str, data: st.DataObject) -> None:
    lines = (HERE / "npu" / name).read_bytes().split(b"\n")
    keep = data.draw(st.lists(st.sampled_from(lines), max_size=30))
    at = data.draw(st.integers(0, 80))
    parse_info(
        b"\n".join(
            line[:at] + data.draw(st.sampled_from([b"", b"|", b"\xff", b"-", b" 99999999999999999999 "])) + line[at:]
            for line in keep
        )
    )


def _sample(stdout: bytes = b"", *, exit_code: int | None = 0, stderr: bytes = b"", truncated: bool = False) -> Sample:
    return Sample("npu", 0.0, 10.0, exit_code, stdout, stderr, truncated)


@pytest.mark.parametrize(
    ("sample", "error"),
    [
        (_sample(exit_code=None), "npu-smi did not answer within 10 s"),
        (_sample(exit_code=124), "npu-smi did not answer within 10 s"),
        (_sample(exit_code=137), "npu-smi did not answer within 10 s"),
        (_sample(exit_code=127, stderr=b"sh: 1: npu-smi: command not found"), "npu-smi is not installed"),
        (_sample(exit_code=1), "npu-smi printed no table"),
    ],
)
def test_a_sample_without_a_table_says_why(sample: Sample, error: str) -> None:
    table = read_info(sample)
    assert (table.devices, table.error) == ((), error)


def test_a_cut_sample_is_never_complete() -> None:
    data = (HERE / "npu" / A2_TWO).read_bytes()
    assert read_info(_sample(data)).complete
    assert not read_info(_sample(data, truncated=True)).complete
    assert not read_info(_sample(data, exit_code=None)).complete


def _run(path: str) -> subprocess.CompletedProcess[bytes]:
    probe = info_probe()
    shell = shutil.which("sh")
    assert shell
    return subprocess.run([shell, *probe.argv[1:]], capture_output=True, env={"PATH": path}, timeout=30, check=False)


def test_the_command_finds_the_tool_and_says_when_there_is_none(tmp_path: Path) -> None:
    tool = tmp_path / "npu-smi"
    tool.write_text('#!/bin/sh\necho "got $* $LC_ALL"\n')
    tool.chmod(0o755)
    done = _run(f"{tmp_path}:/usr/bin:/bin")
    assert (done.returncode, done.stdout) == (0, b"got info C\n")
    tool.unlink()
    done = _run("/usr/bin:/bin")
    assert done.returncode == 127
    assert parse_info(done.stdout).error == "npu-smi is not installed"
