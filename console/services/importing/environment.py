"""Expands variables in values of compose files and Kubernetes manifests: `${X:-default}`, `$(X)`. Ignores this machine's
environment."""

from __future__ import annotations

import re
from collections.abc import Mapping

from console.services.importing.shell_scripts import Unknown, Unknowns

_COMPOSE = re.compile(r"\$\$|\$\{([A-Za-z_]\w*)(?:(:?[-+?])((?:[^{}]|\{[^{}]*\})*))?\}|\$([A-Za-z_]\w*)")
_MANIFEST = re.compile(r"\$\$|\$\(([A-Za-z_][\w.-]*)\)")


def interpolated(text: str, known: Mapping[str, str], unknowns: Unknowns, file: str, line: int) -> str:
    """A compose value with its variables put in; one that nothing sets is open. `$$` is a `$` for the command itself."""

    def put(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        name, operator, other = found[1] or found[4], found[2] or "", found[3] or ""
        value = known.get(name)
        value = unknowns.given(name) if value is None else value
        there = value is not None and (value != "" or ":" not in operator)
        if operator.endswith("+"):
            return interpolated(other, known, unknowns, file, line) if there else ""
        if there:
            return value or ""
        if operator.endswith("-"):
            return interpolated(other, known, unknowns, file, line)
        return unknowns.mark(Unknown(file, line, f"${name}", name))

    return _COMPOSE.sub(put, text)


def substituted(text: str, known: Mapping[str, str]) -> str:
    """A value of a manifest with `$(NAME)` put in where the name is known, as Kubernetes does; others stay as they are."""
    return _MANIFEST.sub(lambda found: "$" if found[0] == "$$" else known.get(found[1], found[0]), text)
