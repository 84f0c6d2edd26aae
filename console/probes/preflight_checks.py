"""The whole list of preflight checks: what to ask a node, what its answers mean, what all nodes say together.

One request runs all inquiries of a node at once; nothing is run here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from console.probes import checks_host, checks_npu, checks_software, checks_weights
from console.probes.check_types import Answer, Check, NodeRequirements, ProbeCommand, Result, compared, judged

INQUIRIES: Mapping[str, ProbeCommand] = {
    inquiry.name: inquiry
    for room in (checks_npu, checks_software, checks_host, checks_weights)
    for inquiry in room.PROBE_COMMANDS
}
CHECKS: tuple[Check, ...] = (*checks_host.CHECKS, *checks_npu.CHECKS, *checks_software.CHECKS, *checks_weights.CHECKS)
"""Seconds first (addresses, ports, devices), then software and weights; the NPUs' network is asked on request."""


def asked(wanted: NodeRequirements, *, network: bool = False, blocking: bool = False) -> tuple[ProbeCommand, ...]:
    """What must be asked of a node; `network` adds the survey of the NPUs' own network, which takes a minute.

    `blocking` leaves out what cannot keep a launch from succeeding.
    """
    names = dict.fromkeys(check.inquiry for check in _checks(wanted, network, blocking))
    return tuple(INQUIRIES[name] for name in names if INQUIRIES[name].needed(wanted))


def answered(
    wanted: NodeRequirements, answers: Mapping[str, Answer], *, network: bool = False, blocking: bool = False
) -> tuple[Result, ...]:
    """The result of every check of a node; a check without an answer is unknown, never passed."""
    return tuple(judged(check, answers.get(check.inquiry), wanted) for check in _checks(wanted, network, blocking))


def together(results: Iterable[Result]) -> tuple[Result, ...]:
    """Results of all nodes, check by check, where a node that differs from the others does not pass."""
    found = tuple(results)
    known = {check.id: check for check in (*CHECKS, *checks_npu.PINGS.values())}
    ordered = [id for id in known if any(each.check == id for each in found)]
    return tuple(
        result for id in ordered for result in compared(known[id], [each for each in found if each.check == id])
    )


def _checks(wanted: NodeRequirements, network: bool, blocking: bool) -> tuple[Check, ...]:
    return tuple(
        check
        for check in CHECKS
        if check.applies(wanted) and (network or not check.network) and (check.blocks or not blocking)
    )
