"""A plan folded: few rows for many engines, and nothing that differs is left unsaid."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.commands.masking import MASK
from console.model.deployment import Command, Deployment
from console.model.layout import Layout
from console.model.payload import EngineLaunches
from console.model.plan import Plan, Stage, Step, Verb
from console.model.snapshot import EngineState
from console.services.operations.live_plans import rolling_restart_plan
from console.services.operations.plan_maker import PlanMaker
from console.services.operations.step_folding import FoldedSteps, folded_plan, folded_stage, turns
from tests.services.deployments import LAYOUT, deployment, picture
from tests.services.many_engines import copied, placed, single

DECODE = "port, rank, devices, address"


def _plan(made: Deployment, verb: Verb = "start") -> Plan:
    states = {} if verb == "start" else {rank.id: EngineState.READY for rank in made.processes()}
    return PlanMaker(made, picture(states, made)).make(verb, ())


def _rows(plan: Plan) -> list[str]:
    return [f"{row.stage} {row.title} {row.same_but}".rstrip() for row in folded_plan(plan)]


ONE = [
    "1 check n0: reachable, idle, ports free, preflight",
    "2 write 1 run directory on n0",
    "3 start mixed-0 on n0",
    "4 wait until mixed is ready",
]
NINETEEN = [
    "1 check n0..3: reachable, idle, ports free, preflight",
    "2 write 18 run directories on n0..3",
    "3 start prefill-0, prefill-1 on n0, n1 same but rank, address",
    f"3 start decode-0..15 on n2, n3 same but {DECODE}",
    "4 wait until prefill, decode are ready",
    "5 check n0: reachable, idle, ports free",
    "6 write 1 run directory on n0",
    "7 start proxy on n0",
    "8 wait until proxy is ready",
]


def _many(nodes: int, runs: int, decode: str, names: str) -> list[str]:
    rows = [*NINETEEN]
    rows[0] = f"1 check n0..{nodes - 1}: reachable, idle, ports free, preflight"
    rows[1] = f"2 write {runs} run directories on n0..{nodes - 1}"
    rows[3] = f"3 start {decode} on n2..{nodes - 1} same but {DECODE} +3 more"
    rows[4] = f"4 wait until prefill, decode, {names} are ready"
    return rows


GROUPS = _many(34, 258, "decode-0..15, decode2-0..15, decode3-0..15 +208 more", "decode2..16")
HUNDREDS = _many(66, 514, "decode-0..127, decode2-0..127, decode3-0..127 +128 more", "decode2..4")


@pytest.mark.parametrize(
    ("made", "rows"),
    [(single(), ONE), (copied(1), NINETEEN), (copied(16), GROUPS), (copied(4, nodes=16), HUNDREDS)],
    ids=["1 engine", "19 engines", "16 groups", "515 engines"],
)
def test_a_start_of_any_size_is_a_page(made: Deployment, rows: list[str]) -> None:
    assert _rows(_plan(made)) == rows


def test_a_stop_folds_engines_across_nodes_and_shows_their_pids() -> None:
    rows = folded_plan(_plan(copied(1), "stop"))
    assert [row.title for row in rows] == [
        "stop proxy on n0",
        "stop decode-0..15 on n2, n3",
        "stop prefill-0, prefill-1 on n0, n1",
        "verify n0..3: ports closed, devices idle",
    ]
    assert not any(row.same_but for row in rows), "that pids differ is no news"


def test_a_row_has_the_values_of_each_engine() -> None:
    (row,) = [row for row in folded_plan(_plan(deployment())) if row.title.startswith("start decode")]
    assert [part.name for part in row.parts] == ["decode-0", "decode-1", "decode-2", "decode-3"]
    assert {each.name: each.values for each in row.differences} == {
        "port": ("7100", "7101", "7100", "7101"),
        "rank": ("0", "1", "2", "3"),
        "devices": ("0-7", "8-15", "0-7", "8-15"),
        "address": ("10.0.0.3", "10.0.0.3", "10.0.0.4", "10.0.0.4"),
    }
    settings = {each.name: each.settings for each in row.differences}
    assert settings["rank"] == ("--data-parallel-rank",)
    assert settings["address"] == ("VLLM_HOST_IP", "HCCL_IF_IP")


def test_two_settings_of_equal_values_are_both_named() -> None:
    """Devices 0, 1, 2, … and ranks 0, 1, 2, … are two things."""
    data = LAYOUT.model_dump(exclude_unset=True)
    sizes = {"size": 16, "per_node": 16, "balance": "external", "rpc_port": 12321}
    data["groups"]["decode"] |= {"nodes": 1, "tensor_parallel": 1, "data_parallel": sizes}
    rows = folded_plan(_plan(placed(Layout.model_validate(data))))
    (row,) = [each for each in rows if each.stage == 3 and len(each.parts) == 16]
    assert row.same_but == "same but port, rank, devices"


def test_what_has_another_set_of_flags_has_a_row_of_its_own() -> None:
    plan = _plan(deployment())
    stage = plan.stages[2]
    (one, *others) = [launch for step in stage.steps for launch in step.launches if launch.rank.role == "decode"]
    odd = replace(one, command=replace(one.command, argv=(*one.command.argv, "--enforce-eager")))
    step = Step("launch", "launch", "d0: start", "d0", (), EngineLaunches((odd, *others)))
    rows = list(folded_stage(1, Stage("launch", (step,))))
    assert [[part.name for part in row.parts] for row in rows] == [["decode-0"], ["decode-1", "decode-2", "decode-3"]]


def _folded(*commands: Command) -> list[FoldedSteps]:
    """Rows of engines with these commands."""
    launches = [launch for step in _plan(deployment()).stages[2].steps for launch in step.launches][2:]
    made = tuple(replace(each, command=command) for each, command in zip(launches, commands, strict=False))
    return list(folded_stage(1, Stage("launch", (Step("s", "launch", "d0: start", "d0", (), EngineLaunches(made)),))))


@pytest.mark.parametrize(
    ("one", "other", "names"),
    [
        ("{}", '{"a":1}', ["--c"]),
        ('{"a":1,"b":2}', '{"a":1,"b":3}', ["b"]),
        ('{"a":1}', '{"a":"1"}', ["a"]),
        ('{"a":{"b":1,"c":2}}', '{"a":{"b":2,"c":2}}', ["b"]),
        ('{"a":1,"b":2}', '{"b":2,"a":1}', ["--c"]),
        ('{"a":1}', '{"a": 1}', ["--c"]),
        ('{"a":1}', "{broken", ["--c"]),
        ('{"a":[1,2]}', '{"a":[1,3]}', ["a"]),
    ],
)
def test_of_json_the_keys_that_differ_are_named(one: str, other: str, names: list[str]) -> None:
    (row,) = _folded(*(Command({}, ("vllm", "serve", "--c", value)) for value in (one, other)))
    assert [each.name for each in row.differences] == names


def test_secrets_are_masked_and_do_not_differ() -> None:
    (row,) = _folded(*(Command({"VLLM_API_KEY": key}, ("vllm", "--port", key[-1])) for key in ("secret-1", "secret-2")))
    assert row.same_but == "same but port"
    assert MASK in row.parts[0].commands[0].text
    assert "secret" not in repr(row)


_VALUES = st.sampled_from(("0", "1", "a b", "'", '{"x":1,"y":2}', '{"x":1,"y":3}', '{"x":1, "y":2}', "-1", "10.0.0.1"))
_ARGV = st.lists(st.one_of(st.sampled_from(("--a", "--b", "-c", "--d=1", "--d=2", "serve")), _VALUES), max_size=6)
_COMMANDS = st.builds(Command, st.dictionaries(st.sampled_from(("A", "B")), _VALUES), _ARGV.map(tuple))


@given(_COMMANDS, _COMMANDS)
def test_engines_in_a_row_without_a_difference_have_the_same_text(one: Command, other: Command) -> None:
    rows = _folded(one, other)
    for row in rows:
        texts = {part.commands[0].text for part in row.parts}
        assert (len(texts) > 1) == bool(row.differences)
        for each in row.differences:
            assert len(set(each.values)) > 1, json.dumps(each.values)


def test_the_turns_of_a_rolling_restart_are_blocks() -> None:
    made = copied(3, nodes=1, per_node=2)
    maker = PlanMaker(made, picture({rank.id: EngineState.READY for rank in made.processes()}, made))
    plan = rolling_restart_plan(maker, [rank.id for rank in made.ranks() if rank.role == "decode"])
    blocks = turns(folded_plan(plan), plan)
    assert [name for name, _ in blocks] == ["decode", "decode2", "decode3"]
    assert len({len(rows) for _, rows in blocks}) == 1, "each has the same stages"
    assert [name for name, _ in turns(folded_plan(_plan(made)), _plan(made))] == [""]
