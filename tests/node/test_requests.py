"""Requests that make no sense get an answer and do no harm: the helper goes on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.node.driver import Driver, Refused, helper

KEY = ("dep", "decode-5", "r1")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    with helper(tmp_path_factory.mktemp("node") / "base") as driver:
        yield driver


@pytest.mark.parametrize(
    ("op", "body", "kind"),
    [
        ("no-such-thing", {}, "bad-request"),
        ("commit", {}, "bad-request"),
        ("commit", {"key": ["..", "e", "r"]}, "bad-request"),
        ("commit", {"key": KEY}, "not-found"),
        ("discard", {"key": KEY}, "not-found"),
        ("stop", {"keys": [KEY], "grace_s": 1, "kill_s": 1}, "not-found"),
        ("stop", {"keys": 7, "grace_s": 1, "kill_s": 1}, "bad-request"),
        ("stop", {"keys": [], "grace_s": "soon", "kill_s": 1}, "bad-request"),
        ("prepare", {"key": KEY, "spec": [], "expect_run": None}, "bad-request"),
        ("prepare", {"key": KEY, "expect_run": None}, "bad-request"),
        ("read", {"key": KEY, "offset": 0, "length": 10}, "not-found"),
        ("read", {"offset": 0, "length": 10}, "bad-request"),
        ("read", {"path": "x", "offset": 2**80, "length": 10}, "not-found"),
        ("exec", {"argv": None, "timeout_s": 1}, "bad-request"),
        ("exec", {"argv": ["true"], "timeout_s": None}, "bad-request"),
        ("probe", {"name": "none"}, "not-found"),
        ("lease", {"deployment": "../x", "act": "look"}, "bad-request"),
        ("watch", {}, "bad-request"),
    ],
)
def test_nonsense_is_refused_in_words(node: Driver, op: str, body: dict[str, Any], kind: str) -> None:
    if op == "watch":
        node.notify("watch")
    else:
        with pytest.raises(Refused) as refused:
            node.ask(op, **body)
        assert refused.value.kind == kind
    assert node.ask("ping")[0]["ok"]


def test_notices_that_make_no_sense_do_no_harm(node: Driver) -> None:
    for body in (
        {"op": "follow"},
        {"op": "follow", "key": [1], "offset": 0},
        {"op": "credit", "key": KEY, "bytes": "x"},
    ):
        op = str(body.pop("op"))
        node.notify(op, **body)
    node.notify("unfollow", key=KEY)
    assert node.ask("ping")[0]["ok"]
    assert node.process.poll() is None
