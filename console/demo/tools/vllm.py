"""`vllm` of a demo node: `serve`, `--version`, and `bench serve`."""

from __future__ import annotations

import sys

from console.demo import vllm_bench
from console.demo.engine.flags import USAGE
from console.demo.engine.serve_process import serve
from console.demo.release import VLLM


def main() -> int:
    """Run as the program."""
    words = sys.argv[1:]
    if words[:1] == ["serve"]:
        return serve(words[1:])
    if words[:2] == ["bench", "serve"]:
        return vllm_bench.main(words[2:])
    if words[:1] in (["-v"], ["--version"]):
        sys.stdout.write(f"{VLLM}\n")
        return 0
    sys.stderr.write(f"{USAGE}vllm: error: invalid choice: {words[:1]}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
