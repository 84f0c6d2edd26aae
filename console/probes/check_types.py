"""The types of a preflight: commands, requirements of a node, answers, checks and results, and how results are grouped.

Does not run commands. Single checks are in `checks_npu`, `checks_software`, `checks_host` and `checks_weights`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Literal

from console.model.shortening import list_text
from console.probes.sanitize import decode

_REFUSED = re.compile(
    r"(?i)Error response from daemon|annot connect to the (?:Docker daemon|Podman)"
    r"|no such (?:container|object)|no container with name|^Error: (?:statfs|.*image not known)"
)
_ABSENT = re.compile(r"(?i)no such (?:container|object)|no container with name")
Place = Literal["host", "container"]


class Verdict(StrEnum):
    """The verdict of a check."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class NodeRequirements:
    """What a node must have for its planned engines; an empty value is not checked."""

    node: str
    hardware: str = "a3"
    """A kind of `console.model.hardware`, or another name; then the network of the NPUs is not checked."""
    devices: int = 16
    dies_per_card: int = 2
    hbm_mib: int = 65536
    address: str = ""
    nic: str = ""
    dp_addresses: tuple[str, ...] = ()
    """Data-parallel addresses of the groups whose rank 0 runs on this node."""
    peers: tuple[str, ...] = ()
    """Service addresses of the other nodes."""
    ports: tuple[tuple[int, str], ...] = ()
    """(port, purpose) of everything that will listen on this node."""
    own_pids: frozenset[int] = frozenset()
    """Host pids of the console's own runs, which are not unmanaged."""
    model: str = ""
    image: str = ""
    container: str = ""
    tool: tuple[str, ...] = ()
    """The command of the container tool; empty on a host runtime."""
    mounts: tuple[str, ...] = ()
    """Paths that the container must mount."""
    preload: str = ""
    """LD_PRELOAD of the layout."""
    flags: tuple[str, ...] = ()
    """Names of the flags of the engines, without dashes."""
    packages: Mapping[str, str] = field(default_factory=dict)
    """Package → version of the layout; other packages are only compared between nodes."""
    connector: bool = False
    """Whether a KV connector is used, so that Mooncake must be installed."""
    engines: int = 1
    log_dir: str = "/var/tmp/dsv4-console"
    clock_offset_s: float | None = None
    """Clock of the node minus clock of the jump host, measured by the link."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The output of a command."""

    stdout: bytes = b""
    exit_code: int | None = 0
    """None when the time limit ended it."""
    truncated: bool = False
    stderr: bytes = b""
    """The first bytes of stderr, with messages of the container tool."""

    @property
    def whole(self) -> bool:
        """Whether the command ended itself and the output is complete."""
        return self.exit_code is not None and self.exit_code not in (124, 137) and not self.truncated

    @property
    def refused(self) -> str:
        """Why the container tool could not run the command; empty when it ran it."""
        first = decode(self.stderr.split(b"\n", 1)[0])[:160]
        return first if _REFUSED.search(first) else ""

    @property
    def lines(self) -> tuple[str, ...]:
        """The cleaned lines of the output."""
        return tuple(decode(line) for line in self.stdout.split(b"\n"))

    @property
    def sections(self) -> dict[str, str]:
        """NAME → text after the line `== NAME`; an incomplete section is missing."""
        found: dict[str, list[str]] = {}
        name = ""
        for line in self.lines:
            if line.startswith("== "):
                name = line[3:].strip()
                found[name] = []
            elif name:
                found[name].append(line)
        if name and name != "end":
            del found[name]
        return {name: "\n".join(lines).strip() for name, lines in found.items()}


@dataclass(frozen=True, slots=True)
class ProbeCommand:
    """One command of a preflight, which several checks can read. `$1`, `$2` … are `arguments`."""

    name: str
    place: Place
    script: str
    arguments: Callable[[NodeRequirements], tuple[str, ...]] = lambda wanted: ()
    timeout_s: float = 10.0
    needed: Callable[[NodeRequirements], bool] = lambda wanted: True
    lane: str = ""
    """Commands with the same lane run one after the other, because the tools of the driver must not run twice at once."""

    def argv(self, wanted: NodeRequirements) -> tuple[str, ...]:
        """argv at its place; for a container the caller adds the `exec` words before it."""
        return ("sh", "-c", self.script, "preflight", *self.arguments(wanted))


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """The verdict on one answer."""

    verdict: Verdict
    seen: str
    remedy: str = ""
    """The fix; empty uses the fix of the check."""
    value: str = ""
    """The value that must be equal on all nodes, when the check compares nodes."""


Judge = Callable[[Answer, NodeRequirements], CheckOutcome]


