"""The pane on a real session: a bench typed, confirmed, run on a node behind a real sshd, and its result opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.model.deployment import Assignment
from console.model.layout import Layout
from console.services.session import Session
from screens.app import ConsoleApp
from screens.options import Options
from tests.services.evaluation.test_runs import Engine, layout
from tests.services.evaluation.test_runs import engine as engine
from tests.services.evaluation.test_runs import home as home
from tests.services.evaluation.test_runs import sshd as sshd
from tests.sshd import SshNodes, needs_sshd
from tests.waiting import until

pytestmark = [pytest.mark.sshd, needs_sshd]


async def test_from_the_command_line_of_the_screen_to_figures_and_back_to_the_log(
    sshd: SshNodes, engine: tuple[Engine, int], home: Path, tmp_path: Path
) -> None:
    (home / "manner").write_text("long")
    node = sshd.nodes[0].name
    made = Layout.model_validate(layout(engine[1]))
    session = Session(sshd.cluster(), made, Assignment({"mixed": (node,)}), state_dir=tmp_path)
    calm = iter(range(1_000_000))
    app = ConsoleApp(session, Options(), clock=lambda: float(next(calm)))

    def text() -> str:
        return "\n".join(strip.text for strip in app.screen._compositor.render_strips())

    async with app.run_test(size=(80, 24)) as pilot:

        async def press(*keys: str) -> None:
            for key in keys:
                await pilot.press(key)
                await pilot.pause()

        async def sees(words: str) -> None:
            await until(lambda: words in text(), 30, words)

        await until(lambda: session.first_sample_complete(node), 30)
        await press("colon", *({" ": "space", "-": "minus"}.get(key, key) for key in "bench --concurrency 4"), "enter")
        await sees("y start")
        await sees("vllm bench serve")
        await press("y")
        await sees("50% 10/20")
        assert "bench-vllm" in text().splitlines()[0]
        assert [engine.id for engine in session.snapshot.engines.values()] == ["mixed-0"]
        (home / "go").touch()
        await sees("400 token/s")
        await press("enter", "f")
        await sees("failed requests          0 of 20")
        await press("escape", "escape", "L")
        await sees("10/20 [00:06<00:06")
