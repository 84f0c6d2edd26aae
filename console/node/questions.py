"""Asks the engines of this node over HTTP for the console: standing questions at intervals, and single requests.

A standing question sends its answer when it is news; repeated answers are gathered in one message. What an engine says is bounded
and cleaned here, so that no engine can end the link of its node. Headers can carry API keys: they are never logged.
"""

from __future__ import annotations

import json
import time
from typing import Any, Callable, Dict, List, Optional, Tuple

from console.node.cadence import until_next
from console.node.frames import Header
from console.node.http_exchange import Exchange, HttpRequest, Outcome
from console.node.http_loop import HttpLoop, Timer
from console.node.metrics_text import Unreadable, figures, wanted_lines
from console.node.request_error import RequestError

GATHER_S = 0.5
"""Longest time until repeated answers are sent; they also show that the questions are asked."""
MIN_EVERY_S = 0.05
MAX_TIMEOUT_S = 3600.0
MAX_QUESTIONS = 512
MAX_REQUESTS = 64
"""Most single requests at the same time; more are refused."""
MAX_TEXT = 500
"""Most characters of an error, or of an answer of which only the text is wanted."""
MAX_MODELS = 256
MAX_MODEL = 1000
STEP_S = 0.02
"""Smallest change of the time of an answer that is news, where the time is shown; for longer times it is their double."""
STATUS, TEXT, MODELS, FIGURES, OPEN = WANTS = ("status", "text", "models", "figures", "open")
"""What is wanted of an answer: only its status, its text, the ids of a list of models, figures of metrics, an open port."""
BODY = "body"
"""What can be wanted of a single request, in addition to figures."""

Push = Callable[[Dict[str, Any], bytes], None]


class _Standing:
    """One standing question and its newest answer."""

    def __init__(self, asked: Header) -> None:
        self.number = int(asked["id"])
        self.want = str(asked["want"])
        if self.want not in WANTS:
            raise ValueError("unknown question %r" % self.want)
        self.every_s = max(MIN_EVERY_S, float(asked["every_s"]))
        self.request = _request(asked, "" if self.want == OPEN else "GET")
        self.exchange: Optional[Exchange] = None
        self.timer: Optional[Timer] = None
        self.again = False
        self.shown: Optional[Tuple[int, str, Any]] = None
        self.shown_s = 0.0
        self.times = 0
        self.lines = b""
        """The lines of the newest metrics."""

    @property
    def failing(self) -> bool:
        """Whether the newest answer is none that a healthy server gives."""
        return self.shown is not None and (bool(self.shown[1]) or self.shown[0] not in (0, 200))

    def cancel(self) -> None:
        """Ask no more."""
        if self.timer is not None:
            self.timer.cancel()
        if self.exchange is not None:
            self.exchange.cancel()

    def wanted_part(self, outcome: Outcome) -> Any:
        """The wanted part of an answer; None without one."""
        if outcome.error or (self.want != TEXT and outcome.status != 200):
            return None
        if self.want == TEXT:
            return outcome.body.decode("utf-8", "replace")[:MAX_TEXT]
        if self.want == MODELS:
            return _models(outcome.body)
        if self.want == FIGURES:
            lines = wanted_lines(outcome.body)
            if self.shown is not None and self.shown[2] is not None and lines == self.lines:
                return self.shown[2]
            self.lines = lines
            return read_figures(lines)
        return None


