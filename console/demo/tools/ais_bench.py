"""`ais_bench` of a demo node."""

from __future__ import annotations

import sys

from console.demo import aisbench
from console.demo.tools.demo_node import this_node


def main() -> int:
    """Run as the program."""
    return aisbench.main(sys.argv[1:], this_node())


if __name__ == "__main__":
    sys.exit(main())
