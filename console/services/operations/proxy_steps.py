"""The steps of a plan that change the list of a running proxy, and the step that changes the assignment.

The load-balance proxy of vllm-ascend v0.21.0rc1 only isolates an engine that is removed while any request runs: the engine
gets no new request but stays in the list. The proxy drops it at the first moment without any request; until then the engine
cannot be added again.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

from console.model.counting import counted
from console.model.errors import ConsoleError, NodeError, Unreachable
from console.model.payload import AssignmentChange, Endpoint, ProxyChange
from console.model.plan import Step
from console.model.snapshot import EngineState, LinkState
from console.probes.sanitize import clean
from console.remote.http import EngineHttp, HttpAnswer
from console.services.operations.step_context import Report, StepContext
from console.services.placement.live_assignment import reassigned
from console.services.serving.request_auth import client

REQUEST_S = 10.0
"""Limit of one request to the proxy or to an engine."""
POLL_S = 1.0
IDLE_POLLS = 2
"""Consecutive polls without a request before an engine counts as drained; between two requests KV may still be fetched."""
JOIN_S = 180.0
"""How long the proxy may take to list an engine: it checks every 10 s, and drops a removed engine only when idle."""


@dataclass(frozen=True, slots=True)
class ProxyList:
    """The engines that the proxy lists, from its answer to a change."""

    message: str
    prefill: tuple[str, ...]
    decode: tuple[str, ...]

    def of(self, role: str) -> tuple[str, ...]:
        """The endpoints it lists for a role."""
        return self.prefill if role == "prefill" else self.decode


def parse_answer(answer: HttpAnswer) -> ProxyList:
    """The lists in the proxy's answer. Raises NodeError for an error, a refusal, or a proxy without `/instances`."""
    if answer.error or answer.status != 200:
        error_text = clean(answer.error) or f"{answer.status} {clean(answer.body[:120].decode('utf-8', 'replace'))}"
        hint = "only the load-balance proxy has /instances; read its log: dsv4-console logs proxy"
        raise NodeError(f"the proxy refused the change: {error_text}", kind="refused", hint=hint)
    try:
        found = json.loads(answer.body)
        if "error" in found:
            raise NodeError(f"the proxy refused the change: {clean(str(found['error']))}", kind="refused")
        lists = [tuple(str(each) for each in found[f"current_{role}_instances"]) for role in ("prefill", "decode")]
        return ProxyList(clean(str(found.get("message", "")))[:200], lists[0], lists[1])
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise NodeError(
            "the proxy's answer is not a list of engines", kind="refused", hint="read its log: dsv4-console logs proxy"
        ) from error


async def read_list(http: EngineHttp, address: str, port: int) -> ProxyList:
    """The engines that the proxy lists now, read by adding none. Raises NodeError."""
    request = {"type": "decode", "instances": []}
    return parse_answer(await http.post_json(address, port, "/instances/add", request, REQUEST_S))


