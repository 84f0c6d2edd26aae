"""Computes the flags and variables of an imported group that a layout must contain; values that differ by rank become facts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import JsonValue

from console.commands.script import SHELL_OWNED
from console.commands.serve import computed_flags, rank_value, serve_command
from console.model.deployment import Deployment, Rank
from console.model.layout import Group, NodeChange, flag_name
from console.model.layout_texts import env_names
from console.model.rank_facts import FACTS
from console.services.importing.external_deployment import ExternalRank, same
from console.services.importing.rank_marks import LayoutPosition, as_facts, marked, plain

Pair = tuple[Rank, ExternalRank]
Value = TypeVar("Value")


@dataclass(slots=True)
class _Kept:
    """The written values for each place of a group: equal for all its ranks, or different for each rank."""

    same: dict[int, dict[str, JsonValue]] = field(default_factory=dict)
    left: dict[int, dict[str, JsonValue]] = field(default_factory=dict)


def filled(
    deployment: Deployment, name: str, pairs: Sequence[Pair], seats: Mapping[int, LayoutPosition], warnings: list[str]
) -> Group:
    """The group with the values of its imported ranks that the console does not compute."""
    group = deployment.layout.groups[name]
    rows = [(rank, foreign, _kept_args(deployment, rank, foreign, warnings)) for rank, foreign in pairs]
    args = _sorted_out(deployment, rows, seats, warnings, "flags")
    rows = [(rank, foreign, _kept_env(deployment, rank, foreign, warnings)) for rank, foreign in pairs]
    env = _sorted_out(deployment, rows, seats, warnings, "variables")
    common: dict[str, Mapping[str, JsonValue]] = {}
    changes: dict[int, dict[str, object]] = {
        place: {"port": change.port} for place, change in group.by_node.items() if change.port is not None
    }
    for key, places in (("args", args.same), ("args_from", args.left), ("env", env.same), ("env_from", env.left)):
        common[key], different = _shared(places)
        for place, change in different.items():
            changes.setdefault(place, {})[key] = change
    _lift_servers(group, common, changes)
    by_node = {place: NodeChange.model_validate(changes[place]) for place in sorted(changes)}
    leaks = dict.fromkeys(_leaks(*args.same.values(), *env.same.values()))
    warnings += [f"{name}: {key} holds a placeholder address; replace it by the real one" for key in leaks]
    return group.model_copy(update={**common, "by_node": by_node})


def _lift_servers(
    group: Group, common: dict[str, Mapping[str, JsonValue]], changes: dict[int, dict[str, object]]
) -> None:
    """Write the number of API servers for the whole group: headless engines ignore it."""
    first = changes.get(0, {}).get("args")
    if group.data_parallel.balance != "internal" or not isinstance(first, dict) or "api-server-count" not in first:
        return
    common["args"] = {**common["args"], "api-server-count": first.pop("api-server-count")}
    if not first:
        del changes[0]["args"]
    if not changes[0]:
        del changes[0]


def _sorted_out(
    deployment: Deployment,
    rows: Sequence[tuple[Rank, ExternalRank, Mapping[str, JsonValue]]],
    seats: Mapping[int, LayoutPosition],
    warnings: list[str],
    what: str,
) -> _Kept:
    kept = _Kept()
    places = list(dict.fromkeys(rank.position for rank, _, _ in rows))
    for place in places:
        kept.same[place], kept.left[place] = {}, {}
    for name in dict.fromkeys(name for _, _, own in rows for name in own):
        having = [(rank, foreign, own[name]) for rank, foreign, own in rows if name in own]
        text = _left_to_ranks(deployment, having, seats)
        for place in dict.fromkeys(rank.position for rank, _, _ in having):
            here = [row for row in having if row[0].position == place]
            found = text if text is not None else _left_to_ranks(deployment, here, seats)
            if found is not None:
                kept.left[place][name] = _short(found) if what == "variables" else found
                continue
            values = [plain(value, foreign.facts) for _, foreign, value in here]
            kept.same[place][name] = values[0]
            if any(value != values[0] for value in values):
                group = here[0][0].group
                warnings.append(
                    f"{group}: the engines of node {place} have different {what}; the first one's are taken"
                )
    return kept


def _left_to_ranks(
    deployment: Deployment, rows: Sequence[tuple[Rank, ExternalRank, JsonValue]], seats: Mapping[int, LayoutPosition]
) -> JsonValue:
    """The value with facts that gives each of these ranks its own value; None when there is no such value."""
    if not any(marked(value) for _, _, value in rows):
        return None
    places = {(seat.group, seat.position): seat for seat in seats.values()}
    text = as_facts([(places[rank.group, rank.position], value) for rank, _, value in rows], seats)
    fits = all(rank_value(deployment, rank, text) == plain(value, foreign.facts) for rank, foreign, value in rows)
    return text if fits else None


def _short(text: JsonValue) -> JsonValue:
    """Write a variable that is one fact and nothing else without braces."""
    bare = str(text)[1:-1]
    return bare if bare in FACTS and text == f"{{{bare}}}" else text


def _kept_args(deployment: Deployment, rank: Rank, foreign: ExternalRank, warnings: list[str]) -> dict[str, JsonValue]:
    computed = computed_flags(deployment, rank)
    theirs = {key: (value, foreign.left_args[key]) for key, value in foreign.args.items()}
    if "api-server-count" in computed:
        theirs = _with_server_count(theirs, rank, warnings)
    return {
        key: left
        for key, (value, left) in theirs.items()
        if flag_name(key) not in computed or not same(value, computed[flag_name(key)])
    }


def _with_server_count(
    theirs: Mapping[str, tuple[JsonValue, JsonValue]], rank: Rank, warnings: list[str]
) -> dict[str, tuple[JsonValue, JsonValue]]:
    """The flags of an engine that serves a group over several nodes, with its API server count and without its start rank 0.

    Without the flag for the count, vLLM 0.21 and 0.28 start one API server for each rank of the node when a start rank is given,
    else one for each rank of the group (entrypoints/cli/serve.py).
    """
    start = [key for key, (value, _) in theirs.items() if flag_name(key) == "data-parallel-start-rank" and value == 0]
    kept = {key: value for key, value in theirs.items() if key not in start}
    if start:
        warnings.append(
            f"{rank.group}: --data-parallel-start-rank 0 is left out where it serves: from vLLM 0.28 on it makes this node "
            "serve alone, and the headless nodes do not fit"
        )
    if not any(flag_name(key) == "api-server-count" for key in kept):
        servers = rank.local_size if start else rank.dp_size
        kept["api-server-count"] = (servers, servers)
    return kept


def _kept_env(deployment: Deployment, rank: Rank, foreign: ExternalRank, warnings: list[str]) -> dict[str, JsonValue]:
    computed = serve_command(deployment, rank).env
    kept: dict[str, JsonValue] = {}
    for name, value in foreign.env.items():
        if name in computed and computed[name] != value:
            warnings.append(f"{rank.group}: {name} is computed as {computed[name]}; {value!r} of the file is ignored")
        elif name not in computed and _can_be_exported(name):
            kept[name] = foreign.left_env[name]
        elif name not in computed:
            warnings.append(f"{rank.group}: a shell cannot export a variable called {name!r}; it is left out")
    return kept


def _can_be_exported(name: str) -> bool:
    try:
        env_names({name: ""})
    except ValueError:
        return False
    return name not in SHELL_OWNED


def _leaks(*written: Mapping[str, JsonValue]) -> Iterator[str]:
    """Values with a placeholder address, which must not get into the layout."""
    return (key for each in written for key, value in each.items() if re.search(r"192\.0\.2\.\d", str(value)))


def _shared(by_node: Mapping[int, Mapping[str, Value]]) -> tuple[dict[str, Value], dict[int, dict[str, Value]]]:
    """The values that every node has (the most frequent ones), and for each node its other or different values."""
    first = next(iter(by_node.values()))
    common: dict[str, Value] = {}
    for name in first:
        values = [values[name] for values in by_node.values() if name in values]
        if len(values) == len(by_node):
            usual = Counter(map(repr, values)).most_common(1)[0][0]
            common[name] = next(value for value in values if repr(value) == usual)
    different = {
        place: {key: value for key, value in own.items() if key not in common or common[key] != value}
        for place, own in by_node.items()
    }
    return common, {place: change for place, change in different.items() if change}
