"""One question to every rank: what is a wrong answer, whose answer is the odd one, and how each rank is reached."""

from __future__ import annotations

import json

import pytest

from console.model.deployment import Assignment, Deployment
from console.model.layout import Layout
from console.remote.http import HttpAnswer
from console.services.serving.rank_targets import rank_targets
from console.services.serving.trial_request import (
    TrialAnswer,
    common_answer,
    disagreement,
    outliers,
    trial_answer,
    trial_fault,
)
from tests.services.deployments import CLUSTER, LAYOUT

PARIS, NOISE, OTHER = TrialAnswer("Paris", 5), TrialAnswer("\ufffd\ufffd", 5), TrialAnswer("Rome", 5)


def answer(text: object = " Paris, of", made: object = 4, prompt: object = 5, finish: str = "length") -> HttpAnswer:
    """A completion."""
    usage = {"completion_tokens": made, "prompt_tokens": prompt}
    body = {"choices": [{"text": text, "finish_reason": finish}], "usage": usage}
    return HttpAnswer(200, json.dumps(body).encode(), 0.1)


@pytest.mark.parametrize(
    ("found", "wrong"),
    [
        (answer(), ""),
        (answer(made=2, finish="stop"), ""),
        (answer(made=None, prompt=None), ""),
        (HttpAnswer(200, b'{"choices": [{"text": "x"}], "usage": 3}', 0.1), ""),
        (answer(""), "completion 200 without text"),
        (answer("  \n"), "completion 200 without text"),
        (answer(None), "completion 200 without text"),
        (answer(made=0), "completion 200, but it counts 0 tokens where 4 were asked for"),
        (answer(made=2), "completion 200, but it counts 2 tokens where 4 were asked for"),
        (answer(made=5, finish="stop"), "completion 200, but it counts 5 tokens where 4 were asked for"),
        (answer(prompt=0), "completion 200, but it counts 0 tokens of the prompt"),
        (HttpAnswer(200, b"", 0.1), "completion 200 with an empty body"),
        (HttpAnswer(500, b"", 0.1), "completion 500: without a body"),
    ],
)
def test_what_is_wrong_with_an_answer(found: HttpAnswer, wrong: str) -> None:
    assert trial_fault(found) == wrong


def test_two_answers_are_compared_by_their_first_word_and_the_tokens_of_the_prompt() -> None:
    assert trial_answer(answer(" Paris, of")) == trial_answer(answer("Paris. It")) == PARIS
    assert trial_answer(answer(" Paris", prompt=6)) != PARIS


@pytest.mark.parametrize(
    ("answers", "agreed", "odd"),
    [
        ({"d-0": PARIS, "d-1": PARIS}, None, []),
        ({"d-0": PARIS}, None, []),
        ({"d-0": OTHER, "d-1": NOISE, "d-2": OTHER}, None, ["d-1"]),
        ({"d-0": OTHER, "d-1": NOISE}, OTHER, ["d-1"]),
        ({"d-0": OTHER, "d-1": NOISE}, NOISE, ["d-0"]),
        ({"d-0": NOISE, "d-1": PARIS}, None, ["d-0"]),
        ({"d-0": NOISE, "d-1": OTHER}, None, []),
        (
            {"d-0": TrialAnswer("Paris", 5), "d-1": TrialAnswer("Paris", 7), "d-2": TrialAnswer("Paris", 5)},
            None,
            ["d-1"],
        ),
    ],
)
def test_the_odd_one_is_found_where_anybody_can_tell(
    answers: dict[str, TrialAnswer], agreed: TrialAnswer | None, odd: list[str]
) -> None:
    assert [*outliers(answers, agreed)] == odd
    differ = len({*answers.values()}) > 1
    assert bool(disagreement(answers, agreed)) is (differ and not odd)


def test_the_words_name_what_both_said() -> None:
    assert outliers({"d-0": PARIS, "d-1": NOISE, "d-2": PARIS}) == {
        "d-1": "completion 200, but it answers '\ufffd\ufffd' where d-0, d-2 answers 'Paris'"
    }
    assert disagreement({"d-0": NOISE, "d-1": OTHER}) == "d-0 answers '\ufffd\ufffd', d-1 answers 'Rome'"
    assert common_answer([PARIS, PARIS]) == PARIS
    assert common_answer([PARIS]) is None
    assert common_answer([PARIS, OTHER]) is None


def targets(balance: str, size: int, per_node: int) -> list[tuple[str, str, str, int | None]]:
    """(rank, server, process, index) of a group over two nodes."""
    group = {
        "role": "mixed",
        "nodes": 2,
        "tensor_parallel": 1,
        "data_parallel": {"size": size, "per_node": per_node, "balance": balance, "rpc_port": 12321},
        "port": 7100,
    }
    made = {**LAYOUT.model_dump(exclude_unset=True, exclude={"proxy", "groups"}), "groups": {"m": group}}
    deployment = Deployment(CLUSTER, Layout.model_validate(made), Assignment({"m": ("d0", "d1")}))
    return [(each.id, each.server, each.process, each.index) for each in rank_targets(deployment)]


def test_with_internal_balance_one_server_is_told_which_rank_is_meant() -> None:
    assert targets("internal", 4, 2) == [
        ("m-0", "m-0", "m-0", 0), ("m-1", "m-0", "m-0", 1), ("m-2", "m-0", "m-2", 2), ("m-3", "m-0", "m-2", 3),
    ]  # fmt: skip


def test_with_external_balance_every_rank_has_its_own_port() -> None:
    assert targets("external", 4, 2) == [(f"m-{rank}", f"m-{rank}", f"m-{rank}", None) for rank in range(4)]


def test_with_hybrid_balance_a_server_counts_its_own_ranks_only() -> None:
    assert targets("hybrid", 4, 2) == [
        ("m-0", "m-0", "m-0", 0), ("m-1", "m-0", "m-0", 1), ("m-2", "m-2", "m-2", 0), ("m-3", "m-2", "m-2", 1),
    ]  # fmt: skip
