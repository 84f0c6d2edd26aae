"""The completion by which the console tries one rank: what is sent, and what is wrong with its answer.

Every rank of a deployment gets the same question, so that their answers can be compared.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from console.model.snapshot import EngineSnapshot
from console.probes.sanitize import clean
from console.remote.http import HttpAnswer
from console.remote.link import NodeLink
from console.services.monitoring.monitor import Monitor
from console.services.serving.answer_checks import complaint, completion_text, count_fault
from console.services.serving.health import expected_model
from console.services.serving.request_auth import client

PROMPT = "The capital of France is"
EXPECTED = "Paris"
"""What a language model makes of it."""
TOKENS = 4
"""Few: after more, kernels of other sizes may rightly disagree on what is nearly as likely."""

_WORD = re.compile(r"\s*(\w+|\S+)")


def trial_body(model: str, tokens: int = TOKENS) -> dict[str, object]:
    """The request: greedy, and every token shown whatever it is, so that an answer without text is a fault and no accident."""
    body = {"model": model, "prompt": PROMPT, "max_tokens": tokens, "temperature": 0, "seed": 0}
    return {**body, "ignore_eos": True, "skip_special_tokens": False}


async def send_trial(
    monitor: Monitor,
    link: NodeLink,
    engine: EngineSnapshot,
    timeout_s: float,
    headers: Mapping[str, str] | None = None,
    tokens: int = TOKENS,
) -> HttpAnswer:
    """Ask a server, or with `headers` one rank behind it; what comes back is data, whatever happens."""
    deployment = monitor.deployment
    address = deployment.address(engine.node) or "127.0.0.1"
    http = client(link, deployment.layout, engine.group)
    body = trial_body(expected_model(deployment), tokens)
    return await http.post_json(address, engine.port or 0, "/v1/completions", body, timeout_s, headers=headers)


def trial_fault(answer: HttpAnswer, tokens: int = TOKENS) -> str:
    """What is wrong with the answer to a trial, its text and its counts; empty when nothing is."""
    wrong = complaint(answer)
    if wrong:
        return wrong
    if not completion_text(answer).strip():
        return "completion 200 with no text in it"
    wrong = count_fault(_usage(answer), tokens, _finish(answer))
    return f"completion 200, but {wrong}" if wrong else ""


@dataclass(frozen=True, slots=True)
class TrialAnswer:
    """What one rank made of the question, as far as two ranks must agree on it."""

    word: str
    """The first word of its answer: later ones may differ for good reasons."""
    prompt_tokens: int | None = None

    def __str__(self) -> str:
        return repr(clean(self.word)[:40])


def said(answer: HttpAnswer) -> TrialAnswer:
    """The answer of a rank that `trial_fault` has nothing to say against."""
    found = _WORD.match(completion_text(answer))
    prompt = _usage(answer).get("prompt_tokens")
    return TrialAnswer(found[1] if found else "", prompt if isinstance(prompt, int) else None)


def odd_ones(answers: Mapping[str, TrialAnswer], agreed: TrialAnswer | None = None) -> dict[str, str]:
    """Rank -> how its answer differs from that of its peers; empty where all agree, or nobody can tell who is right.

    Right is what more than half say, else what all said before (`agreed`), else the one answer that a language model gives.
    """
    counts = Counter(answers.values())
    if len(counts) < 2:
        return {}
    most, times = counts.most_common(1)[0]
    sensible = [each for each in counts if each.word == EXPECTED]
    right = most if 2 * times > len(answers) else agreed if agreed in counts else None
    right = right or (sensible[0] if len(sensible) == 1 else None)
    if right is None:
        return {}
    peers = ", ".join([name for name, each in answers.items() if each == right][:3])
    return {name: _differs(each, right, peers) for name, each in answers.items() if each != right}


def undecided(answers: Mapping[str, TrialAnswer], agreed: TrialAnswer | None = None) -> str:
    """How ranks disagree where nobody can tell who is right; empty otherwise."""
    if len({*answers.values()}) < 2 or odd_ones(answers, agreed):
        return ""
    return ", ".join(f"{name} answers {each}" for name, each in answers.items())


def one_answer(answers: Sequence[TrialAnswer]) -> TrialAnswer | None:
    """What all of at least two say; None when they do not agree."""
    return answers[0] if len(answers) > 1 and len({*answers}) == 1 else None


def _differs(mine: TrialAnswer, right: TrialAnswer, peers: str) -> str:
    if mine.word == right.word:
        counts = f"{mine.prompt_tokens} tokens of the same prompt where {peers} counts {right.prompt_tokens}"
        return f"completion 200, but it counts {counts}"
    return f"completion 200, but it answers {mine} where {peers} answers {right}"


def _usage(answer: HttpAnswer) -> Mapping[str, object]:
    body = json.loads(answer.body)
    found = body.get("usage") if isinstance(body, dict) else None
    return found if isinstance(found, dict) else {}


def _finish(answer: HttpAnswer) -> str:
    return str(json.loads(answer.body)["choices"][0].get("finish_reason"))
