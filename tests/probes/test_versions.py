"""The files in which driver and CANN tell their versions, and the errors of npu-smi, read as a person reads them."""

from __future__ import annotations

import pytest

from console.probes.check_types import Answer, NodeRequirements, Verdict, judged
from console.probes.npu_smi import parse_info
from console.probes.preflight_checks import CHECKS
from tests.probes.captures import capture

A2 = NodeRequirements("n0", "a2", 8, 1)
BY_ID = {check.id: check for check in CHECKS if check.applies(A2)}


@pytest.mark.parametrize(
    ("check", "name", "seen"),
    [
        ("15", "version_info_driver_23.0.7.txt", "driver 23.0.7"),
        ("16", "install_info_cann_toolkit_7.0.T10.txt", "CANN 7.0.T10"),
        ("16", "install_info_cann_toolkit_8.3.RC1.txt", "CANN 8.3.RC1"),
        ("16", "install_info_nnae_8.0.RC3_x86.txt", "CANN 8.0.RC3"),
    ],
)
def test_the_version_a_file_tells(check: str, name: str, seen: str) -> None:
    data = capture("npu", name)
    found = judged(BY_ID[check], Answer(data), A2)
    assert (found.verdict, found.seen, found.value) == (Verdict.PASS, seen, seen.split()[1])
    for end in range(len(data)):
        cut = judged(BY_ID[check], Answer(data[:end]), A2)
        assert cut.verdict is Verdict.UNKNOWN or cut.value == found.value, end


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("err_npu_smi_dcmi_8005.txt", "the driver does not answer (dcmi -8005)"),
        ("err_npu_smi_dcmi_8005_with_drvmng.txt", "the driver does not answer (dcmi -8005)"),
        ("err_npu_smi_invalid_card_id.txt", "the card does not exist or was lost"),
        ("err_npu_smi_no_card.txt", "the driver sees no NPU"),
    ],
)
def test_the_captured_errors_say_what_they_mean(name: str, error: str) -> None:
    table = parse_info(capture("npu", name))
    assert (table.devices, table.complete, table.error) == ((), False, error)
