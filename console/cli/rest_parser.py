"""A command's parser that takes its options and operands in any order, and hands on the words behind `--` as they are."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any


class RestParser(argparse.ArgumentParser):
    """Works as its base class until `rest` names what takes the words behind `--`."""

    rest = ""
    """The attribute of the namespace for those words."""
    _inside = False

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse; with `rest`, words and options may be mixed."""
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
