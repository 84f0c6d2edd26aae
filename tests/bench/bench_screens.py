"""How fast and how quiet the screens are, in a real pseudo-terminal: `python -m tests.bench.bench_screens [NAME…]`.

Each line says what was measured, the figure, and the bar it is held to. Nothing here is a test: the machine decides.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from console.probes.access_log import ALWAYS, polls_from
from screens.logs.file import LogFile
from screens.logs.merge import Merge
from screens.logs.merge_member import MergeMember
from screens.logs.patterns import LineFilter, pattern, prepared
from screens.logs.window import Window
from screens.styled_lines import plain
from screens.themes import LOOKS
from tests.screens.terminal import Terminal

BUSY = "tests.screens.busy"
KIB = 1024
MIB = 1024 * KIB
WATCHED_S = 12.0
_GROUND = LOOKS["dark"].style("cursor").bgcolor
assert _GROUND is not None
CURSOR = _GROUND.get_truecolor().hex.removeprefix("#")
"""The ground of the cursor's row."""


def say(what: str, figure: str, bar: str) -> None:
    """One line of the report."""
    print(f"{what:58} {figure:>16}   bar: {bar}", flush=True)


def _rate(*words: str) -> float:
    with Terminal.of_module(BUSY, *words, size=(120, 40)) as terminal:
        terminal.sees("RW", 60)
        terminal.pump(3.0)
        begun = time.monotonic()
        start = terminal.total
        while time.monotonic() - begun < WATCHED_S:
            terminal.pump(0.2)
        return (terminal.total - start) / (time.monotonic() - begun)


def bytes_on_the_wire() -> None:
    """Bytes to the terminal, 64 nodes reporting each second, 120×40."""
    say("idle grid, 64 nodes at 1 Hz", f"{_rate() / KIB:.2f} KiB/s", "1 KiB/s")
    say("grid and one busy log (1000 lines/s)", f"{_rate('--lines-per-s', '1000') / KIB:.2f} KiB/s", "20 KiB/s")
    say(
        "the same with --low-bandwidth",
        f"{_rate('--lines-per-s', '1000', '--low-bandwidth') / KIB:.2f} KiB/s",
        "3 KiB/s",
    )


BARE = """
from textual.app import App
from textual.widgets import Static
class Bare(App):
    CSS = "Static { background: #000000; } .on { background: #7fb4ff; }"
    def compose(self):
        yield Static("RW")
        for row in range(4):
            yield Static("row", classes="on" if not row else "")
    def on_key(self, event):
        rows = list(self.query(Static))[1:]
        now = next(index for index, row in enumerate(rows) if row.has_class("on"))
        rows[now].remove_class("on")
        rows[max(0, min(3, now + (1 if event.key == "j" else -1)))].add_class("on")
Bare().run(mouse=False)
"""
"""What the machine makes of a key when there is nothing but Textual."""


def latency() -> None:
    """Time from a key to the first changed byte while 16 engines write 50 000 lines a second, one log shown, then all merged."""
    busy = [sys.executable, "-m", BUSY, "--nodes", "4", "--lines-per-s", "50000", "--writers", "16"]
    bare = _latency(Terminal([sys.executable, "-c", BARE], size=(120, 40)), "")
    _say_latency("key to screen, a bare Textual app", bare, bare)
    _say_latency("key to screen, 50 000 lines/s from 16 engines", _latency(Terminal(busy, size=(120, 40)), ""), bare)
    _say_latency("the same with the logs merged", _latency(Terminal(busy, size=(120, 40)), "GM\t"), bare)


def _say_latency(what: str, times: list[float], bare: list[float]) -> None:
    p99 = _p99(times)
    figure = f"p50 {1000 * statistics.median(times):.0f} p99 {1000 * p99:.0f} ms = {p99 / _p99(bare):.1f} x"
    say(what, figure, "p99 50 ms, on a machine that has nothing else to do")


def _p99(times: list[float]) -> float:
    return sorted(times)[int(len(times) * 0.99) - 1]


