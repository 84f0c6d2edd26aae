"""The bare command: opens the screen on a cluster."""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from console.cli.options import (
    add_cluster_options,
    assignment_of,
    cluster_of,
    fitting,
    layout_of,
    read_only_of,
    remember_layout,
)
from console.cli.printer import print_message
from console.model.errors import UsageError
from console.services.xdg_paths import config_home

if TYPE_CHECKING:
    from console.model.deployment import Assignment
    from console.services.recordings.recording import Recorder
    from console.services.session import Session
    from screens.key_map import Keys
    from screens.startup import Startup

THEMES = ("dark", "light", "contrast", "blind", "mono")
"""The names of `screens.themes.LOOKS`, which only Textual can load; a test holds them equal."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the bare command."""
    add_cluster_options(parser, several=True)
    add_look_options(parser)
    group = parser.add_argument_group("recordings")
    group.add_argument(
        "--record", type=Path, metavar="FILE", help="record what the screen shows, masked and compressed"
    )
    group.add_argument(
        "--replay", type=Path, metavar="FILE", help="show a recording again, read-only, instead of a cluster"
    )
    parser.set_defaults(run=run)


def add_look_options(parser: argparse.ArgumentParser) -> None:
    """How the screen looks and how much it sends."""
    group = parser.add_argument_group("appearance")
    group.add_argument("--theme", choices=THEMES, default=THEMES[0], help="colour theme; NO_COLOR turns colours off")
    group.add_argument("--ascii", action="store_true", help="draw with ASCII only")
    group.add_argument("--mouse", action="store_true", help="take the mouse (F2 switches it)")
    group.add_argument("--low-bandwidth", action="store_true", help="redraw logs once a second")
    group.add_argument("--no-hints", action="store_true", help="do not show the lines for first-time users")


def looks(args: argparse.Namespace) -> dict[str, object]:
    """The look options as the screen takes them, and how it reads the operator's own keys behind its first frame."""
    look = {"theme": args.theme, "ascii": args.ascii, "mouse": args.mouse, "low_bandwidth": args.low_bandwidth}
    look["hints"] = not args.no_hints
    return {**look, "more_keys": own_keys}


def own_keys() -> Keys:
    """The table's keys with the changes of `keys.yaml` in the configuration directory. Raises FileError for a wrong one."""
    from screens.key_map import Keys

    path = config_home() / "keys.yaml"
    if not path.exists():
        return Keys()
    from console.files import load_keys

    return Keys(load_keys(path))


def run(args: argparse.Namespace) -> int:
    """Open the screen; returns when the operator leaves. Raises UsageError where there is no terminal."""
    must_be_terminal()
    gc.disable()  # little is garbage before the first frame, and looking for it costs a tenth of that time
    from screens.app import options_from, run_app

    options = options_from(dict(os.environ), **looks(args))
    if args.replay is not None:
        return run_app(_replay(args), options)
    with _recorder(args) as recorder:
        return run_app(_opening(args, recorder), options)


def must_be_terminal() -> None:
    """Raises UsageError where keys could not be read or nothing be drawn; Textual would wait there for ever."""
    for stream, name in ((sys.__stdin__, "stdin"), (sys.__stderr__, "stderr, on which the screen is drawn,")):
        if stream is None or not stream.isatty():
            hint = "in a script use status, start, logs …; over ssh give -t"
            raise UsageError(f"the screen needs a terminal, and {name} is none", hint=hint)
    kind = os.environ.get("TERM", "")
    if kind in ("", "dumb", "unknown"):
        hint = "set TERM to what the terminal is, for example xterm-256color; in an editor's shell use status, start, logs …"
        raise UsageError(f"the screen cannot be drawn on TERM={kind or '(not set)'}", hint=hint)


def _opening(args: argparse.Namespace, recorder: Recorder | None) -> Startup:
    from screens.startup import Startup

    each = tuple(one_by_one(args))
    words = f"reading {', '.join(str(one.cluster or 'the cluster file') for one in each)}"
    needs = ("console.files", "console.services.session")

    opened: dict[str, Session] = {}

    def again(held: Mapping[str, Assignment], layouts: Mapping[str, str]) -> list[Session]:
        sessions = [_session(one, held, layouts) for one in each]
        for session in sessions:
            if (before := opened.get(session.cluster.name)) is not None:
                session.alerts.go_on(before.alerts)
        opened.update({session.cluster.name: session for session in sessions})
        if recorder is not None:
            _record(recorder, sessions[0])
        return sessions

    return Startup(words, lambda: again({}, {}), needs, again)


def _replay(args: argparse.Namespace) -> Startup:
    from screens.startup import Startup

    if args.record or args.cluster:
        raise UsageError("--replay shows a recording and nothing else", hint="leave --cluster and --record away")

    def make() -> list[Session]:
        from console.services.recordings.recording import Recording
        from console.services.recordings.replay import Replay

        return [Replay(Recording(args.replay))]

    return Startup(f"reading {args.replay}", make, ("console.services.recordings.replay",))


@contextlib.contextmanager
def _recorder(args: argparse.Namespace) -> Iterator[Recorder | None]:
    """The recorder that was asked for; says at the end what it has, or why it stopped."""
    if args.record is None:
        yield None
        return
    if len(args.cluster or ()) > 1:
        raise UsageError("--record with several clusters", hint="record each by a console of its own")
    from console.services.recordings.recording import Recorder

    recorder = Recorder(args.record)
    try:
        yield recorder
    finally:
        recorder.close()
        why = f", then stopped: {recorder.problem}" if recorder.problem else ""
        print_message(f"{recorder.pictures} snapshots recorded to {recorder.path}{why}")


def one_by_one(args: argparse.Namespace) -> Iterator[argparse.Namespace]:
    """The options of each cluster by itself. Raises UsageError for options that would mean more than one of them."""
    files: list[Path | None] = list(args.cluster or [None])
    layouts: list[str | None] = list(args.layout or [None])
    if len(layouts) == 1:
        layouts *= len(files)
    if len(layouts) != len(files):
        raise UsageError(
            f"{len(layouts)} layouts for {len(files)} clusters",
            hint="give --layout once for all, or once for each --cluster",
        )
    if len(files) > 1 and args.assign:
        raise UsageError("--assign with several clusters", hint="give roles on the screen, or with `assign` for each")
    if len(files) > 1 and args.write:
        raise UsageError("--write with several clusters", hint="open the production cluster alone to change it")
    for file, layout in zip(files, layouts, strict=True):
        yield argparse.Namespace(**{**vars(args), "cluster": file, "layout": layout})


def _record(recorder: Recorder, session: Session) -> None:
    session.subscribe(lambda picture: recorder.take(picture, session.deployment))


def _session(args: argparse.Namespace, held: Mapping[str, Assignment], layouts: Mapping[str, str]) -> Session:
    """The cluster of these options.

    Which node runs which group, and which layout is meant, by cluster where it was open already.
    """
    from console.files import load_layout
    from console.services.session import Session

    cluster = cluster_of(args)
    named = layouts.get(cluster.name)
    layout = layout_of(args, cluster, look=True) if named is None else load_layout(named)
    remember_layout(cluster, layout)
    read_only = read_only_of(args, cluster)
    now = held.get(cluster.name)
    assignment = assignment_of(args, cluster, layout) if now is None else fitting(now, cluster, layout)
    return Session(cluster, layout, assignment, read_only=read_only, restarts=True, alerts=True)
