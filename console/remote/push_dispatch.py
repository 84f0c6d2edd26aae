"""Decodes data that a helper pushes and calls the watcher; makes the request that starts the pushes. Does no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from console.model.cluster import Node
from console.model.run import Hello, LogChunk, Probe, RunKey, RunState, Sample
from console.model.snapshot import Link, LinkState
from console.model.unmanaged_process import UnmanagedProcess
from console.node.frames import Header
from console.remote import frame_decoding, sample_decoding
from console.remote.link_status import LinkStatus
from console.remote.push_requests import PushRequests
from console.remote.standing_questions import StandingQuestions


class Watcher(Protocol):
    """The receiver of pushed data. Every call runs on the event loop and must return at once."""

    def on_link(self, node: str, link: Link) -> None:
        """The state of the link changed."""

    def on_hello(self, node: str, hello: Hello) -> None:
        """A helper started; logs must be followed again."""

    def on_sample(self, node: str, sample: Sample) -> None:
        """A sample arrived."""

    def on_runs(
        self, node: str, runs: tuple[RunState, ...], unmanaged: tuple[UnmanagedProcess, ...], clock: float
    ) -> None:
        """The node listed its runs and its unmanaged processes."""

    def on_log(self, node: str, chunk: LogChunk) -> None:
        """Bytes of a followed log arrived; return them with `credit` when they are stored."""

    def on_log_error(self, node: str, key: RunKey, message: str) -> None:
        """A followed log cannot be read on the node, which tries again by itself."""

    def on_stop(self, node: str, key: RunKey, stage: str) -> None:
        """A stop reached its next stage."""

    def on_remark(self, node: str, text: str) -> None:
        """Only a part of the pushed data is used."""


class PushDispatch:
    """Handles the pushed data of one node."""

    def __init__(self, node: Node, watcher: Watcher, standing: LinkStatus, questions: StandingQuestions) -> None:
        self._node = node
        self._watcher = watcher
        self._standing = standing
        self._questions = questions
        self.said_hello = False
        self._remark = ""
        self._listed: frame_decoding.RunsSeen | None = None
        """The last list of runs of the current helper."""
        self._samples: dict[str, Sample] = {}
        self.asked = PushRequests(())
        """The requests to the current helper."""
        self._pushes = {
            "hello": self._on_hello,
            "refused": self._on_refused,
            "runs": self._on_runs,
            "grown": self._on_grown,
            "sample": self._on_sample,
            "log": self._on_log,
            "log-error": self._on_log_error,
            "stop": self._on_stop,
            "answer": self._on_answer,
            "same": self._on_same,
        }

    def begin(self, probes: Sequence[Probe]) -> None:
        """Another helper starts to push."""
        self.said_hello = False
        self._listed = None
        self._samples.clear()
        self.asked = PushRequests(probes)

    def take(self, header: Header, payload: bytes) -> None:
        """Handle one push. Raises WireError for invalid data and for data that was not requested."""
        push = self._pushes.get(str(header.get("push")))
        if push is not None:
            push(header, payload)

    def _on_hello(self, header: Header, _payload: bytes) -> None:
        if self.said_hello:
            raise frame_decoding.WireError("it sent hello twice")
        hello = frame_decoding.hello(header)
        self.said_hello = True
        self._watcher.on_hello(self._node.name, hello)

    def _on_refused(self, header: Header, _payload: bytes) -> None:
        """The node refuses to be watched: its runs are unknown until its settings change."""
        self._standing.set(LinkState.BLOCKED, *frame_decoding.refused(header))

    def _on_runs(self, header: Header, _payload: bytes) -> None:
        self._first_hello()
        seen = frame_decoding.runs(header)
        self._listed = seen
        if seen.error:
            if (self._standing.link.state, self._standing.link.reason) != (LinkState.BLOCKED, seen.error):
                self._standing.set(LinkState.BLOCKED, seen.error, seen.hint)
            return
        if self._standing.link.state is not LinkState.UP:
            self._standing.set(LinkState.UP)
        if seen.remark != self._remark:
            self._remark = seen.remark
            if seen.remark:
                self._watcher.on_remark(self._node.name, seen.remark)
        self._watcher.on_runs(self._node.name, seen.runs, seen.unmanaged, seen.clock)

    def _on_grown(self, header: Header, _payload: bytes) -> None:
        if self._listed is None or self._listed.error:
            raise frame_decoding.WireError("its logs grew before it listed its runs")
        seen = self._listed = frame_decoding.grown(self._listed, header)
        self._watcher.on_runs(self._node.name, seen.runs, seen.unmanaged, seen.clock)

    def _on_sample(self, header: Header, payload: bytes) -> None:
        self._first_hello()
        probe = str(header.get("probe"))
        self.asked.sample(probe)
        sample = sample_decoding.pushed_sample(probe, header, payload, self._samples.get(probe))
        self._samples[probe] = sample
        self._watcher.on_sample(self._node.name, sample)

    def _on_log(self, header: Header, payload: bytes) -> None:
        chunk = frame_decoding.log(header, payload)
        if self.asked.log(chunk):
            self._watcher.on_log(self._node.name, chunk)

    def _on_log_error(self, header: Header, _payload: bytes) -> None:
        key, message = frame_decoding.log_error(header)
        self.asked.known(key)
        self._watcher.on_log_error(self._node.name, key, message[:500])

    def _on_stop(self, header: Header, _payload: bytes) -> None:
        key, stage = frame_decoding.stage(header)
        self.asked.stage(key)
        self._watcher.on_stop(self._node.name, key, stage)

    def _on_answer(self, header: Header, _payload: bytes) -> None:
        self._first_hello()
        self._questions.answered(header)

    def _on_same(self, header: Header, _payload: bytes) -> None:
        self._first_hello()
        self._questions.repeated(header)

    def _first_hello(self) -> None:
        if not self.said_hello:
            raise frame_decoding.WireError("it sent data before its hello")


def watch_body(node: Node, probes: Sequence[Probe], runs_every_s: float) -> dict[str, object]:
    """The body of the request that starts the watch of a node."""
    runtime = node.runtime
    return {
        "base": node.base,
        "runtime": {
            "words": list(runtime.words),
            "per": runtime.per,
            "container": runtime.container,
            "python": node.python,
        },
        "deployments": None,
        "runs_every_s": runs_every_s,
        "probes": [
            {"name": each.name, "argv": list(each.argv), "every_s": each.every_s, "timeout_s": each.timeout_s}
            for each in probes
        ],
    }
