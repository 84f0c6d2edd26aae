"""What counts as an answer of an engine or the proxy, and what is wrong with one that does not. Pure; asking is others' job."""

from __future__ import annotations

import json
from collections.abc import Mapping

from console.probes.sanitize import clean
from console.remote.http import HttpAnswer
from console.services.serving.request_auth import WANTED, barred

EMPTY_200 = "empty-200"
EMPTY_500 = "proxy-500-no-body"
BARE = b"Internal Server Error"
"""All that Starlette says of an exception nobody caught."""
CUT_SHORT = ("abort", "error")
"""Reasons for which an engine ends a request it has not answered (vLLM 0.21, v1/engine)."""


def complaint(answer: HttpAnswer) -> str:
    """What is wrong with the answer to a completion; empty when it is one."""
    if not answer.status:
        return clean(answer.error) or "no answer"
    said = clean(answer.body[:300].decode("utf-8", "replace")).strip()
    if barred(answer):
        return f"completion 401: {WANTED}"
    if answer.status != 200:
        return f"completion {answer.status}: {said or 'without a body'}"
    if answer.error:
        return f"completion 200, but {clean(answer.error)}"
    if not answer.body.strip():
        return "completion 200 with nothing in it"
    try:
        choices = json.loads(answer.body)["choices"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return f"completion 200, but no choices in it: {said[:120]}"
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return "completion 200 with no choice in it"
    ended = choices[0].get("finish_reason")
    return f"completion 200, but its request ended by {ended}" if ended in CUT_SHORT else ""


def proxy_fact(answer: HttpAnswer) -> str:
    """The fact of the table of signatures that a proxy's answer shows, or nothing."""
    if answer.error:
        return ""
    return {(200, b""): EMPTY_200, (500, b""): EMPTY_500, (500, BARE): EMPTY_500}.get(
        (answer.status, answer.body.strip()), ""
    )


def completion_text(answer: HttpAnswer) -> str:
    """The text of a completion that `complaint` has nothing to say against; empty without one."""
    try:
        text = json.loads(answer.body)["choices"][0]["text"]
    except (ValueError, RecursionError, KeyError, TypeError, IndexError):
        return ""
    return text if isinstance(text, str) else ""


def count_fault(usage: Mapping[str, object], tokens: int, finish: str = "") -> str:
    """What is wrong with the token counts of an answer for which `tokens` were asked at most; empty without counts."""
    made, prompt = usage.get("completion_tokens"), usage.get("prompt_tokens")
    if isinstance(made, int) and (not 0 < made <= tokens or (finish == "length" and made != tokens)):
        return f"it counts {made} tokens where {tokens} were asked for"
    if isinstance(prompt, int) and prompt < 1:
        return f"it counts {prompt} tokens of the prompt"
    return ""


class ChatStream:
    """A streamed chat while it comes: bytes in, the text so far out, and at the end whether it was whole."""

    def __init__(self, tokens: int | None = None) -> None:
        """`tokens`: how many were asked for at most; what the stream counts is checked against it."""
        self.text = ""
        self.error = ""
        self._tokens = tokens
        self._usage: Mapping[str, object] = {}
        self._rest = b""
        self._pieces = 0
        self._done = False

    def feed(self, data: bytes) -> str:
        """Take bytes as they come; the text in them."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        return "".join(self._line(line) for line in lines)

    def _line(self, line: bytes) -> str:
        text = line.decode("utf-8", "replace").strip()
        data = text.removeprefix("data:").strip() if text.startswith("data:") else ""
        if data == "[DONE]":
            self._done = True
        elif data and not self.error:
            said, self.error = self._piece(data)
            self.text += said
            self._pieces += not self.error
            return said
        return ""

    def verdict(self, answer: HttpAnswer) -> tuple[bool, str]:
        """(whether it was a whole chat with text in it, the text or what is wrong); `answer` has its status and all its bytes."""
        if answer.status != 200 or answer.error or not answer.body.strip():
            return False, complaint(answer).replace("completion", "chat", 1)
        self.feed(b"\n")
        if self.error:
            return False, f"chat 200, then {clean(self.error)[:160]}"
        if not self._pieces:
            return False, f"chat 200, but no stream: {clean(answer.body[:120].decode('utf-8', 'replace'))}"
        if not self.text.strip():
            return False, "chat 200 with no text in it"
        if self._tokens is not None and (wrong := count_fault(self._usage, self._tokens)):
            return False, f"chat 200, but {wrong}"
        shown = clean(self.text)
        return self._done, shown[:120] if self._done else f"the stream broke off after {shown[:80]!r}"

    def _piece(self, data: str) -> tuple[str, str]:
        """(text, error) of one event of the stream; reasoning counts as text."""
        try:
            found = json.loads(data)
        except (ValueError, RecursionError):
            return "", f"an event that is no JSON: {data[:80]}"
        if not isinstance(found, dict):
            return "", f"an event that is no chat: {data[:80]}"
        if said := found.get("error") or (found.get("object") == "error" and found.get("message")):
            return "", f"the error {said}"
        usage = found.get("usage")
        self._usage = usage if isinstance(usage, dict) else self._usage
        words = wrong = ""
        choices = found.get("choices")
        for choice in [each for each in choices if isinstance(each, dict)] if isinstance(choices, list) else ():
            delta, ended = choice.get("delta"), choice.get("finish_reason")
            wrong = f"its request ended by {ended}" if ended in CUT_SHORT else wrong
            for key in ("reasoning_content", "reasoning", "content"):
                part = delta.get(key) if isinstance(delta, dict) else None
                words += part if isinstance(part, str) else ""
        return words, wrong


def streamed(answer: HttpAnswer) -> tuple[bool, str]:
    """(whether it is a whole streamed chat with text in it, the text or what is wrong)."""
    stream = ChatStream()
    stream.feed(answer.body)
    return stream.verdict(answer)
