"""Makes the content of rows from the nodes, groups and engines of a snapshot. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from console.model.counting import counted
from console.model.name_ranges import name_ranges
from console.model.role import BESIDE_ENGINES
from console.model.state import EngineState, LinkState
from screens.charts import bar
from screens.figures import device_figures, load_of, stale
from screens.grid.columns import MOST_ENGINES, Subject
from screens.grid.rows import age_words, count_words, engine_strip, rank_words
from screens.styled_lines import Line, Pen, shown
from screens.themes import STATES, link_sign, sign_of

if TYPE_CHECKING:
    from console.model.snapshot import ClusterSnapshot, Device, EngineSnapshot, NodeSnapshot

_PROGRESS_CELLS = 10
_INDENT = "  "


def node_subject(node: NodeSnapshot, name: str, engines: Sequence[EngineSnapshot], now: float, pen: Pen) -> Subject:
    """A node under a name that has room, with what its engines do together."""
    ranked = [each for each in engines if each.role not in BESIDE_ENGINES]
    old = stale(node, now)
    return Subject(
        name=((name, "bold"),),
        group=((shown(node.group), node.role or "dim"),) if node.group else (),
        ranks=rank_words(ranked, node.ranks),
        state=_node_state(node, engines, now, pen),
        covers=node.link.state not in (LinkState.UP, LinkState.STALE),
        npus=_npus(node, old),
        engines=engine_strip(engines, MOST_ENGINES, pen),
        load=load_of(each.serving for each in engines),
        generates=node.role != "prefill",
        figures=device_figures(node.devices),
        devices=node.devices,
        age=age_words(node.age_s(now)) if old else "",
        tone="stale" if old else "plain",
    )


def group_subject(name: str, engines: Sequence[EngineSnapshot], snapshot: ClusterSnapshot, pen: Pen) -> Subject:
    """A group: sums and rates over its engines and the devices they have."""
    nodes = list(dict.fromkeys(engine.node for engine in engines))
    devices = [device for engine in engines for device in _devices_of(engine, snapshot) if device is not None]
    serving = snapshot.serving.get(name)
    return Subject(
        name=((shown(name), f"bold {engines[0].role}"),),
        group=((counted(len(nodes), "node"), "dim"),),
        state=_start_words(engines, pen) or (*count_words(engines, pen), *_shared_news(engines, snapshot.at)),
        engines=engine_strip(engines, MOST_ENGINES, pen),
        load=load_of([serving] if serving is not None else [each.serving for each in engines]),
        generates=engines[0].role != "prefill",
        figures=device_figures(devices) if devices else None,
        ranks=rank_words([each for each in engines if each.role not in BESIDE_ENGINES], [each.id for each in engines]),
    )


def engine_subject(engine: EngineSnapshot, snapshot: ClusterSnapshot, pen: Pen, *, where: bool) -> Subject:
    """One engine; `where` adds its node."""
    sign = sign_of(engine)
    news = _news(engine, snapshot.at, pen)
    placed = _devices_of(engine, snapshot) if engine.state.alive and not engine.connecting else ()
    return Subject(
        name=((_INDENT + shown(engine.id), engine.role),),
        group=((shown(engine.node), "dim"),) if where else (),
        state=((f"{pen.sign(sign)} {sign.word}", sign.role), *((("  ", ""), *news) if news else ())),
        covers=bool(news),
        load=load_of([engine.serving]),
        generates=engine.role != "prefill",
        figures=device_figures(each for each in placed if each is not None) if placed else None,
        devices=placed,
        uptime=_uptime(engine, snapshot),
        port="headless" if engine.headless else f":{engine.port}" if engine.port else "",
        tone="stale" if engine.state is EngineState.UNREACHABLE else "plain",
    )


def folded_subject(engines: Sequence[EngineSnapshot], snapshot: ClusterSnapshot, pen: Pen, *, where: bool) -> Subject:
    """Several engines that are in the same state for the same reason."""
    nodes = {engine.node for engine in engines}
    news = _shared_news(engines, snapshot.at)
    placed = _together([_devices_of(each, snapshot) for each in engines]) if len(nodes) == 1 else ()
    alive = all(each.state.alive and not each.connecting for each in engines)
    devices = (
        [device for each in engines for device in _devices_of(each, snapshot) if device is not None] if alive else []
    )
    return Subject(
        name=((_INDENT + shown(name_ranges(each.id for each in engines)), engines[0].role),),
        names=[each.id for each in engines],
        group=((counted(len(nodes), "node"), "dim"),) if where else (),
        state=_start_words(engines, pen) or (*count_words(engines, pen), *news),
        covers=bool(news),
        load=load_of(each.serving for each in engines),
        generates=engines[0].role != "prefill",
        figures=device_figures(devices) if devices else None,
        devices=placed if alive else (),
    )


def in_same_state(one: EngineSnapshot, other: EngineSnapshot, now: float) -> bool:
    """Whether two engines are in the same state for the same reason, so that one row tells of both."""
    if (one.state, one.connecting, one.after) != (other.state, other.connecting, other.after):
        return False
    return one.held_up == other.held_up if one.state in _PROGRESSES else one.why(now) == other.why(now)


_PROGRESSES = (EngineState.STARTING, EngineState.LAUNCHING)


def _devices_of(engine: EngineSnapshot, snapshot: ClusterSnapshot) -> list[Device | None]:
    """The engine's devices where they stand among those of its node, None for the others."""
    node = snapshot.nodes.get(engine.node)
    held = set(engine.devices)
    return [device if device.id in held else None for device in node.devices] if node is not None and held else []