class Questions:
    """All questions of one console."""

    def __init__(self, push: Push) -> None:
        self._push = push
        self._loop = HttpLoop()
        self._started = False
        self._standing: Dict[int, _Standing] = {}
        self._single: Dict[int, Exchange] = {}
        self._repeated: Dict[int, float] = {}
        """Number of a question → when it got its last answer again."""
        self._gathering: Optional[Timer] = None

    def update(self, header: Header, _payload: bytes) -> None:
        """Set, drop, or ask at once (`now`) standing questions."""
        self._call(lambda: self._update(header))

    def ask(self, header: Header, payload: bytes) -> None:
        """Send a single request; its reply has the `id` of the request."""
        self._call(lambda: self._ask(header, payload))

    def give_up(self, header: Header, _payload: bytes) -> None:
        """Close the connection of a single request without a reply, so that the engine ends it."""
        self._call(lambda: self._give_up(header.get("ask")))

    def _call(self, work: Callable[[], None]) -> None:
        if not self._started:
            self._started = True
            self._loop.start()
        self._loop.call(work)

    def _update(self, header: Header) -> None:
        for number in header.get("drop") or ():
            self._drop(number)
        for asked in header.get("set") or ():
            self._set(asked)
        for number in header.get("now") or ():
            if number in self._standing:
                self._now(self._standing[number])

    def _drop(self, number: int) -> None:
        standing = self._standing.pop(number, None)
        if standing is not None:
            standing.cancel()
        self._repeated.pop(number, None)

    def _set(self, asked: Header) -> None:
        try:
            standing = _Standing(asked)
            if standing.number not in self._standing and len(self._standing) >= MAX_QUESTIONS:
                raise ValueError("more than %d questions" % MAX_QUESTIONS)
        except (LookupError, TypeError, ValueError, OverflowError) as error:
            self._send(asked.get("id"), Outcome(0, b"", 0.0, "cannot be asked: %s" % error), None)
            return
        before = self._standing.get(standing.number)
        if before is not None and before.request == standing.request and before.want == standing.want:
            before.every_s = standing.every_s
            self._later(before)
            return
        self._drop(standing.number)
        self._standing[standing.number] = standing
        self._now(standing)

    def _now(self, standing: _Standing) -> None:
        """Ask at once, or when the running request has ended."""
        if standing.exchange is not None:
            standing.again = True
            return
        if standing.timer is not None:
            standing.timer.cancel()
        standing.exchange = Exchange(self._loop, standing.request, lambda outcome: self._answered(standing, outcome))
        standing.exchange.begin()

    def _later(self, standing: _Standing) -> None:
        """Ask again at the next interval, together with the other questions."""
        if standing.exchange is not None:
            return
        if standing.timer is not None:
            standing.timer.cancel()
        standing.timer = self._loop.after(until_next(standing.every_s), lambda: self._now(standing))

    def _answered(self, standing: _Standing, outcome: Outcome) -> None:
        standing.exchange = None
        said = standing.wanted_part(outcome)
        news = (outcome.status, outcome.error[:MAX_TEXT], said)
        timed = standing.want in (STATUS, OPEN) and abs(outcome.took_s - standing.shown_s) > max(
            STEP_S, standing.shown_s
        )
        if news != standing.shown or timed:
            standing.times = standing.times + 1 if news == standing.shown else 1
            standing.shown, standing.shown_s = news, outcome.took_s
            self._send(standing.number, outcome, said)
        else:
            standing.times += 1
            if standing.failing and standing.times == 2:
                self._send(standing.number, outcome, said)
            else:
                self._gather(standing)
        if standing.again:
            standing.again = False
            self._now(standing)
        else:
            self._later(standing)

    def _send(self, number: object, outcome: Outcome, said: Any) -> None:
        self._repeated.pop(number, None)  # type: ignore[call-overload]
        header = {"push": "answer", "id": number, "took_s": outcome.took_s, "status": outcome.status}
        self._push(dict(header, error=_text(outcome.error), said=said), b"")

    def _gather(self, standing: _Standing) -> None:
        self._repeated[standing.number] = time.monotonic()
        if self._gathering is None:
            wait_s = min([GATHER_S, *(each.every_s for each in self._standing.values())])
            self._gathering = self._loop.after(wait_s, self._send_repeated)

    def _send_repeated(self) -> None:
        self._gathering = None
        if self._repeated:
            now = time.monotonic()
            found = [[number, round(max(0.0, now - at), 3)] for number, at in self._repeated.items()]
            self._repeated.clear()
            self._push({"push": "same", "ids": found}, b"")

    def _ask(self, header: Header, payload: bytes) -> None:
        number = header["id"]
        try:
            if len(self._single) >= MAX_REQUESTS:
                raise RequestError("busy", "the helper already waits for %d answers" % MAX_REQUESTS)
            request = _request(header, str(header["method"]), payload)
            want = str(header["want"])
        except (RequestError, LookupError, TypeError, ValueError, OverflowError) as error:
            refusal = error if isinstance(error, RequestError) else RequestError("bad-request", "ask: %s" % error)
            self._push(dict(refusal.reply(), id=number), b"")
            return

        def done(outcome: Outcome) -> None:
            del self._single[number]
            said = read_figures(wanted_lines(outcome.body)) if want == FIGURES and outcome.status == 200 else None
            reply = {"id": number, "ok": True, "status": outcome.status, "took_s": outcome.took_s, "said": said}
            self._push(dict(reply, error=_text(outcome.error)), b"" if want == FIGURES else outcome.body)

        def hear(piece: bytes) -> None:
            self._push({"push": "piece", "id": number}, piece)

        self._single[number] = Exchange(self._loop, request, done, hear if header.get("stream") else None)
        self._single[number].begin()

    def _give_up(self, number: object) -> None:
        exchange = self._single.pop(number, None)  # type: ignore[call-overload]
        if exchange is not None:
            exchange.cancel()


def _request(asked: Header, method: str, body: bytes = b"") -> HttpRequest:
    """The request that a console describes. Raises LookupError, TypeError, ValueError for an invalid one."""
    timeout_s = float(asked["timeout_s"])
    if not 0 < timeout_s <= MAX_TIMEOUT_S:
        raise ValueError("a time limit of %g s" % timeout_s)
    headers = [(str(name), str(value)) for name, value in asked["headers"]]
    where = (str(asked["host"]), int(asked["port"]), str(asked["path"]))
    return HttpRequest(*where, timeout_s, method, headers, body, bool(asked["tls"]), str(asked["uds"]))


def _models(body: bytes) -> Optional[List[str]]:
    """The ids in a list of models; None for another body."""
    try:
        listed = [str(each["id"]) for each in json.loads(body.decode("utf-8", "replace"))["data"]]
    except (ValueError, RecursionError, LookupError, TypeError):
        return None
    return [_text(each, MAX_MODEL) for each in listed[:MAX_MODELS]]


def read_figures(lines: bytes) -> Dict[str, Any]:
    """The figures of metrics, or `{"fault": why they cannot be read}`."""
    try:
        return figures(lines)
    except Unreadable as error:
        return {"fault": _text(str(error))}


def _text(text: str, limit: int = MAX_TEXT) -> str:
    """A text that a frame can carry: JSON of an engine can contain halves of characters."""
    return text[:limit].encode("utf-8", "replace").decode("utf-8")