def _latency(opened: Terminal, keys: str) -> list[float]:
    with opened as terminal:
        terminal.sees("RW", 60)
        terminal.pump(3.0)
        for key in keys:
            terminal.send(key)
            terminal.pump(0.5)
        times = []
        moves = "jjjkkk" if _cursor_row(terminal) == _first_row(terminal) else "kkkjjj"
        for number in range(200):
            terminal.pump(0.13)
            cursor = _cursor_row(terminal)
            begun = time.monotonic()
            terminal.send(moves[number % 6])
            while _cursor_row(terminal) == cursor and time.monotonic() - begun < 2:
                terminal.pump(0.001)
            assert _cursor_row(terminal) != cursor, f"no key moves the cursor at row {cursor}"
            times.append(time.monotonic() - begun)
    return times


def _cursor_row(terminal: Terminal) -> int:
    """The row with the ground of the cursor's row, -1 without one."""
    return next((y for y in range(1, terminal.screen.lines) if terminal.screen.buffer[y][1].bg == CURSOR), -1)


def _first_row(terminal: Terminal) -> int:
    """The first row that a cursor can be in: below the heading of the grid, or of the line at the top."""
    return 1 + next((y for y, line in enumerate(terminal.screen.display) if line.split()[:1] == ["NODE"]), 0)


def _big(directory: Path, lines: int) -> Path:
    path = directory / "big.log"
    with path.open("wb") as file:
        for start in range(0, lines, 10_000):
            file.write(
                b"".join(
                    b"(EngineCore_DP0 pid=4242) INFO 11-24 10:15:00 [core.py:123] request %09d took %05d ms and %s %s\n"
                    % (number, number % 7919, b"x" * 150, b"ERROR seen" if number % 1000 == 0 else b"and was well")
                    for number in range(start, start + 10_000)
                )
            )
    return path


def _timed(what: Callable[[], object]) -> float:
    begun = time.perf_counter()
    what()
    return time.perf_counter() - begun


def _with_polls(directory: Path, path: Path) -> Path:
    """The log with a line of polling behind each fourth line."""
    mixed = directory / "polled.log"
    with path.open("rb") as lines, mixed.open("wb") as file:
        for number, line in enumerate(lines):
            file.write(line)
            if number % 4 == 0:
                file.write(
                    b'(APIServer pid=42) INFO:     10.0.0.1:%d - "GET /metrics HTTP/1.1" 200 OK\n' % (number % 60_000)
                )
    return mixed


def _grep(words: str, path: Path, *more: str) -> None:
    command = ["grep", "-c", "-E", *(["-i"] if words == words.lower() else []), *more, words, str(path)]
    subprocess.run(command, capture_output=True, check=True, env={**os.environ, "LC_ALL": "C.UTF-8"})


def logs() -> None:
    """Opening and filtering a log of a million lines, against `grep -c` in the same run."""
    with tempfile.TemporaryDirectory() as place:
        path = _big(Path(place), 1_000_000)
        _logs(path, LineFilter())
        polls = polls_from("10.0.0.1")
        _logs(_with_polls(Path(place), path), LineFilter((), (prepared("polls", polls, ALWAYS),)))


def _logs(path: Path, hidden: LineFilter) -> None:
    """The same of one log, in which some lines are hidden."""
    size = path.stat().st_size
    window = Window(LogFile(path))
    window.filter(LineFilter(), hidden=(hidden,))

    def open_it() -> None:
        window.resize(120, 40)
        window.grow(size)
        assert "request 000999999" in plain(window.rows()[-1])

    opened = _timed(open_it)
    say(f"open a log of {size / MIB:.0f} MiB at its end", f"{1000 * opened:.1f} ms", "200 ms")
    counted = _timed(lambda: all(iter(window.work, False)))
    say("number its lines (in the background)", f"{counted:.2f} s", "-")
    for words in ("ERROR seen", "error seen", "request .*42 took", "INFO", "ERROR|WARNING|Traceback"):
        grep, ours = [], []
        for _ in range(3):
            grep.append(_timed(partial(_grep, words, path)))
            window.filter(LineFilter())
            window.filter(LineFilter((pattern(words),)))
            ours.append(_timed(lambda: all(iter(window.work, False))))
        assert window.kept is not None
        say(
            f"filter it for {words!r} ({window.kept.total()} lines)",
            f"{min(ours):.2f} s = {min(ours) / min(grep):.1f} x",
            "4 x grep -c",
        )


