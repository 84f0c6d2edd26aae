"""Compares the settings of a run with the settings that the deployment plans now. Ignores unknown values; secrets stay masked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

from console.commands.launch_scripts import rank_command
from console.commands.masking import masked_argv, masked_env
from console.model.deployment import Command, Deployment, Rank
from console.model.errors import ConsoleError
from console.model.image_name import release_named
from console.model.run import RunKey
from console.model.snapshot import EngineSnapshot

_NAMED = ("--port", "--tensor-parallel-size", "--data-parallel-rank", "--data-parallel-start-rank")
"""Flags whose difference has a text of its own."""
_DEVICES = "ASCEND_RT_VISIBLE_DEVICES"
_LONGEST = 60
"""Cells of a value; a longer value is cut at its end."""


class DriftCache:
    """The drift of all runs, computed once per deployment, because snapshots are built four times a second."""

    def __init__(self) -> None:
        self._of: Deployment | None = None
        self._planned: dict[str, Command | None] = {}
        self._found: dict[RunKey, tuple[Mapping[str, object], tuple[str, ...]]] = {}

    def of(self, deployment: Deployment, rank: Rank, key: RunKey, spec: Mapping[str, object]) -> tuple[str, ...]:
        """One line for each setting that a restart of this run would change."""
        if deployment is not self._of:
            self._of, self._planned, self._found = deployment, {}, {}
        held = self._found.get(key)
        if held is None or held[0] != spec:
            lines = drift(spec, rank, self._command(deployment, rank), release_named(deployment.layout))
            held = self._found[key] = (spec, lines)
        return held[1]

    def _command(self, deployment: Deployment, rank: Rank) -> Command | None:
        if rank.id not in self._planned:
            try:
                command = rank_command(deployment, rank)
                planned = Command(masked_env(command.env), masked_argv(command.argv))
            except ConsoleError:
                planned = None
            self._planned[rank.id] = planned
        return self._planned[rank.id]


def group_by_drift(engines: Iterable[EngineSnapshot]) -> Mapping[tuple[str, ...], list[str]]:
    """Drift -> ids of the live engines with exactly this drift, because ranks of a group usually have the same."""
    found: dict[tuple[str, ...], list[str]] = {}
    for each in engines:
        if each.drift and each.state.alive:
            found.setdefault(each.drift, []).append(each.id)
    return found


def drift(spec: Mapping[str, object], rank: Rank, planned: Command | None, release: str = "") -> tuple[str, ...]:
    """One line for each difference. `spec` was recorded at the launch; `planned` is the current masked command.

    `release` is the release of the layout; it is compared only when the launch recorded one.
    """
    was = spec.get("release")
    other = (f"release {was}, planned {release}",) if was and release and was != release else ()
    return (*other, *_differences(spec, rank, planned))


def _differences(spec: Mapping[str, object], rank: Rank, planned: Command | None) -> Iterator[str]:
    argv, env = _text_tuple(spec.get("argv")), spec.get("env")
    devices = spec.get("devices")
    port = spec.get("port", rank.port)
    if isinstance(devices, list | tuple) and rank.devices and tuple(devices) != rank.devices:
        yield f"devices {_devices_text(devices)}, planned {_devices_text(rank.devices)}"
    if port != rank.port:
        yield f"port {port if port is not None else 'none'}, planned {rank.port or 'none'}"
    if planned is None:
        return
    was, will = _flags(argv or ()), _flags(planned.argv)
    tp, wanted = was.get("--tensor-parallel-size"), will.get("--tensor-parallel-size")
    if tp and wanted and tp != wanted:
        yield f"TP {tp}, planned {wanted}"
    if isinstance(spec.get("dp_rank"), int) and spec["dp_rank"] != rank.dp_rank:
        yield f"rank {spec['dp_rank']}, planned {rank.dp_rank}"
    if argv:
        yield from _changes({**was, **dict.fromkeys(_NAMED)}, {**will, **dict.fromkeys(_NAMED)})
    if isinstance(env, Mapping):
        known = {str(name): str(value) for name, value in env.items()}
        yield from _changes({**known, _DEVICES: None}, {**planned.env, _DEVICES: None})


def _changes(was: Mapping[str, str | None], will: Mapping[str, str | None]) -> Iterator[str]:
    for name in dict.fromkeys((*was, *will)):
        if name not in will:
            yield f"{_value_text(name, was[name])}, planned without"
        elif name not in was:
            yield f"no {name}, planned {_value_text('', will[name])}"
        elif was[name] != will[name]:
            yield from _change(name, was[name] or "", will[name] or "")


def _change(name: str, was: str, will: str) -> Iterator[str]:
    """For JSON only the keys that differ, because a whole configuration hides the change."""
    one, other = _json(was), _json(will)
    if one is None or other is None:
        yield f"{_value_text(name, was)}, planned {_value_text('', will)}"
    elif one != other:
        flat = [{key: json.dumps(value) for key, value in each.items()} for each in (one, other)]
        yield from (f"{name} {line}" for line in _changes(*flat))


def _json(text: str) -> dict[str, object] | None:
    if not text.startswith("{"):
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _value_text(name: str, value: str | None) -> str:
    text = value or "set"
    cut = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
    return f"{name} {cut}".strip()


def _text_tuple(argv: object) -> tuple[str, ...] | None:
    return tuple(str(word) for word in argv) if isinstance(argv, list | tuple) else None


def _flags(words: Sequence[str]) -> dict[str, str]:
    """Flag → its values, joined by blanks; the model is `model`, the program is left out."""
    found: dict[str, str] = {}
    name = "model"
    for at, word in enumerate(words):
        if word.startswith("--") and len(word) > 2:
            name, _, value = word.partition("=")
            found[name] = value
        elif found or at > 1:
            found[name] = f"{found[name]} {word}" if found.get(name) else word
    return found


def _devices_text(devices: Sequence[object]) -> str:
    if not devices:
        return "none"
    numbers = [each for each in devices if isinstance(each, int)]
    if len(numbers) > 2 and numbers == list(range(numbers[0], numbers[0] + len(devices))):
        return f"{numbers[0]}-{numbers[-1]}"
    return ",".join(str(each) for each in devices)
