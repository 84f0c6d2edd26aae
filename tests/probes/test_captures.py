"""Every capture of the reference folder, whole or cut, goes through every parser of its kind without a wrong value."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from console.diagnosis.matcher import Matcher
from console.diagnosis.signatures import load_signatures
from console.probes import hccn, npu_details
from console.probes.engine_log import LaunchLog
from console.probes.npu_smi import parse_info
from tests.shared import SHARED, needs_shared

NPU = sorted((SHARED / "fixtures" / "npu").rglob("*.txt"))
LOGS = sorted((SHARED / "fixtures" / "vllm").rglob("*.log"))
SIGNATURES = load_signatures()
PARSERS: tuple[Callable[[bytes], object], ...] = (
    npu_details.parse_proc_mem,
    npu_details.parse_super_pod,
    hccn.parse_answer,
    hccn.parse_pings,
    hccn.parse_hccn,
    hccn.parse_conf,
)


@needs_shared
@pytest.mark.parametrize("path", NPU, ids=lambda path: path.stem)
def test_cut_tables_hold_no_wrong_device(path: Path) -> None:
    data = path.read_bytes()
    whole = {device.id: device for device in parse_info(data).devices}
    for end in range(0, len(data), max(41, len(data) // 25)):
        for parse in PARSERS:
            parse(data[:end])
        for device in parse_info(data[:end]).devices:
            other = whole[device.id]
            for name in ("health", "aicore_percent", "hbm_used_mib", "hbm_total_mib", "temperature_c", "power_w"):
                assert getattr(device, name) in (None, getattr(other, name)), (end, name)


@needs_shared
@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.stem)
def test_logs_read_the_same_in_small_pieces(path: Path) -> None:
    data = path.read_bytes()
    whole, pieces = LaunchLog(), LaunchLog()
    all_at_once, streamed = Matcher(SIGNATURES), Matcher(SIGNATURES)
    whole.feed(data, 5.0)
    all_at_once.feed(data, 5.0)
    for start in range(0, len(data), 701):
        pieces.feed(data[start : start + 701], 5.0)
        streamed.feed(data[start : start + 701], 5.0)
    assert pieces.state == whole.state
    assert [(hit.signature.id, hit.offset, hit.count) for hit in streamed.hits] == [
        (hit.signature.id, hit.offset, hit.count) for hit in all_at_once.hits
    ]