def merging() -> None:
    """Lines of 16 logs that are merged and folded in a second of the processor's time, from the start on and from the end up."""
    with tempfile.TemporaryDirectory() as place:
        members = []
        for rank in range(16):
            path = Path(place) / f"rank-{rank}.log"
            line = (
                b"(EngineCore_DP%d pid=%d) INFO 11-24 10:%02d:%02d [core.py:123] request %09d of rank %d was well %s\n"
            )
            path.write_bytes(
                b"".join(
                    line % (rank, 4000 + rank, at // 1200, at // 20 % 60, at, rank if at % 3 else 0, b"x" * 80)
                    for at in range(5000)
                )
            )
            file = LogFile(path)
            file.grow(path.stat().st_size)
            members.append(MergeMember(f"decode-{rank}", file))
        for what, begin, take in (("down", _at_top, Merge.down), ("up", Merge.begin_at_end, Merge.up)):
            figures = []
            for _ in range(3):
                merge = Merge(members)
                begin(merge)
                begun = time.process_time()
                for _ in range(20):
                    take(merge, 1000)
                lines = sum(len(entry.spots) for entry in merge.entries)
                figures.append(lines / (time.process_time() - begun))
            say(f"lines of 16 logs merged {what}", f"{max(figures) / 1000:.0f} k/s", "70 k/s down, 50 k/s up")


def _at_top(merge: Merge) -> None:
    merge.begin([0] * len(merge.members))


def memory() -> None:
    """Growth of the process over ten million lines that are followed, counted and filtered."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "log"
        window = Window(LogFile(path))
        window.resize(120, 40)
        window.filter(LineFilter((pattern("step"),)))
        block = b"".join(b"(EngineCore_DP0 pid=77) INFO step %06d is done\n" % number for number in range(10_000))
        figures = []
        with path.open("ab", buffering=0) as file:
            for million in range(10):
                for _ in range(100):
                    file.write(block)
                    window.grow(path.stat().st_size)
                    while window.work():
                        pass
                    window.rows()
                figures.append(_resident())
                if million == 0:
                    first = figures[0]
        say("memory from 1 to 10 million lines", f"{100 * (figures[-1] / first - 1):+.1f} %", "5 %")
        say("largest memory of the process", f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB:.0f} MiB", "-")


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE")


_BARE = (
    "from textual.app import App\nfrom textual.widgets import Static\n"
    "class A(App):\n def compose(self): yield Static('? Help')\nA().run(mouse=False)"
)
_CLUSTER = "name: lab\nnodes:\n" + "".join(
    f"  {name}: {{host: 127.0.0.1, port: 9}}\n" for name in ("p0", "p1", "d0", "d1")
)


def start_up() -> None:
    """From the shell to the first frame, and to the cluster's rows in it, against a bare Textual app: the best of nine each."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "cluster.yaml"
        file.write_text(_CLUSTER)
        ours = [sys.executable, "-m", "console", "--cluster", str(file), "--layout", "a3-pd"]
        cases: list[tuple[list[str], bytes, list[float]]] = [
            ([sys.executable, "-c", _BARE], b"? Help", []),
            (ours, b"Help", []),
            (ours, b" nodes", []),
        ]
        for _ in range(9):
            for argv, words, times in cases:
                begun = time.monotonic()
                environment = {"XDG_STATE_HOME": place, "PYTHONDONTWRITEBYTECODE": ""}
                with Terminal(argv, environment=environment) as terminal:
                    while words not in terminal.received:
                        terminal.pump(0.002)
                    times.append(time.monotonic() - begun)
    bare, *ours_took = (min(times) for _, _, times in cases)
    for what, took in zip(("first frame", "the cluster's rows"), ours_took, strict=True):
        say(f"start to {what}", f"{1000 * took:.0f} ms = {took / bare:.2f} x", "1.3 x a bare Textual app (first frame)")


BENCHES = {
    "wire": bytes_on_the_wire,
    "latency": latency,
    "logs": logs,
    "merge": merging,
    "memory": memory,
    "start": start_up,
}


def main() -> None:
    """Run those named, or all."""
    for name in sys.argv[1:] or BENCHES:
        BENCHES[name]()


if __name__ == "__main__":
    main()
