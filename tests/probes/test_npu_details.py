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
    ChipId,
    SuperPod,
    parse_cards,
    parse_details,
    parse_health,
    parse_mapping,
    parse_proc_mem,
    parse_super_pod,
    parse_topology,
    proc_mem_probe,
    unsupported,
    with_all_processes,
)
from console.probes.npu_smi import info_probe, parse_info, read_info
from tests.probes.captures import capture


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("910A_m_24.1.RC2_8dev_no_mcu.txt", [(card, 0, card, None, "Ascend 910A") for card in range(8)]),
        ("910A_m_8dev_tab_indented.txt", [(card, 0, card, None, "Ascend 910A") for card in range(8)]),
        ("a2_m_910B_8dev_with_mcu.txt", [(card, 0, card, None, "Ascend xxx") for card in range(8)]),
        ("a3_m_16chips.txt", [(each // 2, each % 2, each, each, "Ascend910") for each in range(16)]),
        ("other_m_21.0.4_310_with_mcu.txt", [(6, chip, chip, None, "MiniD") for chip in range(4)]),
        (
            "other_m_310P_4card_2chip.txt",
            [
                (card, chip, at * 2 + chip, None, "Ascend xxx")
                for at, card in enumerate((1, 2, 4, 5))
                for chip in (0, 1)
            ],
        ),
    ],
)
def test_the_ids_of_every_chip(name: str, rows: list[tuple[int, int, int, int | None, str]]) -> None:
    assert parse_mapping(capture("npu", name)) == tuple(ChipId(*row) for row in rows)


def test_cards_are_counted_as_the_driver_counts_them() -> None:
    assert parse_cards(capture("npu", "a2_l_25.5.1_first_two.txt")) == (8, {0: 1, 1: 1})
    assert parse_cards(b"NPU ID : 0\n") is None


@pytest.mark.parametrize(
    ("name", "chips", "key", "numbers"),
    [
        ("910A_t_board_card.txt", [None], "Chip Count", [1]),
        ("910A_t_common_card_docs.txt", [0], "Temperature(C)", [41]),
        ("910B_t_common_docs.txt", [0], "NPU Real-time Power(W)", [69.0]),
        ("a2_t_common_card_910B1_with_mcu_block.txt", [0], "Temperature(C)", [46]),
        ("a2_t_common_card_910B4_npu1_hbm91_aicore6.txt", [0], "HBM Usage Rate(%)", [91]),
        ("a2_t_common_card_910B4_npu7_aicore70_331W.txt", [0], "NPU Real-time Power(W)", [331.1]),
        ("other_t_common_310P_two_chips.txt", [0, 1], "Temperature(C)", [60, 59]),
        ("910A_t_usages_card.txt", [0], "HBM Capacity(MB)", [31129]),
        ("910B_t_usages_docs.txt", [0], "Ctrlcpu Usage Rate(%)", [9]),
        ("a2_t_usages_card_910B1.txt", [0], "HBM Usage Rate(%)", [4]),
        ("a2_t_memory_910B3_25.5.1.txt", [None], "HBM Temperature(C)", [52]),
        ("910A_t_ecc_card_docs.txt", [0], "HBM Double Bit Error Count", [0]),
    ],
)
def test_details_have_one_block_for_each_chip(
    name: str, chips: list[int | None], key: str, numbers: list[float]
) -> None:
    found = parse_details(capture("npu", name))
    assert [detail.chip for detail in found] == chips
    assert [detail.number(key) for detail in found] == numbers


def test_board_values_keep_their_colons_and_na_is_unknown() -> None:
    (chip,) = parse_details(capture("npu", "910A_t_board_chip.txt"))
    assert (chip.text("PCIe Bus Info"), chip.text("PCB ID"), chip.text("Chip Name")) == ("0000:61:00.0", None, "910A")
    (a3,) = parse_details(capture("npu", "a3_t_board_chip_9392.txt"))
    assert (a3.text("NPU Name"), a3.text("Chip Name")) == ("9392", "Ascend910")


def test_the_management_controllers_power_is_not_the_npus() -> None:
    for detail in parse_details(capture("npu", "other_t_common_310P_two_chips.txt")):
        assert detail.number("NPU Real-time Power(W)") is None


ROW = b"\tProcess id:%d  Process name:VLLMEngineCor     Process memory(MB):%d\n"


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (ROW % (207795, 55436), {None: (Process(207795, "VLLMEngineCor", 55436),)}),
        (b"\tNo process in device.\n", {None: ()}),
        (
            ROW % (1, 2)
            + b"\tChip ID                        : 0\n\n\tNo process in device.\n\tChip ID                        : 1\n",
            {0: (Process(1, "VLLMEngineCor", 2),), 1: ()},
        ),
        (b"\tProcess id:9  Process name:                  Process memory(MB):7\n", {None: (Process(9, "", 7),)}),
        (b"", None),
        (b"This device does not support querying proc-mem.\n", None),
        ((ROW % (1, 2))[:-1], None),
    ],
)
def test_the_whole_process_list(data: bytes, found: object) -> None:
    assert parse_proc_mem(data) == found


