"""`python load_balance_proxy_server_example.py …` of a demo node; the wrapper `python` leads here."""

from __future__ import annotations

import sys

from console.demo import proxy
from console.demo.tools.demo_node import this_node


def main() -> int:
    """Run as the program; the first word is the script."""
    return proxy.main(sys.argv[1], sys.argv[2:], this_node())


if __name__ == "__main__":
    sys.exit(main())
