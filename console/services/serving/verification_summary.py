"""The summary of a verification: chats with equal answers as one, and a curl command for the same question."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from console.commands.quoting import quote
from console.model.api_keys import ENGINE_KEY
from console.model.counting import counted
from console.model.deployment import Deployment
from console.model.name_ranges import in_order, name_ranges
from console.model.service import Service
from console.services.serving.request_auth import key_of
from console.services.serving.verification import Proof

CURL_TOKENS = 32


@dataclass(frozen=True, slots=True)
class EqualAnswers:
    """Chats with the same answer."""

    text: str
    """The answer, or what was wrong with it."""
    chats: tuple[Proof, ...]


@dataclass(frozen=True, slots=True)
class ChatGroup:
    """Chats that were sent the same way and had the same outcome."""

    passed: bool | None
    where: str
    """`through proxy`, `to ranks decode-0..15`."""
    answers: tuple[EqualAnswers, ...]
    """The most frequent one first."""

    @property
    def count(self) -> int:
        """The number of chats."""
        return sum(len(each.chats) for each in self.answers)

    @property
    def words(self) -> str:
        """`18 chats to ranks decode-0..15, 0.30 to 0.37 s: 3 different answers to different prompts`."""
        took = [chat.took_s for each in self.answers for chat in each.chats]
        between = f"{min(took):.2f} s" if min(took) == max(took) else f"{min(took):.2f} to {max(took):.2f} s"
        count = counted(self.count, "chat")
        return f"{count} {self.where}, {between}: {self.answer}"

    @property
    def answer(self) -> str:
        """The answer, or how many different ones there are."""
        if len(self.answers) == 1:
            return self.answers[0].text
        return f"{len(self.answers)} different answers" + (" to different prompts" if self.passed else "")


def chat_groups(proofs: Iterable[Proof]) -> tuple[ChatGroup, ...]:
    """The chats among these proofs: first those that failed, then those not covered, then those that passed."""
    found: dict[tuple[bool | None, str, str], list[Proof]] = {}
    for each in proofs:
        if each.number:
            how = each.name.partition(f"chat {each.number} ")[2]
            kind = "rank" if how.startswith("to ") else how
            found.setdefault((each.passed, kind, "" if each.passed else each.seen), []).append(each)
    groups = [_group(passed, kind, chats) for (passed, kind, _), chats in found.items()]
    return tuple(sorted(groups, key=lambda group: (False, None, True).index(group.passed)))


def _group(passed: bool | None, kind: str, chats: Sequence[Proof]) -> ChatGroup:
    by_text: dict[str, list[Proof]] = {}
    for each in chats:
        by_text.setdefault(each.seen, []).append(each)
    answers = (EqualAnswers(text, tuple(same)) for text, same in by_text.items())
    targets = in_order(each.name.rpartition(" ")[2] for each in chats)
    where = kind if kind != "rank" else f"to rank{'s' if len(targets) > 1 else ''} {name_ranges(targets)}"
    return ChatGroup(passed, where, tuple(sorted(answers, key=lambda each: -len(each.chats))))


def curl_command(deployment: Deployment, service: Service | None, prompt: str) -> str:
    """A command that sends one question to the endpoint of a deployment; empty when there is no endpoint.

    The command names the environment variable of an API key, never the key.
    """
    if service is None or not service.endpoint:
        return ""
    question = {"role": "user", "content": prompt}
    body = {"model": service.model, "messages": [question], "max_tokens": CURL_TOKENS}
    groups = ("proxy",) if deployment.proxy_rank() is not None else tuple(deployment.layout.groups)
    wants_key = any(key_of(deployment.layout, group) for group in groups)
    key = f' -H "Authorization: Bearer ${ENGINE_KEY}"' if wants_key else ""
    url = quote(f"{service.endpoint}/v1/chat/completions")
    return f"curl -sS {url} -H 'Content-Type: application/json'{key} -d {quote(json.dumps(body, ensure_ascii=False))}"