def test_the_captured_process_list() -> None:
    assert parse_proc_mem(capture("npu", "a2_t_proc-mem_25.5.1.txt")) == {
        None: (Process(207795, "VLLMEngineCor", 55436),)
    }
    assert parse_proc_mem(capture("npu", "t_proc-mem_none.txt")) == {None: ()}
    assert unsupported(capture("npu", "err_npu_smi_unsupported_product.txt"))


TOOL = """#!/bin/sh
case "$5$7" in
00) i=0; while [ $i -lt 12 ]; do
printf '\\tProcess id:%d  Process name:VLLMWorker_TP     Process memory(MB):%d\\n' $((900 + i)) $((100 + i))
i=$((i + 1)); done ;;
01) echo "This device does not support querying proc-mem." ; exit 3 ;;
*) printf '\\tNo process in device.\\n' ;;
esac
"""


def test_more_than_eight_processes_are_asked_for_by_name(tmp_path: Path) -> None:
    table = parse_info(capture("npu", "a3_info_25.2.0_busy_16chips_container_empty_names_8row_cap.txt"))
    (tmp_path / "npu-smi").write_text(TOOL)
    (tmp_path / "npu-smi").chmod(0o755)
    probe = proc_mem_probe([(0, 0), (0, 1), (1, 0)])
    done = subprocess.run(
        probe.argv, capture_output=True, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, timeout=60, check=False
    )
    full = with_all_processes(table, done.stdout)
    assert [process.mib for process in full.devices[0].processes] == list(range(100, 112))
    assert full.processes_known
    assert full.devices[1] == table.devices[1], "an answer that failed changes nothing"
    assert full.devices[2].processes == ()
    cut = with_all_processes(table, done.stdout[: done.stdout.find(b"== rc")])
    assert cut == table


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


def test_health_over_several_lines() -> None:
    found = parse_health(capture("npu", "910A_t_health_chip_alarm_multiline.txt"))
    assert (found.status, found.codes) == ("Alarm", ("A4025021", "8C03A000", "8C084E00"))
    assert [text[:30] for text in found.information] == [
        "ascend_monitor adda heart beat",
        "node type=process-manager, sen",
        "node type=adda, sensor type=He",
    ]
    well = parse_health(capture("npu", "910A_t_health_chip_ok.txt"))
    assert (well.status, well.codes, well.information) == ("OK", (), ())
    assert parse_health(b"\tHealth                         : OK\n").status == "OK"


def test_the_super_pod() -> None:
    assert parse_super_pod(capture("npu", "a3_t_spod-info.txt")) == SuperPod(16777216, 384, 0, 4)
    assert parse_super_pod(b"Invalid card id.\n") is None


def test_the_topology_of_an_a2() -> None:
    found = parse_topology(capture("npu", "a2_t_topo_910B3_8dev.txt"))
    assert len(found.links) == 64
    assert {found.links[each, each] for each in range(8)} == {"X"}
    assert {link for (one, other), link in found.links.items() if one != other} == {"HCCS"}
    assert [found.affinity[each] for each in range(0, 8, 2)] == ["144-167", "96-119", "0-23", "48-71"]


def test_a_single_row_of_an_a3_finds_its_own_column() -> None:
    found = parse_topology(capture("npu", "a3_topo_fragment_row.txt"))
    assert found.links == {(2, 2): "X", (2, 3): "SIO", (2, 4): "HCCS_SW", (2, 5): "HCCS_SW"}


PARSERS: list[Callable[[bytes], object]] = [
    parse_mapping, parse_cards, parse_details, parse_proc_mem, parse_health, parse_super_pod, parse_topology,
]  # fmt: skip


@given(st.binary(max_size=300), st.sampled_from(PARSERS))
def test_any_bytes_are_parsed(data: bytes, parse: Callable[[bytes], object]) -> None:
    parse(data)
    parse(data + b"\n")


@pytest.mark.parametrize(
    "name",
    ["a3_m_16chips.txt", "a2_t_usages_card_910B1.txt", "other_t_common_310P_two_chips.txt", "a3_t_spod-info.txt"],
)
def test_every_prefix_holds_only_true_values(name: str) -> None:
    data = capture("npu", name)
    rows = parse_mapping(data)
    pairs = {pair for detail in parse_details(data) for pair in detail.values.items()}
    pod = parse_super_pod(data)
    for end in range(len(data)):
        part = data[:end]
        assert parse_mapping(part) == rows[: len(parse_mapping(part))]
        assert {pair for detail in parse_details(part) for pair in detail.values.items() if "NPU" not in pair[0]} <= pairs | {
            ("Chip Count", "1"), ("Chip Count", "2"),
        }  # fmt: skip
        if (found := parse_super_pod(part)) is not None:
            assert pod is not None
            assert all(getattr(found, each) in (None, getattr(pod, each)) for each in ("sdid", "size", "pod", "server"))
