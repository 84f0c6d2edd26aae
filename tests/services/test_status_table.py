"""The table of `status`: unknown and not there are different words."""

from __future__ import annotations

import pytest

from console.cli.status import _print_table
from console.model.snapshot import ClusterSnapshot, Link, LinkState, NodeSnapshot


def test_a_node_without_devices_shows_none_and_one_that_is_silent_about_them_shows_unknown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    up = Link(LinkState.UP)
    nodes = {
        "plain": NodeSnapshot("plain", "10.0.0.1", "plain", 0, up),
        "silent": NodeSnapshot("silent", "10.0.0.2", "a2", 8, up, devices_error="npu-smi hangs"),
    }
    _print_table(ClusterSnapshot(at=100.0, cluster="lab", deployment="x", nodes=nodes))
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    assert "none" in rows["plain"]
    assert "?" not in rows["plain"]
    assert "?/8" in rows["silent"]
    assert rows["silent"].endswith("npu-smi hangs")
