"""The detail queries read as a person reads them, and a cut line is no value."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.model.run import Sample
from console.model.snapshot import Process
from console.probes.npu_details import (
    SuperPod,
    parse_proc_mem,
    parse_super_pod,
    with_all_processes,
)
from console.probes.npu_smi import info_probe, read_info
from tests.probes.captures import capture

ROW = b"\tProcess id:%d  Process name:VLLMEngineCor     Process memory(MB):%d\n"


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (ROW % (207795, 55436), (Process(207795, "VLLMEngineCor", 55436),)),
        (b"\tNo process in device.\n", ()),
        (
            ROW % (1, 2)
            + b"\tChip ID                        : 0\n\n\tNo process in device.\n\tChip ID                        : 1\n",
            None,
        ),
        (b"\tProcess id:9  Process name:                  Process memory(MB):7\n", (Process(9, "", 7),)),
        (b"", None),
        (b"This device does not support querying proc-mem.\n", None),
        ((ROW % (1, 2))[:-1], None),
    ],
)
def test_the_whole_process_list(data: bytes, found: object) -> None:
    assert parse_proc_mem(data) == found


def test_the_captured_process_list() -> None:
    assert parse_proc_mem(capture("npu", "a2_t_proc-mem_25.5.1.txt")) == (Process(207795, "VLLMEngineCor", 55436),)
    assert parse_proc_mem(capture("npu", "t_proc-mem_none.txt")) == ()
    assert parse_proc_mem(capture("npu", "err_npu_smi_unsupported_product.txt")) is None


TOOL = """#!/bin/sh
case "$5$7" in
00) i=0; while [ $i -lt 12 ]; do
printf '\\tProcess id:%d  Process name:VLLMWorker_TP     Process memory(MB):%d\\n' $((900 + i)) $((100 + i))
i=$((i + 1)); done ;;
01) echo "This device does not support querying proc-mem." ; exit 3 ;;
*) printf '\\tNo process in device.\\n' ;;
esac
"""


def test_the_probe_of_the_table_asks_itself_for_what_the_table_does_not_show(tmp_path: Path) -> None:
    name = "a3_info_25.2.0_busy_16chips_container_empty_names_8row_cap.txt"
    (tmp_path / "table").write_bytes(capture("npu", name))
    (tmp_path / "npu-smi").write_text(f'#!/bin/sh\n[ "$#" = 1 ] && exec cat {tmp_path}/table\n' + TOOL)
    (tmp_path / "npu-smi").chmod(0o755)
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run(info_probe().argv, capture_output=True, env=env, timeout=60, check=False)
    table = read_info(Sample("npu", 0.0, 0.1, done.returncode, done.stdout, done.stderr))
    assert (table.complete, table.processes_known) == (True, False)
    assert table == read_info(Sample("npu", 0.0, 0.1, 0, capture("npu", name))), (
        "what is behind the table is no part of it"
    )
    full = with_all_processes(table, done.stdout)
    assert [process.mib for process in full.devices[0].processes] == list(range(100, 112))


def test_the_super_pod() -> None:
    assert parse_super_pod(capture("npu", "a3_t_spod-info.txt")) == SuperPod(16777216, 384, 0, 4)
    assert parse_super_pod(b"Invalid card id.\n") is None


@given(st.binary(max_size=300), st.sampled_from([parse_proc_mem, parse_super_pod]))
def test_any_bytes_are_parsed(data: bytes, parse: Callable[[bytes], object]) -> None:
    parse(data)
    parse(data + b"\n")


def test_every_prefix_holds_only_true_values() -> None:
    data = capture("npu", "a3_t_spod-info.txt")
    pod = parse_super_pod(data)
    for end in range(len(data)):
        if (found := parse_super_pod(data[:end])) is not None:
            assert all(getattr(found, each) in (None, getattr(pod, each)) for each in ("sdid", "size", "pod", "server"))