@dataclass(frozen=True, slots=True)
class Check:
    """One condition that must hold before a start."""

    id: str
    """Its number in the list of checks, for example `11` or `7b`."""
    title: str
    inquiry: str
    judge: Judge
    why: str
    remedy: str
    blocks: bool = True
    """Whether a failure prevents a start; otherwise the worst verdict is a warning."""
    same: bool = False
    """Whether the value must be equal on all nodes."""
    network: bool = False
    """Whether it belongs to the network checks, which take longer."""
    applies: Callable[[NodeRequirements], bool] = lambda wanted: True
    of_container: bool = False
    """Whether it checks the container itself, so that a missing container is an answer."""


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one check on one node."""

    check: str
    """The id of the check."""
    title: str
    node: str
    verdict: Verdict
    seen: str
    """What was found on the node."""
    why: str = ""
    """Why it matters; empty when it passes."""
    remedy: str = ""
    """What to do; empty when it passes."""
    value: str = ""
    """The value that is compared between nodes; empty when nothing is compared."""


@dataclass(frozen=True, slots=True)
class GroupedResult:
    """Equal results of several nodes as one."""

    check: str
    title: str
    verdict: Verdict
    seen: str
    why: str
    remedy: str
    nodes: tuple[str, ...]


def unknown(seen: str, remedy: str = "") -> CheckOutcome:
    """The outcome `unknown`."""
    return CheckOutcome(Verdict.UNKNOWN, seen, remedy)


def passed(seen: str, value: str = "") -> CheckOutcome:
    """The outcome `pass`."""
    return CheckOutcome(Verdict.PASS, seen, value=value)


def failed(seen: str, remedy: str = "", value: str = "") -> CheckOutcome:
    """The outcome `fail`."""
    return CheckOutcome(Verdict.FAIL, seen, remedy, value)


def warned(seen: str, remedy: str = "", value: str = "") -> CheckOutcome:
    """The outcome `warn`."""
    return CheckOutcome(Verdict.WARN, seen, remedy, value)


def judged(check: Check, answer: Answer | None, wanted: NodeRequirements) -> Result:
    """The result of one check; a missing or incomplete answer is unknown, and the failure of a check that does not block is a
    warning.
    """
    if answer is None:
        found = unknown("not checked")
    elif not answer.whole:
        found = unknown("no answer in time" if not answer.truncated else "the answer is incomplete")
    elif answer.refused and not (check.of_container and _ABSENT.search(answer.refused)):
        found = unknown(answer.refused, f"create or start the container {wanted.container}")
    else:
        found = check.judge(answer, wanted)
    verdict = Verdict.WARN if found.verdict is Verdict.FAIL and not check.blocks else found.verdict
    if verdict is Verdict.PASS:
        return Result(check.id, check.title, wanted.node, verdict, found.seen, value=found.value)
    return Result(
        check.id, check.title, wanted.node, verdict, found.seen, check.why, found.remedy or check.remedy, found.value
    )


def compared(check: Check, results: Iterable[Result]) -> tuple[Result, ...]:
    """The results of one check on all nodes, in which a node that differs from most nodes fails.

    Without a majority every node fails, because it is unknown which one is right.
    """
    found = tuple(results)
    values = Counter(each.value for each in found if each.value)
    if not check.same or len(values) < 2:
        return found
    (most, count), (_, second) = values.most_common(2)
    worst = Verdict.FAIL if check.blocks else Verdict.WARN

    def other(each: Result) -> Result:
        if not each.value or each.verdict is Verdict.FAIL or (each.value == most and count > second):
            return each
        seen = f"{each.seen}; most nodes have {most}" if count > second else f"{each.seen}; the nodes differ"
        return replace(each, verdict=worst, seen=seen, why=check.why, remedy=check.remedy)

    return tuple(other(each) for each in found)


def folded(results: Iterable[Result]) -> tuple[GroupedResult, ...]:
    """Equal results of many nodes as one, the worst first within a check.

    Passed results are always grouped, even when their texts differ (for example addresses).
    """
    found: dict[tuple[str, Verdict, str, str], list[Result]] = {}
    for each in results:
        passes = each.verdict is Verdict.PASS
        key = (each.check, each.verdict, "" if passes else each.seen, each.remedy)
        found.setdefault(key, []).append(each)
    order = list(dict.fromkeys(check for check, *_ in found))
    folds = (_fold(same) for same in found.values())
    return tuple(sorted(folds, key=lambda fold: (order.index(fold.check), _WORST.index(fold.verdict))))


def _fold(same: Sequence[Result]) -> GroupedResult:
    first = same[0]
    seen = list(dict.fromkeys(each.seen for each in same))
    text = list_text(seen, 2, "; ")
    nodes = tuple(each.node for each in same)
    return GroupedResult(first.check, first.title, first.verdict, text, first.why, first.remedy, nodes)


_WORST = [Verdict.FAIL, Verdict.WARN, Verdict.UNKNOWN, Verdict.PASS]
