"""Computes the payloads of plan steps from a deployment and a snapshot. Runs nothing."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence

from console.commands.container import engine_container
from console.commands.launch_scripts import rank_command
from console.commands.script import cmd_sh
from console.model.deployment import Deployment, Rank
from console.model.image_name import release_named
from console.model.payload import EngineLaunch, EngineStop, EngineStops
from console.model.plan import Act
from console.model.run import RunKey
from console.model.snapshot import EngineSnapshot
from console.services.monitoring.intervals import GRACE_S, KILL_S


def new_run_id(clock: float | None = None) -> str:
    """A run id that sorts by time: UTC to the second, then four random characters."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(clock)) + "-" + secrets.token_hex(2)


def engine_launch(deployment: Deployment, rank: Rank, expected: str | None) -> EngineLaunch:
    """A new run of an engine or of the proxy, with its script. `expected` is the newest run that exists now.

    Raises UsageError for a proxy without engines, for text that cannot be an argument or variable, and without an image.
    """
    command = rank_command(deployment, rank)
    return EngineLaunch(
        key=RunKey(deployment.name, rank.id, new_run_id()),
        rank=rank,
        command=command,
        script=cmd_sh(command, deployment.node(rank.node)),
        expected=expected,
        container=engine_container(deployment, rank),
        release=release_named(deployment.layout),
    )


def run_of(deployment: str, engine: EngineSnapshot) -> RunKey | None:
    """The run of an engine of the snapshot; None when it has none."""
    if engine.run is None:
        return None
    owner, _, name = engine.id.partition("@")[0].rpartition("/")
    return RunKey(owner or deployment, name, engine.run)


def engine_stops(
    deployment: Deployment, ranks: Mapping[str, Rank], act: Act, engines: Sequence[EngineSnapshot]
) -> EngineStops:
    """The runs of these engines, to stop, kill or verify (`act`)."""
    found = []
    for engine in engines:
        key, rank = run_of(deployment.name, engine), ranks.get(engine.id)
        if key is not None and rank is not None:
            found.append(EngineStop(engine.id, key, engine.pid, rank.address, rank.port, rank.devices))
        elif key is not None:
            found.append(EngineStop(engine.id, key, engine.pid))
    return EngineStops(tuple(found), GRACE_S if act == "stop" else 0.0, KILL_S)
