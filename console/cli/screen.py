"""`dsv4-console` without a command: opens the screen on one or more clusters."""

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
from console.model.counting import counted
from console.model.errors import UsageError
from console.services.xdg_paths import config_home

if TYPE_CHECKING:
    from console.model.deployment import Assignment
    from console.services.recordings.recording import Recorder
    from console.services.session import Session
    from screens.key_map import Keys
    from screens.startup import Startup

THEMES = ("dark", "light", "contrast", "blind", "mono")
"""The names of `screens.themes.LOOKS`, which cannot be imported here without Textual; a test compares the two."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that `dsv4-console` takes without a command."""
    add_cluster_options(parser, several=True)
    add_appearance_options(parser)
    group = parser.add_argument_group("recordings")
    group.add_argument(
        "--record", type=Path, metavar="FILE", help="record what the screen shows, compressed and without secrets"
    )
    group.add_argument("--replay", type=Path, metavar="FILE", help="show a recording instead of a cluster, read-only")
    parser.set_defaults(run=run)


def add_appearance_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for the look of the screen and for how much it sends."""
    group = parser.add_argument_group("appearance")
    group.add_argument("--theme", choices=THEMES, default=THEMES[0], help="colour theme; NO_COLOR turns colours off")
    group.add_argument("--ascii", action="store_true", help="draw with ASCII only")
    group.add_argument("--mouse", action="store_true", help="react to the mouse (F2 switches it on and off)")
    group.add_argument("--low-bandwidth", action="store_true", help="redraw logs every 1.7 s instead of every 0.25 s")
    group.add_argument("--no-hints", action="store_true", help="hide the hints for first-time users")


def appearance(args: argparse.Namespace) -> dict[str, object]:
    """The appearance options as the screen expects them, and the function that reads `keys.yaml` after the first frame."""
    look = {"theme": args.theme, "ascii": args.ascii, "mouse": args.mouse, "low_bandwidth": args.low_bandwidth}
    look["hints"] = not args.no_hints
    return {**look, "more_keys": own_keys}


def own_keys() -> Keys:
    """The default keys with the changes of `keys.yaml` in the configuration directory. Raises FileError for a wrong file."""
    from screens.key_map import Keys

    path = config_home() / "keys.yaml"
    if not path.exists():
        return Keys()
    from console.files import load_keys

    return Keys(load_keys(path))


def run(args: argparse.Namespace) -> int:
    """Open the screen; returns when the operator quits. Raises UsageError when there is no terminal."""
    must_be_terminal()
    gc.disable()  # hardly any garbage arises before the first frame, and a collection takes a tenth of that time
    from screens.app import run_app
    from screens.options import options_from

    options = options_from(dict(os.environ), **appearance(args))
    if args.replay is not None:
        return run_app(_replay(args), options)
    with _recorder(args) as recorder:
        return run_app(_opening(args, recorder), options)


def must_be_terminal() -> None:
    """Raises UsageError when stdin or stderr is not a terminal, because Textual would wait for ever."""
    for stream, name in ((sys.__stdin__, "stdin"), (sys.__stderr__, "stderr, on which the screen is drawn,")):
        if stream is None or not stream.isatty():
            hint = "in a script use status, start, logs …; over ssh add the option -t"
            raise UsageError(f"the screen needs a terminal, and {name} is not a terminal", hint=hint)
    kind = os.environ.get("TERM", "")
    if kind in ("", "dumb", "unknown"):
        hint = "set TERM to the type of the terminal, for example xterm-256color; in an editor's shell use status, start, logs …"
        raise UsageError(f"the screen cannot be drawn with TERM={kind or '(not set)'}", hint=hint)


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
                session.alerts.continue_from(before.alerts)
        opened.update({session.cluster.name: session for session in sessions})
        if recorder is not None:
            _record(recorder, sessions[0])
        return sessions

    return Startup(words, lambda: again({}, {}), needs, again)


def _replay(args: argparse.Namespace) -> Startup:
    from screens.startup import Startup

    if args.record or args.cluster:
        raise UsageError("--replay cannot be combined with --cluster or --record", hint="give --replay alone")

    def make() -> list[Session]:
        from console.services.recordings.recording import Recording
        from console.services.recordings.replay import Replay

        return [Replay(Recording(args.replay))]

    return Startup(f"reading {args.replay}", make, ("console.services.recordings.replay",))


@contextlib.contextmanager
def _recorder(args: argparse.Namespace) -> Iterator[Recorder | None]:
    """The recorder of `--record`, or None. Prints at the end what was recorded, or why the recording stopped."""
    if args.record is None:
        yield None
        return
    if len(args.cluster or ()) > 1:
        raise UsageError("--record works with one cluster only", hint="open a separate console for each cluster")
    from console.services.recordings.recording import Recorder

    recorder = Recorder(args.record)
    try:
        yield recorder
    finally:
        recorder.close()
        why = f", then stopped: {recorder.problem}" if recorder.problem else ""
        print_message(f"{counted(recorder.snapshots, 'snapshot')} recorded to {recorder.path}{why}")


def one_by_one(args: argparse.Namespace) -> Iterator[argparse.Namespace]:
    """The options of each cluster on its own. Raises UsageError for options that work with one cluster only."""
    files: list[Path | None] = list(args.cluster or [None])
    layouts: list[str | None] = list(args.layout or [None])
    if len(layouts) == 1:
        layouts *= len(files)
    if len(layouts) != len(files):
        raise UsageError(
            f"{len(layouts)} layouts for {len(files)} clusters",
            hint="give --layout once, or once for each --cluster",
        )
    if len(files) > 1 and args.assign:
        raise UsageError(
            "--assign works with one cluster only", hint="assign nodes on the screen, or run `assign` for each cluster"
        )
    if len(files) > 1 and args.write:
        raise UsageError("--write works with one cluster only", hint="open the production cluster alone to change it")
    for file, layout in zip(files, layouts, strict=True):
        yield argparse.Namespace(**{**vars(args), "cluster": file, "layout": layout})


def _record(recorder: Recorder, session: Session) -> None:
    session.subscribe(lambda snapshot: recorder.record(snapshot, session.deployment))


def _session(args: argparse.Namespace, held: Mapping[str, Assignment], layouts: Mapping[str, str]) -> Session:
    """The session of one cluster. `held` and `layouts` give the assignment and the layout of clusters that are open already."""
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
