"""What one console notes on the deployment's first node is known to the others, and to those opened later."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import pytest
from pydantic import JsonValue

from console.model.errors import Unreachable
from console.model.run import RunKey, RunState, RunVerdict
from console.model.snapshot import Link, LinkState
from console.node import note_store as on_node
from console.node.request_error import RequestError
from console.node.run_dirs import Base
from console.remote.link import NodeLink
from console.services.logs.copies import LogBook
from console.services.monitoring.monitor import Monitor
from console.services.operations.shared_notes import SharedNotes
from tests.services.deployments import deployment


class Node:
    """A node's file of notes behind a link."""

    def __init__(self, base: Path) -> None:
        self.base = Base(str(base))
        self.link = Link(LinkState.UP)

    async def note(self, deployment: str, name: str, value: Mapping[str, JsonValue]) -> None:
        """Keep it, while connected."""
        if self.link.state is not LinkState.UP:
            raise Unreachable("cut")
        on_node.keep(self.base, deployment, name, dict(value))

    def told(self) -> dict[str, JsonValue]:
        """As with the lease."""
        return {"lease": None, "notes": on_node.look(self.base, "pd")}

    def follow(self, *_: object) -> None:
        """Logs are not looked at here."""


def opened(node: Node, state: Path) -> tuple[Monitor, SharedNotes]:
    """A console that sees the proxy run."""
    links = cast(dict[str, NodeLink], {"p0": node})
    monitor = Monitor(deployment(), LogBook(state / "logs", lambda _: None), links, read_only=False)
    monitor.on_link("p0", node.link)
    monitor.on_runs("p0", (RunState(RunKey("pd", "proxy", "r1"), RunVerdict.RUNNING, pid=1),), (), 0.0)
    monitor.publish()
    return monitor, SharedNotes(monitor, links)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path / "base")


async def test_a_restart_in_vain_is_known_for_exactly_its_runs(node: Node, tmp_path: Path) -> None:
    _, first = opened(node, tmp_path / "first")
    await first.save_failed_restart("decode", frozenset({"r2", None, "r1"}), "d0: port 7100 already has a listener")
    _, later = opened(node, tmp_path / "later")
    waited = [later.pending]
    later.update(node.told())
    waited.append(later.pending)
    assert waited == [True, False]
    assert later.failed_restart("decode", ["r1", "r2", None]).startswith("d0: port 7100")
    assert later.failed_restart("decode", ["r1", "r3", None]) == ""
    assert later.failed_restart("prefill", ["r1", "r2", None]) == ""


async def test_isolated_engines_are_taken_over_once_and_only_of_the_running_proxy(node: Node, tmp_path: Path) -> None:
    monitor, first = opened(node, tmp_path / "first")
    key = RunKey("pd", "proxy", "r1")
    monitor.run_record(key).isolated.update({"decode-1", "decode-0"})
    await first.save_isolated()
    other, later = opened(node, tmp_path / "later")
    later.update(node.told())
    assert other.run_record(key).isolated == {"decode-0", "decode-1"}
    other.run_record(key).isolated.clear()
    later.update(node.told())
    assert other.run_record(key).isolated == set(), "the proxy's counts have the last word"
    other.on_runs("p0", (RunState(RunKey("pd", "proxy", "r2"), RunVerdict.RUNNING, pid=2),), (), 0.0)
    other.publish()
    later.update(node.told())
    assert other.run_record(RunKey("pd", "proxy", "r2")).isolated == set()


async def test_without_the_node_a_console_remembers_for_itself(node: Node, tmp_path: Path) -> None:
    _, console = opened(node, tmp_path / "one")
    node.link = Link(LinkState.LOST)
    assert not console.pending, "nobody waits for a node that is gone"
    await console.save_failed_restart("decode", ["r1"], "cut")
    assert console.failed_restart("decode", ["r1"]) == "cut"
    assert on_node.look(node.base, "pd") == {}


def test_a_node_keeps_few_short_notes_and_survives_a_torn_file(tmp_path: Path) -> None:
    base = Base(str(tmp_path / "base"))
    for name, value in (("../x", {"a": 1}), ("x", {"a": "b" * on_node.MAX_BYTES})):
        with pytest.raises(RequestError, match="valid name"):
            on_node.keep(base, "pd", name, value)
    for number in range(on_node.MAX_NOTES):
        on_node.keep(base, "pd", f"n{number}", {"a": number})
    with pytest.raises(RequestError, match="64 notes"):
        on_node.keep(base, "pd", "more", {"a": 1})
    on_node.keep(base, "pd", "n1", {})
    assert "n1" not in on_node.look(base, "pd")
    (Path(base.path) / "pd" / on_node.NOTES).write_text('{"torn"')
    assert on_node.look(base, "pd") == {}
