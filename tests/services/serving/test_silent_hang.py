"""A worker that waits for ever shows in no metric: it is found by asking as soon as tokens cease, and one try is enough.

Figures of vLLM 0.21 on the CPU whose worker's main thread slept: the last tokens are counted in the scrape after, its request
is counted neither as running nor as waiting, `/health` says 200.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import cast

import pytest

from console.model.run import LogChunk
from console.model.snapshot import Grade, HealthCheck, Link, LinkState
from console.probes.metrics import loads
from console.remote.http import HttpAnswer
from console.remote.link import NodeLink
from console.services.monitoring.intervals import Intervals
from console.services.monitoring.records import RunRecord
from console.services.serving.rank_targets import RankTarget
from console.services.serving.works_watch import WorksWatch
from tests.probes.metric_pages import parse_metrics
from tests.services.monitoring.test_monitor import READY_LOG, Scene, key, running

PAGE = (
    'vllm:num_requests_running{{engine="0"}} {running}\nvllm:num_requests_waiting{{engine="0"}} 0\n'
    'vllm:prompt_tokens_total{{engine="0"}} 50\nvllm:generation_tokens_total{{engine="0"}} {tokens}\n'
)
LATE = HttpAnswer(0, b"", 30.0, "no answer in 30 s")
TARGET = RankTarget("decode-0", "decode-0", "decode-0")


class Served:
    """One engine that serves, and the watch that asks it."""

    def __init__(self, root: Path) -> None:
        self.scene = scene = Scene(root)
        scene.links["d0"].link = Link(LinkState.UP, time.time())
        scene.up("d0")
        scene.runs("d0", running("decode-0", size=len(READY_LOG)))
        scene.monitor.on_log("d0", LogChunk(key("decode-0"), 0, READY_LOG, len(READY_LOG)))
        self.run_record: RunRecord = scene.monitor.run_record(key("decode-0"))
        self.run_record.http_checks = tuple(HealthCheck(name, Grade.OK, "", time.time()) for name in ("http", "model"))
        scene.monitor.publish()
        self.watch = WorksWatch(scene.monitor, cast(dict[str, NodeLink], scene.links), Intervals())
        self.now = time.time()

    def scrape(self, ago_s: float, tokens: int, requests: int = 0) -> None:
        """What its metrics said so many seconds ago."""
        scrape = parse_metrics(PAGE.format(running=requests, tokens=tokens).encode(), self.now - ago_s)
        self.run_record.metrics.keep(scrape, loads(self.run_record.metrics.scrape, scrape))

    def judge(self) -> tuple[Grade, str]:
        """What one request of 30 s without an answer says."""
        check = self.watch._judge(TARGET, key("decode-0"), self.run_record, LATE, self.now - 30.0, "")
        return check.grade, check.evidence


@pytest.fixture
async def served(tmp_path: Path) -> Served:
    return Served(tmp_path)


async def test_tokens_of_before_the_hang_prove_nothing(served: Served) -> None:
    for ago_s, tokens in ((42.0, 900), (32.0, 1000), (22.0, 1080), (12.0, 1080), (2.0, 1080)):
        served.scrape(ago_s, tokens)
    words = "hangs: a request for 4 tokens failed (no answer in 30 s), while /health answers 200"
    assert served.judge() == (Grade.FAIL, words), "at the first try: it counts no request though one waits"


async def test_one_that_others_keep_busy_is_late_not_hung(served: Served) -> None:
    for ago_s, tokens in ((32.0, 1000), (22.0, 1080), (12.0, 1160), (2.0, 1240)):
        served.scrape(ago_s, tokens, requests=8)
    assert served.judge() == (Grade.OK, "no answer in time, but other requests on this rank produce tokens")


async def test_one_that_counts_the_request_or_never_served_is_asked_once_more(served: Served) -> None:
    served.scrape(12.0, 0)
    served.scrape(2.0, 0)
    assert served.judge()[0] is Grade.UNKNOWN, "the first request of a run may be compiled for"
    assert served.judge()[0] is Grade.FAIL
    served.watch._failures.clear()
    for ago_s, tokens in ((42.0, 900), (32.0, 1000), (22.0, 1000), (2.0, 1000)):
        served.scrape(ago_s, tokens, requests=1)
    assert served.judge()[0] is Grade.UNKNOWN, "a long prefill of others may be under way"


async def test_a_console_that_is_opened_later_goes_by_what_the_engine_counted_before(served: Served) -> None:
    served.scrape(12.0, 1080)
    served.scrape(2.0, 1080)
    assert served.judge()[0] is Grade.FAIL


async def test_it_is_asked_as_soon_as_the_tokens_of_others_cease_and_not_for_its_own(served: Served) -> None:
    watch, run_record = served.watch, served.run_record
    run_record.works = HealthCheck("works", Grade.OK, "4 tokens in 9 ms", served.now - 41.0)
    for ago_s, tokens in ((50.0, 900), (40.0, 904), (30.0, 904)):
        served.scrape(ago_s, tokens)
    assert not watch._became_idle(run_record), "those four tokens were its answer"
    for ago_s, tokens in ((20.0, 1000), (10.0, 1080)):
        served.scrape(ago_s, tokens)
    assert not watch._became_idle(run_record), "they go on"
    served.scrape(0.0, 1080)
    assert watch._became_idle(run_record)
    assert not watch._became_idle(run_record), "once"
