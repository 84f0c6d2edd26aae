"""The steps of a plan that tell a running proxy who is behind it, and the one that changes which node runs which group.

What the load-balance proxy of vllm-ascend v0.21.0rc1 does: an engine that is removed while any request runs is only isolated.
It gets nothing new then, is counted on, and is forgotten when the proxy has a moment without any request at all; until then
it cannot be added again.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

from console.model.errors import ConsoleError, NodeError, Unreachable
from console.model.payload import AssignmentChange, Endpoint, ProxyChange
from console.model.plan import Step
from console.model.polling import METRICS
from console.model.snapshot import EngineState, LinkState
from console.probes.metrics import parse_metrics
from console.probes.sanitize import clean
from console.remote.http import AsyncHttp, HttpAnswer
from console.services.operations.step_context import Say, StepContext
from console.services.placement.live_assignment import reassigned

ASK_S = 10.0
"""Limit of one question to the proxy or to an engine."""
LOOK_S = 1.0
QUIET_LOOKS = 2
"""Looks in a row without a request before an engine counts as drained: KV of a prefilled request is fetched in between."""
JOIN_S = 180.0
"""How long the proxy may take to list an engine: it looks every 10 s, and forgets a removed one only in a quiet moment."""


@dataclass(frozen=True, slots=True)
class ProxyAnswer:
    """What the proxy says after a change."""

    message: str
    prefill: tuple[str, ...]
    decode: tuple[str, ...]

    def of(self, role: str) -> tuple[str, ...]:
        """The endpoints it lists for a role."""
        return self.prefill if role == "prefill" else self.decode


def understood(answer: HttpAnswer) -> ProxyAnswer:
    """The proxy's answer. Raises NodeError when it is none: an error, a refusal, or a proxy without `/instances`."""
    if answer.error or answer.status != 200:
        said = clean(answer.error) or f"{answer.status} {clean(answer.body[:120].decode('utf-8', 'replace'))}"
        hint = "only the load-balance proxy has /instances; see logs proxy"
        raise NodeError(f"the proxy did not take it: {said}", kind="refused", hint=hint)
    try:
        found = json.loads(answer.body)
        if "error" in found:
            raise NodeError(f"the proxy did not take it: {clean(str(found['error']))}", kind="refused")
        lists = [tuple(str(each) for each in found[f"current_{role}_instances"]) for role in ("prefill", "decode")]
        return ProxyAnswer(clean(str(found.get("message", "")))[:200], lists[0], lists[1])
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise NodeError("the proxy's answer is no list of engines", kind="refused", hint="see logs proxy") from error


async def listed(http: AsyncHttp, address: str, port: int) -> ProxyAnswer:
    """What the proxy lists now: adding nothing changes nothing and is answered with the lists. Raises NodeError."""
    ask = {"type": "decode", "instances": []}
    return understood(await http.post_json(address, port, "/instances/add", ask, ASK_S))


