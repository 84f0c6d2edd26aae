"""All preflight checks: the commands for a node, the results of its answers, and the comparison of nodes. Runs nothing."""

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
"""Fast checks first (addresses, ports, devices), then software and weights; the network of the NPUs is checked on request."""


def asked(wanted: NodeRequirements, *, network: bool = False, blocking: bool = False) -> tuple[ProbeCommand, ...]:
    """The commands to run on a node; `network` adds the network of the NPUs, which takes a minute.

    `blocking` skips checks that cannot prevent a start.
    """
    names = dict.fromkeys(check.inquiry for check in _checks(wanted, network, blocking))
    return tuple(INQUIRIES[name] for name in names if INQUIRIES[name].needed(wanted))


def answered(
    wanted: NodeRequirements, answers: Mapping[str, Answer], *, network: bool = False, blocking: bool = False
) -> tuple[Result, ...]:
    """The results of all checks of a node; a check without an answer is unknown."""
    return tuple(judged(check, answers.get(check.inquiry), wanted) for check in _checks(wanted, network, blocking))


def together(results: Iterable[Result]) -> tuple[Result, ...]:
    """The results of all nodes, check by check; a node that differs from the others does not pass."""
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
