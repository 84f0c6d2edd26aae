"""Hides secrets in commands, data and text before they are shown or recorded. Commands that run are not masked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

MASK = "********"

_SECRET_NAME = re.compile(
    r"(?i)(?:^|[_.-])(?:(?:api|access|secret|private|auth|session|client|refresh|id|signing|encryption)?[_-]?"
    r"(?:key|token|secret)|password|passwd|passphrase|passcode|credential|auth|authorization|jwt|cookie|signature)s?$"
    r"|(?:[_.-]pass|[_.-]pwd)$"
)
_SHORT_SECRETS = frozenset({"pass", "pwd", "Pass", "Pwd", "passwd"})
"""Whole names that depend on upper and lower case: `PWD` is the working directory."""
_NOT_SECRET = re.compile(
    r"(?i)^(?:max|num|min)[_-]|tokens$|[_-]token[_-]?ids?$|(?:^|[_-])(?:bos|eos|pad|unk|sep|cls|mask|stop|image|video|audio)[_-]token$"
    r"|(?:^|[_-])OLDPWD$"
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SCHEMES = ("bearer", "basic", "digest")
_HEADER = re.compile(
    r"""(?i)(?P<head>\b(?:(?:proxy-)?authorization|(?:set-)?cookie)["']?\s*:\s*["']?(?:(?:bearer|basic|digest)\s+)?)[^"'\n]+"""
)
"""HTTP headers whose value contains blanks: the whole value is secret, up to a quote or the end of the line."""


_PAIR = re.compile(
    r"""(?P<head>(?P<dash>--)?(?<![A-Za-z0-9_])(?P<name>[A-Za-z_][\w-]*))(?P<gap>["']?\s*[=:]\s*|[ \t]+)"""
    r"""(?P<value>\[[^\]\n]{0,1024}\]?|"[^"\n]{0,1024}"?|'[^'\n]{0,1024}'?|[^\s"',}\]]+)"""
)
_FURTHER = re.compile(r"(?:[ \t]+[^\s-]\S*)*")
_BARE = re.compile(
    r"(?i:(?P<head>\b(?:bearer|basic)\s+)[\w.~+/=-]{8,})"
    r"|\b(?:hf_|sk-|gh[opsur]_|github_pat_|gl(?:pat|cbt|dt|rt|ptt|soat)-|ms-|xox[abprs]-|npm_|pypi-)[\w-]{16,}"
    r"|\b(?:AKIA|ASIA|LTAI|AKID)[0-9A-Za-z]{12,}\b"  # access key ids of AWS, Alibaba Cloud, Tencent Cloud
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"  # a JSON web token: its header is the base64 of `{"`
    r"|(?P<user>://[^/\s:@]*:)[^/\s@]+(?=@)"
)
_PEM = re.compile(
    r"-----BEGIN (?P<kind>[A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?)-----"
    r"(?:[\s\S]{0,32768}?-----END (?P=kind)-----|(?:(?:\s|\\r|\\n)*[A-Za-z0-9+/=]{16,})*)"
)


@lru_cache(maxsize=4096)
def is_secret(name: str) -> bool:
    """Whether a variable or flag of this name holds a secret (`VLLM_API_KEY`, `--api-key`, `accessToken`)."""
    plain = name.lstrip("-")
    if plain in _SHORT_SECRETS:
        return True
    words = _CAMEL.sub("_", plain)
    return bool(_SECRET_NAME.search(words)) and not _NOT_SECRET.search(words)


def masked_env(env: Mapping[str, str]) -> dict[str, str]:
    """The variables with secret values, and secrets inside other values, masked."""
    return {name: MASK if value and is_secret(name) else _masked_word(value) for name, value in env.items()}


def masked_argv(argv: Sequence[str]) -> tuple[str, ...]:
    """The words with the values of secret flags, and secrets inside JSON and URLs, masked."""
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
    """One masked word; cached, because the ranks of a deployment share most words."""
    return masked_text(word)


def masked_text(text: str) -> str:
    """Free text such as a log with all that looks like a secret masked: values of secret names, tokens, passwords in URLs.

    It masks too much rather than too little: after a secret flag, every word up to the next flag.
    """
    text = _PEM.sub(MASK, text) if "PRIVATE KEY" in text else text
    text = _HEADER.sub(lambda found: found["head"] + MASK, text)
    bare = _BARE.sub(lambda found: (found["head"] or found["user"] or "") + MASK, text)
    return "\n".join(_masked_line(line) for line in bare.split("\n"))


def masked_data(value: object, name: str = "") -> Any:
    """JSON data with secrets masked at every level: values of secret names, and texts as in `masked_text`.

    `name` is the name of the value itself.
    """
    if isinstance(value, Mapping):
        return {key: masked_data(each, str(key)) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [masked_data(each, name) for each in value]
    if isinstance(value, str) and value:
        return MASK if is_secret(name) else masked_text(value)
    return value


def _masked_line(line: str) -> str:
    done, begin = [], 0
    while (found := _PAIR.search(line, begin)) is not None:
        joined = found["gap"].strip() not in ("", '"', "'")
        if is_secret(found["name"]) and (joined or found["dash"]) and found["value"].lower() not in _SCHEMES:
            done += [line[begin : found.start()], found["head"], found["gap"], MASK]
            begin = found.end()
            further = _FURTHER.match(line, begin)
            begin = further.end() if further and found["dash"] and not joined else begin
        else:
            done.append(line[begin : found.end("head")])
            begin = found.end("head")
    return "".join([*done, line[begin:]])