def _together(strips: Sequence[Sequence[Device | None]]) -> list[Device | None]:
    return [next((each for each in column if each is not None), None) for column in zip(*strips, strict=False)]


def _uptime(engine: EngineSnapshot, snapshot: ClusterSnapshot) -> str:
    """How long it has run; empty while it does not, or when that is not known."""
    from console.model.durations import stepped

    node = snapshot.nodes.get(engine.node)
    if engine.started_at is None or node is None or not engine.state.alive or engine.state is EngineState.UNREACHABLE:
        return ""
    return stepped(max(0.0, snapshot.at - engine.started_at + (node.system.clock_offset_s or 0.0)))


def _node_state(node: NodeSnapshot, engines: Sequence[EngineSnapshot], now: float, pen: Pen) -> Line:
    if node.link.state not in (LinkState.UP, LinkState.STALE):
        sign = link_sign(node)
        why = node.link.reason.removeprefix(f"{node.name}: ").removeprefix(
            f"{node.name} "
        )  # the row starts with the name
        reason = f": {shown(why)}" if why else ""
        return ((f"{pen.sign(sign)} {sign.word}{reason}", sign.role),)
    words = count_words(engines, pen)
    if node.unmanaged:
        foreign = (f"{len(node.unmanaged)} unmanaged", "warn")
        return (*words, (" ", ""), foreign) if words else (foreign,)
    if not words:
        return (("free", "dim"),)
    return _start_words(engines, pen) or (*words, *_shared_news(engines, now))


def _npus(node: NodeSnapshot, old: bool) -> Line:
    if not node.expected_devices and not node.devices:
        return ()
    if not node.devices:
        return ((f"?/{node.expected_devices}", "stale"),)
    busy = sum(1 for device in node.devices if device.processes)
    known = busy or all(device.processes_known for device in node.devices)
    bad = lacks_devices(node)
    role = "fail" if bad else "stale" if old else "plain"
    return ((f"{busy if known else '?'}/{len(node.devices)}" + ("!" if bad else ""), role),)


def lacks_devices(node: NodeSnapshot) -> bool:
    """Whether a device of the node is not healthy, or not there."""
    short = node.devices_whole and len(node.devices) < node.expected_devices
    return bool(node.devices) and (short or any(device.health not in (None, "OK") for device in node.devices))


def npus_differ(node: NodeSnapshot) -> bool:
    """Whether how many devices are in use is news: not all are, or that is not known."""
    return lacks_devices(node) or not node.devices or not all(device.processes for device in node.devices)


def _shared_news(engines: Sequence[EngineSnapshot], now: float) -> Line:
    """What explains the state of several engines, where it explains that of all."""
    why = {each.why(now) for each in engines}
    if len(why) != 1 or not any(why):
        return ()
    return ((f"  {shown(why.pop())}", STATES[engines[0].state].role),)


def _start_words(engines: Sequence[EngineSnapshot], pen: Pen) -> Line:
    """How far the slowest is of engines that all start, and how long it takes yet; nothing where that is not known."""
    from console.model.durations import about

    known = [each.progress for each in engines if each.state is EngineState.STARTING and each.progress is not None]
    if len(known) < len(engines) or any(each.held_up for each in engines):
        return ()
    sign = STATES[EngineState.STARTING]
    left = max((each.start_left_s for each in engines if each.start_left_s), default=None)
    return (
        (f"{pen.sign(sign)} {len(engines)} {sign.word} ", sign.role),
        *bar(min(known), _PROGRESS_CELLS // 2, pen, role="busy"),
        (f" {min(known):.0%}" + (f"  {about(left)}" if left else ""), sign.role),
    )


def _news(engine: EngineSnapshot, now: float, pen: Pen) -> Line:
    """What there is to say about an engine beside its state and its figures."""
    from console.model.durations import about

    if engine.connecting:
        return ()
    if engine.state is EngineState.UNREACHABLE:
        last = f"was {STATES[engine.stale_of].word} {age_words(engine.age_s)} ago" if engine.stale_of else ""
        return ((f"{last} {shown(engine.cause)}".strip(), "stale"),)
    if engine.state in _PROGRESSES and not engine.cause:
        done: Line = ()
        if engine.progress is not None:
            done = (*bar(engine.progress, _PROGRESS_CELLS, pen, role="busy"), (f" {engine.progress:3.0%} ", "busy"))
        where = f"{shown(engine.phase)} {shown(engine.progress_text)}".strip()
        if engine.held_up:
            return (*done, (f"{where}  {shown(engine.held_up)}", "warn"))
        left = f"  {about(engine.start_left_s)} left" if engine.start_left_s else ""
        return (*done, (where + left, "busy"))
    end = f" (exit {engine.exit})" if engine.exit else ""
    if why := shown(engine.why(now)):
        return ((why + end, "fail" if engine.bad else "dim"),)
    return ((end.strip(), "dim"),) if end else ()