class ProxySteps:
    """Runs the proxy steps and the assignment step of one plan."""

    def __init__(self, context: StepContext) -> None:
        self._context = context

    async def reassign(self, step: Step, report: Report) -> str:
        """Apply the assignment of the plan. Raises ConsoleError when the assignment has changed since the plan was made."""
        change, now = step.payload, self._context.monitor.deployment
        if not isinstance(change, AssignmentChange) or self._context.change is None:
            raise ConsoleError("this plan changes no assignment")
        after = change.after
        if now.assignment != change.before:
            raise ConsoleError("the assignment was changed since the plan was made", hint="make the plan again")
        self._context.change(lambda was: reassigned(was, after))
        return "saved"

    async def drain(self, step: Step, report: Report) -> str:
        """Remove engines from the proxy, then wait until they have no request; after the time limit the plan continues."""
        try:
            removed = await self._remove(step)
        except NodeError as error:
            if self._context.plan.verb != "stop":
                raise
            return f"{error}; the engines are stopped nevertheless"
        change = _change(step)
        limit = change.drain_s
        started, idle, left = time.monotonic(), 0, 0
        while time.monotonic() - started < limit:
            left = sum(await asyncio.gather(*(self._requests(each) for each in change.endpoints)))
            idle = idle + 1 if left == 0 else 0
            if idle >= IDLE_POLLS:
                return f"{removed}; no request left after {time.monotonic() - started:.0f} s"
            if self._context.cancelled.is_set():
                return f"{removed}; {_still(left)}. The engines stay out of the proxy: sync-proxy adds them again"
            report(f"{removed}; {_still(left)}")
            await asyncio.sleep(POLL_S)
        return f"{removed}; {_still(left)} after {limit:.0f} s; the stop of the engines aborts them"

    async def leave(self, step: Step, report: Report) -> str:
        """Remove engines that no longer serve from the proxy."""
        return await self._remove(step)

    async def join(self, step: Step, report: Report) -> str:
        """Add ready engines to the proxy, and wait until it lists them."""
        change = _change(step)
        wanted = {str(each): each.engine for each in change.endpoints}
        isolated = self._isolated(step)
        started, requested = time.monotonic(), set[str]()
        missing = dict(wanted)
        while time.monotonic() - started < JOIN_S and not self._context.cancelled.is_set():
            now = (await self._change_list(step, [])).of(change.role)
            if dropped := isolated & {name for each, name in wanted.items() if each not in now}:
                isolated -= dropped
                await self._save_isolated()
            missing = {each: name for each, name in wanted.items() if each not in now or name in isolated}
            if not missing:
                self._context.monitor.touch()
                return f"{len(wanted)} listed by the proxy"
            unrequested = [each for each in missing if each not in now and each not in requested]
            if unrequested:
                await self._change_list(step, unrequested)
                requested.update(unrequested)
            report(_waiting(missing, isolated))
            await asyncio.sleep(POLL_S)
        raise ConsoleError(
            _waiting(missing, isolated),
            hint="the engines are ready; sync-proxy (D) adds them once the proxy is idle, a restart of the proxy at once",
        )

    async def _remove(self, step: Step) -> str:
        change = _change(step)
        mine = {str(each): each.engine for each in change.endpoints}
        now = (await self._change_list(step, [*mine])).of(change.role)
        kept = [name for each, name in mine.items() if each in now]
        if kept:
            self._isolated(step).update(kept)
            await self._save_isolated()
        self._context.monitor.touch()
        return "isolated in the proxy" if kept else "removed from the proxy"

    async def _change_list(self, step: Step, endpoints: Sequence[str]) -> ProxyList:
        """Request the step's change for these endpoints; without endpoints it only reads the list."""
        change = _change(step)
        request = {"type": change.role, "instances": list(endpoints)}
        http = self._context.link(step).http()
        path = f"/instances/{change.verb}"
        return parse_answer(await http.post_json(change.address, change.port, path, request, REQUEST_S))

    async def _requests(self, endpoint: Endpoint) -> int:
        """Requests that will end on an engine: 0 when it is not ready, as they may hang; 1 without an answer."""
        seen = self._context.monitor.snapshot.engines.get(endpoint.engine)
        if seen is None or seen.state is not EngineState.READY:
            return 0
        link = self._context.link_to(endpoint.node)
        if link.link.state is not LinkState.UP:
            raise Unreachable(f"{endpoint.node} is not connected, so the requests on {endpoint.engine} are unknown")
        http = client(link, self._context.monitor.deployment.layout, seen.group)
        scrape = await http.metrics(endpoint.address, endpoint.port, REQUEST_S)
        if scrape.error:
            return 1
        return sum(
            int(each.gauges.get("running", 0) + each.gauges.get("waiting", 0)) for each in scrape.engines.values()
        )

    def _isolated(self, step: Step) -> set[str]:
        """The engines that were removed from the running proxy and are still in its list."""
        key = self._context.monitor.current("proxy")
        return self._context.monitor.run_record(key).isolated if key is not None else set()

    async def _save_isolated(self) -> None:
        """Save the isolated engines for other consoles and for later sessions."""
        if self._context.notes is not None:
            await self._context.notes.save_isolated()


def _change(step: Step) -> ProxyChange:
    if not isinstance(step.payload, ProxyChange):
        raise ConsoleError("the plan has no proxy change")
    return step.payload


def _waiting(missing: dict[str, str], isolated: set[str]) -> str:
    names = ", ".join(list(missing.values())[:4])
    if any(name in isolated for name in missing.values()):
        return f"{names}: the proxy takes a removed engine back only after a moment without any request"
    return f"{names}: the proxy does not list them yet; it checks every 10 s whether they answer"


def _still(left: int) -> str:
    return f"{counted(left, 'request')} still run{'s' if left == 1 else ''}"
