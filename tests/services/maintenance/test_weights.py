"""`weights` on two nodes: what each has, the copy as a plan and a supervised run, and no half model called whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from console.cli.main import main
from console.commands.weights import download_commands
from console.demo.tools import sysroot
from console.files import load_cluster, load_layout, shipped_text
from console.model.deployment import Assignment
from console.model.errors import Refused
from console.model.layout import Model
from console.services.session import Session
from tests.e2e.cluster import lab
from tests.services.readiness.inline import Inline, inline
from tests.services.readiness.test_ping_matrix import LAYOUT
from tests.sshd import needs_sshd
from tests.waiting import until

MODEL = f"{sysroot.WEIGHTS}/{sysroot.MODELS[0]}"
SHARD = "model-00002-of-00004.safetensors"


@pytest.fixture
def console(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Inline]:
    """Two A2 nodes that both have the model."""
    with lab(tmp_path, hardware="a2", names=("p0", "p1")) as nodes:
        nodes.file.with_name("two.yaml").write_text(LAYOUT)
        yield inline(nodes, "two.yaml", capsys, monkeypatch)


def shown(console: Inline) -> dict[str, Any]:
    """By node."""
    done = console("weights", "-o", "json")
    assert done.stdout, done.stderr
    return {each["node"]: each for each in json.loads(done.stdout)["nodes"]}


@needs_sshd
@pytest.mark.sshd
@pytest.mark.timeout(200)
def test_a_node_that_lacks_a_shard_gets_it_from_the_other(console: Inline) -> None:
    good, bad = (console.made.node(name).root / "root" / MODEL for name in ("p0", "p1"))
    (bad / SHARD).unlink()
    (bad / f"{SHARD}.part").write_text("half of it")
    found = shown(console)
    assert (found["p0"]["complete"], found["p1"]["complete"]) == (True, False)
    assert found["p1"]["lacking"] == [f"{SHARD} is missing", f"{SHARD}.part is an incomplete download"]
    partial = console("weights", "copy", "--from", "p1", "--yes")
    assert (partial.returncode, "p1 does not have the complete model" in partial.stderr) == (4, True)
    (bad / f"{SHARD}.part").unlink()

    done = console("weights", "copy", "--from", "p0", "--yes")
    assert done.returncode == 0, done.stderr
    assert "complete: 8 files" in done.stderr
    assert (bad / SHARD).read_bytes() == (good / SHARD).read_bytes()
    scripts = [path for name in ("p0", "p1") for path in console.made.node(name).base.rglob("cmd.sh")]
    assert len(scripts) == 2, "one supervised run on each node"
    assert all(path.stat().st_mode & 0o077 == 0 for path in scripts), "the secret is nobody else's to read"
    again = console("weights", "copy", "--from", "p0", "--yes")
    assert (again.returncode, "p1 has the same complete model" in again.stderr) == (0, True)


def test_the_download_names_what_is_published_and_puts_it_where_the_engines_read() -> None:
    path = "/root/.cache/modelscope/hub/models/vllm-ascend/DeepSeek-V4-Pro-w4a8-mtp"
    first, second = download_commands("Eco-Tech/DeepSeek-V4-Pro-w4a8-mtp", path)
    assert first == f"modelscope download --model Eco-Tech/DeepSeek-V4-Pro-w4a8-mtp --local_dir {path}"
    assert second == f"huggingface-cli download Eco-Tech/DeepSeek-V4-Pro-w4a8-mtp --local-dir {path}"
    assert download_commands("", "org/name")[0] == "modelscope download --model org/name"


def test_without_a_source_no_repository_is_guessed_from_the_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    cluster = tmp_path / "cluster.yaml"
    cluster.write_text("name: lab\ndefaults: {hardware: a3}\nnodes: {n0: {}, n1: {}}\n")
    where = ["weights", "download", "-c", str(cluster), "--layout"]
    assert main([*where, "a3-mixed"]) == 0
    assert capsys.readouterr().out.startswith("n0: modelscope download --model Eco-Tech/DeepSeek-V4-Pro-w4a8-mtp ")
    own = tmp_path / "own.yaml"
    own.write_text(shipped_text("a3-mixed").replace("  source:", "  # source:"))
    assert main([*where, str(own)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"add it to {own}: model: {{source: OWNER/NAME, path:" in printed.err


@pytest.mark.parametrize("source", ["DeepSeek", "a/b/c", "a b/c", "https://hub/a"])
def test_a_source_is_the_name_of_weights_on_a_hub(source: str) -> None:
    with pytest.raises(ValueError, match="write OWNER/NAME"):
        Model(path="/x", source=source)


@needs_sshd
@pytest.mark.sshd
@pytest.mark.timeout(200)
async def test_between_models_that_differ_nobody_guesses(tmp_path: Path) -> None:
    with lab(tmp_path, hardware="a2", names=("p0", "p1")) as made:
        file = made.file.with_name("two.yaml")
        file.write_text(LAYOUT)
        chosen = load_layout(str(file))
        session = Session(load_cluster(made.file), chosen, Assignment(dict(chosen.assign)), state_dir=made.state)
        await session.open()
        try:
            await until(lambda: all(session.first_sample_complete(name) for name in ("p0", "p1")), timeout_s=60.0)
            with pytest.raises(Refused, match="p1 has the same complete model"):
                await session.maintenance.weights("")
            (made.node("p1").root / "root" / MODEL / SHARD).write_text("another")
            (made.node("p1").root / "root" / MODEL / "config.json").write_text('{"model_type": "deepseek_v4", "x": 1}')
            with pytest.raises(Refused, match=r"complete models differ: p0 \(\w+\), p1 \(\w+\)"):
                await session.maintenance.weights("")
            chore = await session.maintenance.weights("p1")
            assert [step.node for step in chore.plan.steps] == ["p1", "p0"]
        finally:
            await session.close()
