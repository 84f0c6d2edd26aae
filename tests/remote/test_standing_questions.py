"""Standing questions: what a node may answer, and what becomes of them when its helper is another one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from console.remote.frame_decoding import WireError
from console.remote.standing_questions import Question, StandingAnswer, StandingQuestions

ENGINE: dict[str, Any] = {"g": {"running": 1}, "c": {"prompt": 2}, "h": {"ttft": [0.5, [1, 0, 2]]}, "t": None}
FIGURES: dict[str, Any] = {"model": "m", "bounds": {"ttft": [0.1, 1.0]}, "engines": {"0": ENGINE}}


class Talk:
    """Questions to a node, what it was told and what it said."""

    def __init__(self) -> None:
        self.told: list[Mapping[str, Any]] = []
        self.heard: list[StandingAnswer] = []
        self.questions = StandingQuestions(lambda _op, body: self.told.append(body))

    def ask(self, want: str = "status", **fields: Any) -> int:
        return self.questions.ask(replace(question(want), **fields), self.heard.append)

    def answer(self, number: int, **fields: Any) -> None:
        self.questions.answered({"id": number, "status": 200, "took_s": 0.1, "error": "", "said": None, **fields})


def question(want: str = "status") -> Question:
    return Question("10.0.0.1", 7100, "/health", want, 10.0, 5.0, api_key="sk-secret")


def test_a_question_is_sent_changed_repeated_and_ended() -> None:
    talk = Talk()
    number = talk.ask()
    assert talk.told[-1]["set"][0]["headers"] == [["Authorization", "Bearer sk-secret"]]
    talk.answer(number)
    talk.questions.repeated({"ids": [[number, 0.5]]})
    assert [each.status for each in talk.heard] == [200, 200]
    assert time.time() - 1.0 < talk.heard[1].at <= time.time()
    count = len(talk.told)
    talk.questions.change(number, question())
    assert len(talk.told) == count, "nothing changed"
    talk.questions.change(number, replace(question(), every_s=2.0))
    assert talk.told[-1]["set"][0]["every_s"] == 2.0
    talk.questions.end(number)
    assert talk.told[-1] == {"drop": [number]}
    talk.answer(number)
    talk.questions.repeated({"ids": [[number, 0.5]]})
    assert len(talk.heard) == 2, "an answer that was on the way is ignored"
    assert "sk-secret" not in repr(question())


def test_a_new_helper_gets_all_questions_and_repeats_nothing_of_the_one_before() -> None:
    talk = Talk()
    numbers = [talk.ask(), talk.ask("text")]
    talk.answer(numbers[0])
    talk.questions.begin()
    assert [each["id"] for each in talk.told[-1]["set"]] == numbers
    talk.questions.repeated({"ids": [[numbers[0], 0.5]]})
    assert len(talk.heard) == 1


def test_what_is_wanted_is_given() -> None:
    talk = Talk()
    talk.answer(talk.ask("text"), said="{}")
    talk.answer(talk.ask("models"), said=["dsv4"])
    talk.answer(talk.ask("figures"), said=FIGURES)
    talk.answer(talk.ask("figures"), said={"fault": "no metrics"})
    text, models, figures, fault = talk.heard
    assert (text.text, models.models) == ("{}", ("dsv4",))
    assert figures.figures is not None
    assert figures.figures.engines["0"].histograms["ttft"].count == 3
    assert fault.figures is not None
    assert fault.figures.error == "no metrics"


def engine(**fields: Any) -> dict[str, Any]:
    return {**FIGURES, "engines": {"0": {**ENGINE, **fields}}}


LIES: dict[str, tuple[str, Any]] = {
    "a text for a status": ("status", "hello"),
    "an object for a text": ("text", {"a": 1}),
    "a text without end": ("text", "x" * 5000),
    "models that are numbers": ("models", [1]),
    "models without end": ("models", ["m"] * 1000),
    "figures that are a list": ("figures", []),
    "no ranks": ("figures", {**FIGURES, "engines": {}}),
    "ranks without end": ("figures", {**FIGURES, "engines": {str(n): ENGINE for n in range(2000)}}),
    "a figure below zero": ("figures", engine(g={"running": -1})),
    "a figure that is none": ("figures", engine(g={"running": float("inf")})),
    "a figure too large": ("figures", engine(c={"prompt": 1e300})),
    "counters without end": ("figures", engine(c={f"c{n}": 1 for n in range(100)})),
    "a name without end": ("figures", engine(c={"x" * 500: 1})),
    "buckets without bounds": ("figures", engine(h={"ttft": [0.5, [1, 2]]})),
    "buckets without end": ("figures", engine(h={"ttft": [0.5, [1] * 500]})),
    "bounds that fall": ("figures", {**FIGURES, "bounds": {"ttft": [1.0, 0.1]}}),
    "a deep nest": ("figures", {"engines": {"0": {"g": {"a": {"b": {}}}}}}),
}


@pytest.mark.parametrize("lie", LIES)
def test_an_answer_that_is_none_ends_the_link(lie: str) -> None:
    want, said = LIES[lie]
    talk = Talk()
    number = talk.ask(want)
    with pytest.raises(WireError):
        talk.answer(number, said=said)
    assert talk.heard == []


@pytest.mark.parametrize(
    "fields",
    [
        {"id": 2},
        {"id": 0},
        {"id": []},
        {"status": 99999},
        {"took_s": -1},
        {"took_s": float("nan")},
        {"error": "x" * 9999},
    ],
)
def test_an_answer_with_figures_that_cannot_be_ends_the_link(fields: dict[str, Any]) -> None:
    talk = Talk()
    number = talk.ask()
    with pytest.raises(WireError):
        talk.questions.answered({"id": number, "status": 200, "took_s": 0.1, "error": "", **fields})


@pytest.mark.parametrize("ids", [[[2, 0.5]], [[1, -1]], [[1]], [[1, 0.5]] * 1000, 5])
def test_a_repeated_answer_that_cannot_be_ends_the_link(ids: Any) -> None:
    talk = Talk()
    talk.ask()
    with pytest.raises(WireError):
        talk.questions.repeated({"ids": ids})
