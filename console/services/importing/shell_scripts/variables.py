"""The variables of one shell, and what a function hides of them while it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from console.services.importing.shell_scripts.syntax import Command
from console.services.importing.shell_scripts.unknowns import is_open

Value = str | list[str] | dict[str, str]


@dataclass(slots=True)
class Variables:
    """What a shell knows: variables, which of them it exports, functions, and its arguments."""

    values: dict[str, Value] = field(default_factory=dict)
    exported: set[str] = field(default_factory=set)
    functions: dict[str, Command] = field(default_factory=dict)
    arguments: Sequence[str] = ()
    in_function: bool = False
    """Its arguments are those of a function: none of them is left open."""
    name: str = ""
    """`$0`."""
    hidden: list[dict[str, tuple[Value | None, bool]]] = field(default_factory=list)
    """For each function that runs now: what its own variables hide, and whether that was exported."""

    @property
    def separators(self) -> str | None:
        """`IFS`; None while it is the shell's own."""
        signs = self.values.get("IFS")
        return signs if isinstance(signs, str) and not is_open(signs) else None

    def hide(self, name: str) -> bool:
        """Make a variable the own one of the function that runs now, whose end brings the old one back; False when it is."""
        if not self.hidden or name in self.hidden[-1]:
            return False
        self.hidden[-1][name] = (self.values.get(name), name in self.exported)
        return True

    def restore(self, before: Mapping[str, tuple[Value | None, bool]]) -> None:
        """Give variables the values that they had, and export those that were exported."""
        for name, (value, exported) in before.items():
            if value is None:
                self.values.pop(name, None)
            else:
                self.values[name] = value
            (self.exported.add if exported else self.exported.discard)(name)

    def copy(self) -> Variables:
        """For a shell of its own."""
        return Variables(
            {name: value.copy() if not isinstance(value, str) else value for name, value in self.values.items()},
            set(self.exported),
            dict(self.functions),
            self.arguments,
            self.in_function,
            self.name,
        )

    def environment(self) -> dict[str, str]:
        """What a command gets."""
        values = self.values
        return {name: value for name in values if name in self.exported and isinstance(value := values[name], str)}
