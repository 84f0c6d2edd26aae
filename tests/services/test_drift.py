"""What a run was launched with against the plan of now: each difference by name, and silence about what is unknown."""

from __future__ import annotations

import pytest

from console.model.deployment import Rank
from console.services.monitoring.drift import drift

RANK = Rank("d-1", "d0", "d", "decode", 1, 1, 1, 2, (2, 3), 7101, False, "10.0.0.3", "10.0.0.3", 12321)
SPEC = {
    "devices": [2, 3],
    "port": 7101,
    "dp_rank": 1,
    "argv": ["vllm", "serve", "/m", "--tensor-parallel-size", "2"],
}


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({}, ()),
        ({"devices": [4, 5, 6, 7]}, ("devices 4-7, planned 2,3",)),
        ({"port": 7200}, ("port 7200, planned 7101",)),
        ({"port": None}, ("port none, planned 7101",)),
        ({"dp_rank": 0}, ("rank 0, planned 1",)),
        ({"argv": ["vllm", "--tensor-parallel-size=4"]}, ("TP 4, planned 2",)),
        ({"argv": ["vllm", "--tensor-parallel-size"]}, ()),
        ({"devices": "all", "argv": 3}, ()),
    ],
)
def test_each_difference_is_named(changed: dict[str, object], found: tuple[str, ...]) -> None:
    assert drift({**SPEC, **changed}, RANK, 2) == found


def test_a_run_of_which_nothing_is_recorded_differs_in_nothing() -> None:
    assert drift({}, RANK, 2) == ()
