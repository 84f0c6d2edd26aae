"""Checks answers of engines and the proxy, and describes what is wrong with them. Pure; sends nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping

from console.probes.sanitize import clean
from console.remote.http import HttpAnswer
from console.services.serving.request_auth import KEY_WANTED, unauthorized

EMPTY_200 = "empty-200"
EMPTY_500 = "proxy-500-no-body"
BARE = b"Internal Server Error"
"""The body that Starlette sends for an uncaught exception."""
CUT_SHORT = ("abort", "error")
"""Finish reasons of a request that the engine ended without an answer (vLLM 0.21, v1/engine)."""


def answer_fault(answer: HttpAnswer) -> str:
    """What is wrong with the answer to a completion; empty when the answer is valid."""
    if not answer.status:
        return clean(answer.error) or "no answer"
    said = clean(answer.body[:300].decode("utf-8", "replace")).strip()
    if unauthorized(answer.status):
        return f"completion 401: {KEY_WANTED}"
    if answer.status != 200:
        return f"completion {answer.status}: {said or 'without a body'}"
    if answer.error:
        return f"completion 200, but {clean(answer.error)}"
    if not answer.body.strip():
        return "completion 200 with an empty body"
    try:
        choices = json.loads(answer.body)["choices"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return f"completion 200, but without choices: {said[:120]}"
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return "completion 200 without a choice"
    ended = choices[0].get("finish_reason")
    return f"completion 200, but its request ended by {ended}" if ended in CUT_SHORT else ""


def proxy_fact(answer: HttpAnswer) -> str:
    """The fact for failure signatures that a proxy's answer shows; empty without one."""
    if answer.error:
        return ""
    return {(200, b""): EMPTY_200, (500, b""): EMPTY_500, (500, BARE): EMPTY_500}.get(
        (answer.status, answer.body.strip()), ""
    )


def completion_text(answer: HttpAnswer) -> str:
    """The text of a completion without fault; empty without text."""
    try:
        text = json.loads(answer.body)["choices"][0]["text"]
    except (ValueError, RecursionError, KeyError, TypeError, IndexError):
        return ""
    return text if isinstance(text, str) else ""


def count_fault(usage: Mapping[str, object], tokens: int, finish: str = "") -> str:
    """What is wrong with the token counts of an answer, when at most `tokens` were requested; empty when nothing is, or
    without counts.
    """
    made, prompt = usage.get("completion_tokens"), usage.get("prompt_tokens")
    if isinstance(made, int) and (not 0 < made <= tokens or (finish == "length" and made != tokens)):
        return f"it counts {made} tokens where {tokens} were asked for"
    if isinstance(prompt, int) and prompt < 1:
        return f"it counts {prompt} tokens of the prompt"
    return ""


class ChatStream:
    """A streamed chat: takes bytes, gives the text so far, and at the end whether the chat was complete."""

    def __init__(self, tokens: int | None = None) -> None:
        """`tokens`: the requested maximum, to check the token counts of the stream."""
        self.text = ""
        self.error = ""
        self._tokens = tokens
        self._usage: Mapping[str, object] = {}
        self._rest = b""
        self._pieces = 0
        self._done = False

    def feed(self, data: bytes) -> str:
        """Take the next bytes; gives the text in them."""
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
        """(whether it was a complete chat with text, the text or the fault); `answer` has the status and all bytes."""
        if answer.status != 200 or answer.error or not answer.body.strip():
            return False, answer_fault(answer).replace("completion", "chat", 1)
        self.feed(b"\n")
        if self.error:
            return False, f"chat 200, then {clean(self.error)[:160]}"
        if not self._pieces:
            return False, f"chat 200, but no stream: {clean(answer.body[:120].decode('utf-8', 'replace'))}"
        if not self.text.strip():
            return False, "chat 200 without text"
        if self._tokens is not None and (wrong := count_fault(self._usage, self._tokens)):
            return False, f"chat 200, but {wrong}"
        shown = clean(self.text)
        return self._done, shown[:120] if self._done else f"the stream broke off after {shown[:80]!r}"

    def _piece(self, data: str) -> tuple[str, str]:
        """(text, error) of one event of the stream; reasoning counts as text."""
        try:
            found = json.loads(data)
        except (ValueError, RecursionError):
            return "", f"an event that is not JSON: {data[:80]}"
        if not isinstance(found, dict):
            return "", f"an event that is not a chat: {data[:80]}"
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
    """(whether it is a complete streamed chat with text, the text or the fault)."""
    stream = ChatStream()
    stream.feed(answer.body)
    return stream.verdict(answer)
