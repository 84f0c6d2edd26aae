"""How long a layout of 64 nodes and 512 ranks takes to load, plan, render and lint: `python -m tests.bench.bench_layouts`."""

from __future__ import annotations

import time
from collections.abc import Callable

from console.commands.launch_scripts import rank_script
from console.commands.serve import serve_command
from console.files import layout_text, load_layout, parse_layout
from console.rules import check
from console.services.placement.edits import example, resize

ROUNDS = 5


def _best(work: Callable[[], object]) -> float:
    """Milliseconds of the fastest of a few rounds."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times) * 1000


def main() -> None:
    """Print one line per step: milliseconds, and the ratio to loading the file."""
    made = example(load_layout("a3-pd"))
    made = resize(resize(made, "prefill", nodes=32, per_node=8, tensor_parallel=2), "decode", nodes=32)
    text = layout_text(made.layout).encode()
    layout = parse_layout(text, "big.yaml")
    deployment = example(layout)
    ranks = deployment.ranks()
    print(f"{len(deployment.cluster.nodes)} nodes, {len(ranks)} ranks, {len(check(deployment))} findings")
    steps: dict[str, Callable[[], object]] = {
        "load": lambda: parse_layout(text, "big.yaml"),
        "ranks": deployment.ranks,
        "commands": lambda: [serve_command(deployment, rank) for rank in ranks],
        "scripts": lambda: [rank_script(deployment, rank) for rank in ranks],
        "lint": lambda: check(deployment),
    }
    load = _best(steps["load"])
    for name, work in steps.items():
        took = _best(work)
        print(f"{name:9} {took:8.2f} ms  {took / load:6.2f} × loading")


if __name__ == "__main__":
    main()
