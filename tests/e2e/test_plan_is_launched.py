"""Random sequences of assignments, settings and verbs on real nodes: what was launched is what the confirmed plan printed."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.e2e.cluster import Lab, lab
from tests.e2e.test_restarts import LAYOUT, layout, plans
from tests.sshd import needs_sshd

pytestmark = [needs_sshd, pytest.mark.sshd, pytest.mark.timeout(600)]

NODES = ("p0", "p1", "p2")
ROUNDS = 3
ODD = ("1200", "with two words", 'a "quote" and \\', "$HOME `id`", "ü\n;x")
"""Values that a shell would change if it read them."""


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Three nodes for a group of two; nothing runs."""
    with lab(tmp_path_factory.mktemp("planned"), names=NODES) as made:
        yield made


def _launches(plan: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Engine id → what its launch carries, with the line that is printed for it."""
    steps = [step for stage in plan["stages"] for step in stage["steps"] if step["act"] == "launch"]
    return {
        each["engine"]: {**each, "line": line, "node": step["node"]}
        for step in steps
        for each, line in zip(step["launches"], step["commands"], strict=True)
    }


def _process(pid: int) -> tuple[list[str], dict[str, str]]:
    """The arguments behind the program and the environment of a process."""
    argv = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")[:-1]
    environ = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")[:-1]
    return argv[argv.index("serve") :], dict(each.split("=", 1) for each in environ)


def _words(made: Lab, random: Random) -> tuple[str, ...]:
    """The options of the next plan: a layout with other settings, and two of the nodes in some order."""
    text = "".join(line for line in LAYOUT.splitlines(keepends=True) if "restart:" not in line)
    odd = json.dumps(random.choice(ODD), ensure_ascii=False)
    text = text.replace("HCCL_CONNECT_TIMEOUT: 1200", f"HCCL_CONNECT_TIMEOUT: {random.choice((600, 1200))}, ODD: {odd}")
    text = text.replace("port: 7100", f"port: {random.choice((7100, 7200))}")
    made.file.with_name("two.yaml").write_text(text, encoding="utf-8")
    return (*layout(made), "--assign", f"all={','.join(random.sample(NODES, 2))}")


def _compare(made: Lab, words: tuple[str, ...], shown: dict[str, Any], done: dict[str, Any]) -> None:
    confirmed = _launches(done["plan"])
    assert {name: each["line"] for name, each in _launches(shown).items()} == {
        name: each["line"] for name, each in confirmed.items()
    }
    written = [line for lines in plans(made)[-1]["commands"].values() for line in lines]
    engines = {each["id"]: each for each in json.loads(made.console("status", *words, "-o", "json").stdout)["engines"]}
    assert set(confirmed) == set(engines) == {"all-0", "all-1"}
    for name, each in confirmed.items():
        argv, env = _process(engines[name]["pid"])
        assert argv == each["argv"][1:]
        assert {key: env[key] for key in each["env"]} == each["env"]
        assert engines[name]["node"] == each["node"]
        assert sorted(made.node(each["node"]).base.glob(f"two/{name}/runs/*"))[-1].name == each["run"]
        assert shlex.split(each["line"]) == [*(f"{key}={value}" for key, value in each["env"].items()), *each["argv"]]
        assert each["line"] in written


def test_a_process_is_what_the_confirmed_plan_printed(three: Lab) -> None:
    random = Random(3)
    words: tuple[str, ...] = ()
    for number in range(ROUNDS):
        verb = "restart" if words and random.random() < 0.4 else "start"
        if verb == "start" and words:
            assert three.console("kill", *words, "--yes").returncode == 0
        words = _words(three, random) if verb == "start" else words
        shown = three.console(verb, *words, "--dry-run", "-o", "json")
        assert shown.returncode == 0, (number, shown.stderr)
        done = three.console(verb, *words, "--yes", "--no-wait", "-o", "json")
        assert done.returncode == 0, (number, done.stderr)
        _compare(three, words, json.loads(shown.stdout), json.loads(done.stdout))
    assert three.console("kill", *words, "--yes").returncode == 0
    assert three.marked() == []