class ProxySteps:
    """Does the steps of one plan that concern the proxy."""

    def __init__(self, scope: StepContext) -> None:
        self._scope = scope

    async def reassign(self, step: Step, say: Say) -> str:
        """Make the plan's assignment the one that counts, unless somebody changed it since the plan was made."""
        change, now = step.payload, self._scope.monitor.deployment
        if not isinstance(change, AssignmentChange) or self._scope.change is None:
            raise ConsoleError("this plan changes no assignment")
        after = change.after
        if now.assignment != change.before:
            raise ConsoleError("the assignment was changed since the plan was made", hint="make the plan anew")
        self._scope.change(lambda was: reassigned(was, after))
        return "saved"

    async def drain(self, step: Step, say: Say) -> str:
        """Take engines out of the proxy, then wait until they have no request; time that is up lets the plan go on."""
        try:
            said = await self._remove(step)
        except NodeError as error:
            if self._scope.plan.verb != "stop":
                raise
            return f"{error}; stopped all the same"
        change = _change(step)
        limit = change.drain_s
        began, quiet, left = time.monotonic(), 0, 0
        while time.monotonic() - began < limit:
            left = sum(await asyncio.gather(*(self._requests(each) for each in change.endpoints)))
            quiet = quiet + 1 if left == 0 else 0
            if quiet >= QUIET_LOOKS:
                return f"{said}; no request left after {time.monotonic() - began:.0f} s"
            if self._scope.cancelled.is_set():
                return f"{said}; {left} requests still run. They stay out of the proxy: sync-proxy puts them back"
            say(f"{said}; {left} requests still run")
            await asyncio.sleep(LOOK_S)
        return f"{said}; {left} requests still ran after {limit:.0f} s and are cut"

    async def leave(self, step: Step, say: Say) -> str:
        """Take engines out of the proxy that serve nobody any more."""
        return await self._remove(step)

    async def join(self, step: Step, say: Say) -> str:
        """Have the proxy list engines that are ready."""
        change = _change(step)
        wanted = {str(each): each.engine for each in change.endpoints}
        isolated = self._isolated(step)
        began, asked = time.monotonic(), set[str]()
        missing = dict(wanted)
        while time.monotonic() - began < JOIN_S and not self._scope.cancelled.is_set():
            now = (await self._tell(step, [])).of(change.role)
            if gone := isolated & {name for each, name in wanted.items() if each not in now}:
                isolated -= gone
                await self._keep_isolated()
            missing = {each: name for each, name in wanted.items() if each not in now or name in isolated}
            if not missing:
                self._scope.monitor.touch()
                return f"{len(wanted)} behind the proxy"
            fresh = [each for each in missing if each not in now and each not in asked]
            if fresh:
                await self._tell(step, fresh)
                asked.update(fresh)
            say(_waiting(missing, isolated))
            await asyncio.sleep(LOOK_S)
        raise ConsoleError(
            _waiting(missing, isolated),
            hint="they are ready; sync-proxy (D) puts them back once it is quiet, a restart of the proxy at once",
        )

    async def _remove(self, step: Step) -> str:
        change = _change(step)
        mine = {str(each): each.engine for each in change.endpoints}
        now = (await self._tell(step, [*mine])).of(change.role)
        kept = [name for each, name in mine.items() if each in now]
        if kept:
            self._isolated(step).update(kept)
            await self._keep_isolated()
        self._scope.monitor.touch()
        return "isolated in the proxy" if kept else "taken out of the proxy"

    async def _tell(self, step: Step, endpoints: Sequence[str]) -> ProxyAnswer:
        """Ask for the step's change with some of its endpoints; none at all asks only what is listed."""
        change = _change(step)
        ask = {"type": change.role, "instances": list(endpoints)}
        http = self._scope.link(step).http()
        path = f"/instances/{change.verb}"
        return understood(await http.post_json(change.address, change.port, path, ask, ASK_S))

    async def _requests(self, endpoint: Endpoint) -> int:
        """Requests an engine has that will end; those on one that is not ready never may. No answer counts as one."""
        seen = self._scope.monitor.snapshot.engines.get(endpoint.engine)
        if seen is None or seen.state is not EngineState.READY:
            return 0
        link = self._scope.link_to(endpoint.node)
        if link.link.state is not LinkState.UP:
            raise Unreachable(f"{endpoint.node} is not connected, so the requests on {endpoint.engine} are not known")
        answer = await link.http().get(endpoint.address, endpoint.port, METRICS, ASK_S)
        if answer.error or answer.status != 200:
            return 1
        engines = parse_metrics(answer.body, 0.0).engines.values()
        return sum(int(each.gauges.get("running", 0) + each.gauges.get("waiting", 0)) for each in engines)

    def _isolated(self, step: Step) -> set[str]:
        """What the running proxy was told to use no more, as long as it still counts it."""
        key = self._scope.monitor.current("proxy")
        return self._scope.monitor.learnt(key).isolated if key is not None else set()

    async def _keep_isolated(self) -> None:
        """For the other consoles, and for those that are opened later."""
        if self._scope.notes is not None:
            await self._scope.notes.keep_isolated()


def _change(step: Step) -> ProxyChange:
    if not isinstance(step.payload, ProxyChange):
        raise ConsoleError("the plan names no engine for the proxy")
    return step.payload


def _waiting(missing: dict[str, str], isolated: set[str]) -> str:
    names = ", ".join(list(missing.values())[:4])
    if any(name in isolated for name in missing.values()):
        return f"{names}: the proxy takes a removed engine back only after a moment without any request"
    return f"{names}: the proxy does not list them yet; it looks every 10 s whether they answer"
