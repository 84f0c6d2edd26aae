"""What commands print for programs fits the schemas under docs/: of a demo cluster, and of whatever a snapshot may hold."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console.cli.printer import json_text
from console.cli.status_data import status_data, status_lines
from console.cli.watch import Printer
from console.model.alert import Alert
from console.model.service import Service
from console.model.snapshot import ClusterSnapshot, Event
from tests.docs.outputs import must_fit

SMALL = """\
name: small
hardware: a3
version: v0.21.0rc1
model: {path: /root/.cache/modelscope/hub/models/vllm-ascend/DeepSeek-V4-Pro-w4a8-mtp, served_name: dsv4}
args: {quantization: ascend, max-model-len: 8192, block-size: 128, disable-hybrid-kv-cache-manager: false}
groups:
  prefill:
    {role: prefill, nodes: 1, tensor_parallel: 16, data_parallel: {size: 1, per_node: 1}, port: 7100,
     kv_transfer: {connector: MooncakeHybridConnector, port: 30000, engine_id: "0"}}
  decode:
    {role: decode, nodes: 1, tensor_parallel: 8, data_parallel: {size: 2, per_node: 2}, port: 7200,
     kv_transfer: {connector: MooncakeHybridConnector, port: 30100, engine_id: "1"}}
proxy: {kind: load-balance, node: prefill/0, port: 8000}
"""
st.register_type_strategy(float, st.floats(-1e12, 1e12))
ANY_SNAPSHOT = st.from_type(ClusterSnapshot)
ANY_NEWS = st.builds(
    ClusterSnapshot,
    events=st.from_type(tuple[Event, ...]),
    alerts=st.from_type(tuple[Alert, ...]),
    service=st.none() | st.from_type(Service),
)
"""A snapshot that has only what a watch prints when it changes."""


@settings(max_examples=30)
@given(ANY_SNAPSHOT)
def test_whatever_a_snapshot_holds_its_status_fits(snapshot: ClusterSnapshot) -> None:
    whole = status_data(snapshot)
    must_fit(["status", "-o", "json"], json_text(whole))
    must_fit(["status", "-o", "jsonl"], "\n".join(map(json_text, status_lines(whole))))


@settings(max_examples=20)
@given(ANY_SNAPSHOT, ANY_NEWS)
def test_whatever_two_snapshots_hold_the_watch_of_them_fits(before: ClusterSnapshot, after: ClusterSnapshot) -> None:
    printer = Printer("jsonl", events=True)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        printer.begin(before)
        printer.take(after)
        printer.take(replace(after, alerts=()))
    must_fit(["watch", "-o", "jsonl"], printed.getvalue())


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Runs commands on a demo cluster of two nodes until their end, the exit code and what they print checked."""
    (tmp_path / "small.yaml").write_text(SMALL)
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    started = [sys.executable, "-m", "console", "demo", "--serve", "--layout", "small.yaml", "--speed", "400"]
    with subprocess.Popen(started, stdout=subprocess.PIPE, text=True, env=env, cwd=tmp_path) as serving:
        try:
            assert serving.stdout is not None
            file = serving.stdout.readline().strip()
            where = ("-c", file, "--layout", "small.yaml", "--assign", "prefill=p0", "--assign", "decode=d0")

            def run(text: str, code: int = 0) -> str:
                words = text.split()
                options = () if words[0] == "results" else where
                command = [sys.executable, "-m", "console", *words, *options]
                done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=tmp_path, check=False)
                assert (done.returncode, bool(done.stdout)) == (code, True), done.stderr
                must_fit(words, done.stdout)
                return done.stdout

            yield run
        finally:
            serving.send_signal(signal.SIGINT)


def test_real_output_about_nodes_fits_its_schema(demo: Callable[..., str]) -> None:
    demo("start -o json --dry-run")
    demo("start -o jsonl --yes")
    assert json.loads(demo("status -o json"))["service"]["model"] == "dsv4"
    demo("preflight -o json")
    demo("tune -o json")
    demo("weights -o json")
    demo("logs -o json -n 3")
    demo("verify -o json")
    demo("sync-proxy -o json --yes")
    load = "--num-prompts 4 --input-len 16 --output-len 8"
    demo(f"bench -o json {load} --dry-run")
    demo(f"bench -o json {load} --tool built-in --yes")
    demo("results -o json")
    demo("stop -o json --yes")
