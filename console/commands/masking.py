"""Hiding secrets in commands before they are shown, journaled or logged. What runs on a node is never masked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

MASK = "********"

_SECRET_NAME = re.compile(r"(?i)(^|[_-])(api[_-]?key|key|token|secret|password|passwd|credential)s?$")
_NOT_SECRET = re.compile(r"(?i)^(max|num|min)[_-]|tokens$|[_-]token[_-]?ids?$")


_PAIR = re.compile(
    r"""(?P<head>(?P<dash>--)?\b(?P<name>[A-Za-z_][\w-]*))(?P<gap>["']?\s*[=:]\s*|[ \t]+)"""
    r"""(?P<value>\[[^\]\n]{0,1024}\]?|"[^"\n]{0,1024}"?|'[^'\n]{0,1024}'?|[^\s"',}\]]+)"""
)
_FURTHER = re.compile(r"(?:[ \t]+[^\s-]\S*)*")
_BARE = re.compile(
    r"(?i)(?P<head>\b(?:bearer|basic)\s+)[\w.~+/=-]{8,}|\b(?:hf_|sk-|gh[opsu]_|ms-)[\w-]{16,}|(?P<user>://[^/\s:@]*:)[^/\s@]+(?=@)"
)


@lru_cache(maxsize=4096)
def is_secret(name: str) -> bool:
    """Whether a variable or flag of this name holds a secret (`VLLM_API_KEY`, `--api-key`, `HF_TOKEN`)."""
    plain = name.lstrip("-")
    return bool(_SECRET_NAME.search(plain)) and not _NOT_SECRET.search(plain)


def masked_env(env: Mapping[str, str]) -> dict[str, str]:
    """The same variables with the values of secret ones hidden, and what is secret inside the others."""
    return {name: MASK if value and is_secret(name) else _masked_word(value) for name, value in env.items()}


def masked_argv(argv: Sequence[str]) -> tuple[str, ...]:
    """The same words with the value after, or inside, a secret flag hidden, and what is secret inside JSON and URLs."""
    shown: list[str] = []
    hide = False
    for word in argv:
        flag, equals, _ = word.partition("=")
        if hide and not word.startswith("--"):
            shown.append(MASK)
            continue
        hide = False
        if word.startswith("-") and is_secret(flag):
            shown.append(f"{flag}={MASK}" if equals else word)
            hide = not equals
        else:
            shown.append(_masked_word(word))
    return tuple(shown)


@lru_cache(maxsize=4096)
def _masked_word(word: str) -> str:
    """One word; the ranks of a deployment share nearly all of theirs."""
    return masked_text(word)


def masked_text(text: str) -> str:
    """Free text, such as a log, with what looks like a secret hidden: values of secret names, tokens, passwords in URLs.

    Rather too much than too little: of a secret flag every word up to the next flag goes.
    """
    bare = _BARE.sub(lambda found: (found["head"] or found["user"] or "") + MASK, text)
    return "\n".join(_masked_line(line) for line in bare.split("\n"))


def _masked_line(line: str) -> str:
    done, begin = [], 0
    while (found := _PAIR.search(line, begin)) is not None:
        joined = found["gap"].strip() not in ("", '"', "'")
        if is_secret(found["name"]) and (joined or found["dash"]):
            done += [line[begin : found.start()], found["head"], found["gap"], MASK]
            begin = found.end()
            further = _FURTHER.match(line, begin)
            begin = further.end() if further and found["dash"] and not joined else begin
        else:
            done.append(line[begin : found.end("head")])
            begin = found.end("head")
    return "".join([*done, line[begin:]])
