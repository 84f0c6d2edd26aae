"""A parser that accepts options and operands in any order, and keeps the words after `--` unparsed."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any


class RestParser(argparse.ArgumentParser):
    """Works as its base class until `rest` is set."""

    rest = ""
    """The attribute of the namespace that gets the words after `--`."""
    _inside = False

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse the arguments; with `rest`, operands and options may be mixed."""
        if not self.rest or self._inside or args is None:
            return super().parse_known_args(args, namespace)
        words = list(args)
        at = words.index("--") if "--" in words else len(words)
        self._inside = True
        try:
            found: Any = self.parse_known_intermixed_args(words[:at], namespace)
        finally:
            self._inside = False
        setattr(found[0], self.rest, words[at + 1 :])
        return found[0], found[1]
