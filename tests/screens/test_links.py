"""Why a node is not connected: every word of the reason and the hint is on the screen, and only an unknown key is asked about."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.model.snapshot import Link, LinkState
from tests.screens.fakes import FakeSession
from tests.screens.seen import running

REASON = "jump host bastion does not forward connections to [10.0.0.3]:2222: open failed (administratively prohibited)"
HINT = (
    "its sshd_config needs AllowTcpForwarding yes and a matching PermitOpen; "
    "then try: ssh -i /root/.ssh/id_lab -J bastion -p 2222 root@10.0.0.3 true"
)


@pytest.mark.parametrize("pane", ["3", "4"], ids=["npus", "health"])
@pytest.mark.parametrize("at", ["node", "engine"])
async def test_the_whole_reason_and_hint_can_be_read_on_a_narrow_screen(tmp_path: Path, pane: str, at: str) -> None:
    session = FakeSession(tmp_path)
    session.set_node("d0", link=Link(LinkState.BLOCKED, reason=REASON, hint=HINT))
    async with running(session, (80, 40)) as seen:
        if at == "node":
            seen.app.main.grid.go("node/d0")
        else:
            seen.app.main.grid.show_engine("decode-0")
        await seen.press(pane)
        await seen.sees("root@10.0.0.3 true")
        text = " ".join(seen.text().split())
        for word in f"{REASON} {HINT}".split():
            assert word in text, word


async def test_a_key_that_changed_is_refused_at_once_and_one_that_is_unknown_is_asked_about(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    session.set_node(
        "d0", link=Link(LinkState.BLOCKED, reason="the host key of d0 is not the known one", hint="find out")
    )
    async with running(session, (100, 40)) as seen:
        seen.app.main.grid.go("node/d0")
        await seen.press("K")
        await seen.sees("there is no host key to trust")
        assert "Trust this host key" not in seen.text()
        session.set_node("d0", link=Link(LinkState.BLOCKED, reason="unknown host key of d0: SHA256:x", question=True))
        await seen.press("escape", "K")
        await seen.sees("Trust this host key of d0?")
        assert session.trusted == []
        await seen.press("y")
        await seen.sees(lambda: session.trusted == ["d0"])


async def test_a_part_of_the_console_that_died_stands_in_the_header(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    async with running(session, (100, 30)) as seen:
        assert "CONSOLE FAULT" not in seen.text()
        session.more["faults"] = ("health",)
        session.publish()
        await seen.sees("CONSOLE FAULT: health")
