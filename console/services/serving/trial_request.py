"""Builds the test completion for one rank, and checks and compares the answers.

Every rank gets the same prompt, so that answers can be compared.
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
from console.services.serving.answer_checks import answer_fault, completion_text, count_fault
from console.services.serving.health import expected_model
from console.services.serving.request_auth import client

PROMPT = "The capital of France is"
EXPECTED = "Paris"
"""The expected first word of an answer."""
TOKENS = 4
"""Few tokens, because later tokens may differ between kernels of other sizes without a fault."""

_WORD = re.compile(r"\s*(\w+|\S+)")


def trial_body(model: str, tokens: int = TOKENS) -> dict[str, object]:
    """The request body: greedy, with all tokens shown, so that an answer without text is a fault."""
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
    """Send the test completion to a server, or with `headers` to one rank behind it. Errors are part of the answer."""
    deployment = monitor.deployment
    address = deployment.address(engine.node) or "127.0.0.1"
    http = client(link, deployment.layout, engine.group)
    body = trial_body(expected_model(deployment), tokens)
    return await http.post_json(address, engine.port or 0, "/v1/completions", body, timeout_s, headers=headers)


def trial_fault(answer: HttpAnswer, tokens: int = TOKENS) -> str:
    """What is wrong with text or counts of a test answer; empty when nothing is."""
    wrong = answer_fault(answer)
    if wrong:
        return wrong
    if not completion_text(answer).strip():
        return "completion 200 without text"
    wrong = count_fault(_usage(answer), tokens, _finish(answer))
    return f"completion 200, but {wrong}" if wrong else ""


@dataclass(frozen=True, slots=True)
class TrialAnswer:
    """The part of a rank's answer that must be equal for all ranks."""

    word: str
    """The first word; later words may differ without a fault."""
    prompt_tokens: int | None = None

    def __str__(self) -> str:
        return repr(clean(self.word)[:40])


def trial_answer(answer: HttpAnswer) -> TrialAnswer:
    """The comparable answer of a rank, from an answer without fault."""
    found = _WORD.match(completion_text(answer))
    prompt = _usage(answer).get("prompt_tokens")
    return TrialAnswer(found[1] if found else "", prompt if isinstance(prompt, int) else None)


def outliers(answers: Mapping[str, TrialAnswer], agreed: TrialAnswer | None = None) -> dict[str, str]:
    """Rank -> how its answer differs from the right one; empty when all agree or the right one is unknown.

    Right is the answer of more than half of the ranks, else the last common answer (`agreed`), else the only sensible answer.
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


def disagreement(answers: Mapping[str, TrialAnswer], agreed: TrialAnswer | None = None) -> str:
    """How ranks disagree when the right answer is unknown; empty otherwise."""
    if len({*answers.values()}) < 2 or outliers(answers, agreed):
        return ""
    return ", ".join(f"{name} answers {each}" for name, each in answers.items())


def common_answer(answers: Sequence[TrialAnswer]) -> TrialAnswer | None:
    """The common answer of at least two ranks; None when they differ."""
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
