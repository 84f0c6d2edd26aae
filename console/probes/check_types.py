"""The nouns of a preflight: what is asked of a node, what it must have, what answers mean and what many have in common.

Running commands is not its job, nor is what a single check looks at: see `checks_npu`, `checks_software`, `checks_host`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Literal

from console.probes.sanitize import decode

_REFUSED = re.compile(
    r"(?i)Error response from daemon|annot connect to the (?:Docker daemon|Podman)"
    r"|no such (?:container|object)|no container with name|^Error: (?:statfs|.*image not known)"
)
_ABSENT = re.compile(r"(?i)no such (?:container|object)|no container with name")
Place = Literal["host", "container"]


class Verdict(StrEnum):
    """What an answer means for a launch."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class NodeRequirements:
    """What a node must have for what is to run on it; empty means that nothing is asked for."""

    node: str
    hardware: str = "a3"
    """A kind of the table (`console.model.hardware`), or another name: then nothing is asked of the NPUs' own network."""
    devices: int = 16
    dies_per_card: int = 2
    hbm_mib: int = 65536
    address: str = ""
    nic: str = ""
    dp_addresses: tuple[str, ...] = ()
    """Data-parallel addresses of the groups whose rank 0 is on this node."""
    peers: tuple[str, ...] = ()
    """Service addresses of the other nodes."""
    ports: tuple[tuple[int, str], ...] = ()
    """(port, what for) of everything that will listen here."""
    own_pids: frozenset[int] = frozenset()
    """Host pids of our own runs; they are not unmanaged."""
    model: str = ""
    image: str = ""
    container: str = ""
    tool: tuple[str, ...] = ()
    """Words that run the container tool; empty on a host runtime."""
    mounts: tuple[str, ...] = ()
    """Paths that must be mounted into the container."""
    preload: str = ""
    """LD_PRELOAD of the layout."""
    flags: tuple[str, ...] = ()
    """Names of the flags the engines are started with, without dashes."""
    packages: Mapping[str, str] = field(default_factory=dict)
    """Package → version the layout was made for; a missing one is only compared between nodes."""
    connector: bool = False
    """Whether a KV connector is used, so Mooncake must be there."""
    engines: int = 1
    log_dir: str = "/var/tmp/dsv4-console"
    clock_offset_s: float | None = None
    """Node clock minus jump host clock, as the link measured it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command printed."""

    stdout: bytes = b""
    exit_code: int | None = 0
    """None when it was cut off by time."""
    truncated: bool = False
    stderr: bytes = b""
    """Its first bytes; what the container tool says of itself stands there."""

    @property
    def whole(self) -> bool:
        """Whether it ended by itself and nothing was cut."""
        return self.exit_code is not None and self.exit_code not in (124, 137) and not self.truncated

    @property
    def refused(self) -> str:
        """Why the container tool could not run the command at all; empty when it did."""
        first = decode(self.stderr.split(b"\n", 1)[0])[:160]
        return first if _REFUSED.search(first) else ""

    @property
    def lines(self) -> tuple[str, ...]:
        """Its lines, made safe to draw."""
        return tuple(decode(line) for line in self.stdout.split(b"\n"))

    @property
    def sections(self) -> dict[str, str]:
        """Text between `== NAME` marks; one that was cut is absent."""
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
    """One command of a preflight; several checks may read its answer. `$1`, `$2` … stand for `arguments`; nothing is pasted."""

    name: str
    place: Place
    script: str
    arguments: Callable[[NodeRequirements], tuple[str, ...]] = lambda wanted: ()
    timeout_s: float = 10.0
    needed: Callable[[NodeRequirements], bool] = lambda wanted: True
    lane: str = ""
    """Inquiries of one lane run one after the other: the driver's tools must not run twice at once."""

    def argv(self, wanted: NodeRequirements) -> tuple[str, ...]:
        """What runs at its place; in a container put the runtime's `exec` words before it."""
        return ("sh", "-c", self.script, "preflight", *self.arguments(wanted))


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """What a judge says of one answer."""

    verdict: Verdict
    seen: str
    remedy: str = ""
    """The command or act that fixes it; empty takes the check's own."""
    value: str = ""
    """What must be equal on all nodes, where the check asks for it."""


Judge = Callable[[Answer, NodeRequirements], CheckOutcome]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold before a launch."""

    id: str
    """Number in the list of checks, for example `11` or `7b`."""
    title: str
    inquiry: str
    judge: Judge
    why: str
    remedy: str
    blocks: bool = True
    """Whether a failure keeps a launch from succeeding; else the worst verdict is a warning."""
    same: bool = False
    """Whether the value must be equal on all nodes."""
    network: bool = False
    """Whether it belongs to the network verification, which takes longer."""
    applies: Callable[[NodeRequirements], bool] = lambda wanted: True
    of_container: bool = False
    """Whether it asks for the container itself, so that a missing one is an answer."""


@dataclass(frozen=True, slots=True)
class Result:
    """One check on one node, ready to be shown."""

    check: str
    """Id of the check."""
    title: str
    node: str
    verdict: Verdict
    seen: str
    """What the node answered."""
    why: str = ""
    """Why it matters; empty when it passes."""
    remedy: str = ""
    """What to do; empty when it passes."""
    value: str = ""
    """What is compared between nodes; empty when nothing is."""


@dataclass(frozen=True, slots=True)
class GroupedResult:
    """Equal results of several nodes in one line."""

    check: str
    title: str
    verdict: Verdict
    seen: str
    why: str
    remedy: str
    nodes: tuple[str, ...]


def unknown(seen: str, remedy: str = "") -> CheckOutcome:
    """An answer that proves nothing."""
    return CheckOutcome(Verdict.UNKNOWN, seen, remedy)


def passed(seen: str, value: str = "") -> CheckOutcome:
    """All is well."""
    return CheckOutcome(Verdict.PASS, seen, value=value)


def failed(seen: str, remedy: str = "", value: str = "") -> CheckOutcome:
    """It does not hold."""
    return CheckOutcome(Verdict.FAIL, seen, remedy, value)


def warned(seen: str, remedy: str = "", value: str = "") -> CheckOutcome:
    """It holds, but not as it should."""
    return CheckOutcome(Verdict.WARN, seen, remedy, value)


def judged(check: Check, answer: Answer | None, wanted: NodeRequirements) -> Result:
    """The result of one check; a missing or cut answer is unknown, and a failure that blocks nothing is a warning."""
    if answer is None:
        found = unknown("not asked")
    elif not answer.whole:
        found = unknown("no answer in time" if not answer.truncated else "the answer was cut")
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
    """The results of one check of all nodes, where a node that differs from most fails although it passed alone.

    Without a majority every node is told apart: nobody can say which one is right.
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
    """Equal answers of many nodes as one line, the worst first within a check; the odd node stands out.

    What passes is one line for all nodes even where each says something else, such as its address.
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
    text = "; ".join(seen[:2]) + (f" and {len(seen) - 2} others" if len(seen) > 2 else "")
    nodes = tuple(each.node for each in same)
    return GroupedResult(first.check, first.title, first.verdict, text, first.why, first.remedy, nodes)


_WORST = [Verdict.FAIL, Verdict.WARN, Verdict.UNKNOWN, Verdict.PASS]
