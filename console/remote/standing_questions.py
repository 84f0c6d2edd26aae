"""The standing questions to the engines of one node: its helper asks them at intervals and sends what is new.

They outlive a helper: the next one gets them again. Only answers to these questions are accepted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from console.node.frames import Header
from console.probes.metrics import Scrape
from console.remote import answer_decoding
from console.remote.frame_decoding import WireError


@dataclass(frozen=True, slots=True)
class Question:
    """A GET to a server of a node, and what is wanted of its answer (`console.node.questions`)."""

    host: str
    port: int
    path: str
    want: str
    every_s: float
    """Time from an answer to the next request."""
    timeout_s: float
    api_key: str = ""
    tls: bool = False
    uds: str = ""

    def fields(self) -> dict[str, object]:
        """The question for the helper."""
        headers = [["Authorization", f"Bearer {self.api_key}"]] if self.api_key else []
        return {
            "want": self.want,
            "host": self.host,
            "port": self.port,
            "path": self.path,
            "tls": self.tls,
            "uds": self.uds,
            "headers": headers,
            "every_s": self.every_s,
            "timeout_s": self.timeout_s,
        }

    def __repr__(self) -> str:
        """Without the key."""
        return f"Question({self.host}:{self.port}{self.path}, {self.want})"


@dataclass(frozen=True, slots=True)
class StandingAnswer:
    """The newest answer to a standing question. `status` is 0 without one, and `error` is the reason."""

    at: float
    """When it arrived at the node, on this machine's clock."""
    status: int
    took_s: float
    error: str = ""
    text: str = ""
    models: tuple[str, ...] | None = None
    figures: Scrape | None = None


Hear = Callable[[StandingAnswer], None]


@dataclass(slots=True)
class _Asked:
    question: Question
    hear: Hear
    answer: StandingAnswer | None = None


class StandingQuestions:
    """The questions to one node. Every answer is passed on at once, also when it is the same again."""

    def __init__(self, notify: Callable[[str, Mapping[str, object]], None]) -> None:
        self._notify = notify
        self._asked: dict[int, _Asked] = {}
        self._last = 0

    def ask(self, question: Question, hear: Hear) -> int:
        """Ask from now on; gives the number of the question."""
        self._last += 1
        self._asked[self._last] = _Asked(question, hear)
        self._send(self._last)
        return self._last

    def change(self, number: int, question: Question) -> None:
        """Ask differently: a new interval counts from now, another request is sent at once."""
        asked = self._asked[number]
        if question != asked.question:
            asked.answer = asked.answer if replace(question, every_s=asked.question.every_s) == asked.question else None
            asked.question = question
            self._send(number)

    def now(self, number: int) -> None:
        """Ask once at once."""
        self._notify("questions", {"now": [number]})

    def end(self, number: int) -> None:
        """Ask no more."""
        if self._asked.pop(number, None) is not None:
            self._notify("questions", {"drop": [number]})

    def begin(self) -> None:
        """A new helper: it gets all questions."""
        for asked in self._asked.values():
            asked.answer = None
        if self._asked:
            self._notify("questions", {"set": [self._fields(number) for number in self._asked]})

    def answered(self, header: Header) -> None:
        """An answer arrived. Raises WireError for an invalid one, and for one that was never requested."""
        said = answer_decoding.answer(header)
        asked = self._known(said.number)
        if asked is None:
            return
        found = answer_decoding.wanted(asked.question.want, said.said)
        asked.answer = StandingAnswer(
            time.time(),
            said.status,
            said.took_s,
            said.error,
            found if isinstance(found, str) else "",
            found if isinstance(found, tuple) else None,
            found if isinstance(found, Scrape) else None,
        )
        asked.hear(asked.answer)

    def repeated(self, header: Header) -> None:
        """Questions got their last answer again. Raises WireError."""
        now = time.time()
        for number, ago_s in answer_decoding.same(header):
            asked = self._known(number)
            if asked is not None and asked.answer is not None:
                asked.answer = replace(asked.answer, at=max(asked.answer.at, now - ago_s))
                asked.hear(asked.answer)

    def _known(self, number: int) -> _Asked | None:
        """The question of that number; None when it was ended."""
        if not 0 < number <= self._last:
            raise WireError("it answered a question that was not asked")
        return self._asked.get(number)

    def _send(self, number: int) -> None:
        self._notify("questions", {"set": [self._fields(number)]})

    def _fields(self, number: int) -> dict[str, object]:
        return {**self._asked[number].question.fields(), "id": number}
