"""The keys of each action: the default keys, or those of `keys.yaml`. Also writes the table for the documents.

Reading a keys file is the command line's job: here comes a mapping of action id to keys, as Textual names them.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field

from console.model.suggestions import did_you_mean, suggestions
from screens.actions import ACTIONS, BY_ID, PLACES, Action, Place, key_word

GUARDED = frozenset({"y", "n", "enter", "escape", "delete", "backspace", "ctrl+d", "ctrl+k", "ctrl+c"})
"""Keys that confirm, cancel or slip: nothing that can end in a change on a node may sit on them."""

_BY_METHOD = ("fullwidth", "ideographic", "left_black", "right_black", "left_double", "right_double")
"""How the names of keys start that only an input method makes."""
_CHARACTERS = (*range(0x21, 0x7F), *range(0x2010, 0x2040), *range(0x3000, 0x3040), *range(0xFF01, 0xFF5F))
"""ASCII, and what input methods make of it."""
_NO_KEY = "no-key"
"""A key that no terminal sends: Textual takes an empty word for no change."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of every action; an empty tuple takes an action's keys away, it stays reachable by help and command line."""

    changed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def of(self, action: Action) -> tuple[str, ...]:
        """The keys of an action."""
        return self.changed.get(action.id, action.keys)

    def word(self, action: Action) -> str:
        """The first key as written for people; empty when it has none."""
        keys = self.of(action)
        return key_word(keys[0]) if keys else ""

    def words(self, action: Action) -> str:
        """All keys as written for people, without the full-width aliases."""
        return " ".join(key_word(key) for key in self.of(action) if not key.startswith(_BY_METHOD))

    def keymap(self) -> dict[str, str]:
        """For Textual: binding id to keys."""
        return {name: ",".join(keys) or _NO_KEY for name, keys in self.changed.items()}

    def problems(self) -> tuple[str, ...]:
        """What is wrong with the changes: unknown actions, keys that mean two things, keys that must stay harmless."""
        found = [_unknown(name) for name in self.changed if name not in BY_ID]
        found += [
            f"{name}: there is no key {key!r}" for name, keys in self.changed.items() for key in keys if not is_key(key)
        ]
        for name, keys in self.changed.items():
            if name in BY_ID and BY_ID[name].danger:
                found += [f"{name}: {key_word(key)} may not start an action" for key in keys if key in GUARDED]
        clashes: dict[str, list[str]] = {}
        for place in PLACES:
            for words in self._clashes(place):
                clashes.setdefault(words, []).append(PLACES[place].lower())
        everywhere = PLACES["everywhere"].lower()
        found += [
            f"{words} ({everywhere if everywhere in places else ', '.join(places)})"
            for words, places in clashes.items()
        ]
        return tuple(dict.fromkeys(found))

    def _clashes(self, place: Place) -> list[str]:
        held: dict[str, str] = {}
        found = []
        for action in ACTIONS:
            if place not in action.where and "everywhere" not in action.where:
                continue
            for key in self.of(action):
                if key in held:
                    found.append(f"{key_word(key)} is both {held[key]} and {action.id}")
                held.setdefault(key, action.id)
        return found


def is_key(name: str) -> bool:
    """Whether a terminal can send a key of this name: `x`, `f9`, `ctrl+s`, `question_mark`."""
    from textual.keys import KEY_NAME_REPLACEMENTS
    from textual.keys import Keys as Named

    *modifiers, base = name.split("+") if len(name) > 1 else [name]
    if not {*modifiers} <= {"ctrl", "shift", "alt", "super", "hyper", "meta"}:
        return False
    if len(base) == 1 or base in {str(each.value) for each in Named}:
        return True
    written = {unicodedata.name(chr(code), "").lower().replace("-", "_").replace(" ", "_") for code in _CHARACTERS}
    return base in {KEY_NAME_REPLACEMENTS.get(each, each) for each in written}


def _unknown(name: str) -> str:
    near = suggestions(name, BY_ID)[:1]
    return f"no action {name!r}" + (f"; {did_you_mean(near)}" if near else "")


def rows(keys: Keys | None = None) -> list[tuple[str, str, str, str, str]]:
    """Place, keys, id, label and help of every action, for `keys` and for documents."""
    chosen = keys or Keys()
    return [
        (PLACES[place], chosen.words(action), action.id, action.label, action.help)
        for place in PLACES
        for action in ACTIONS
        if action.where[0] == place
    ]


def markdown(keys: Keys | None = None) -> str:
    """The table of the README."""
    lines = ["| where | keys | action | what it does |", "|---|---|---|---|"]
    for place, words, name, _label, text in rows(keys):
        cells = " ".join(f"`{word}`" for word in words.split())
        lines.append(f"| {place} | {cells.replace('|', '&#124;')} | {name} | {text.replace('|', '&#124;')} |")
    return "\n".join(lines) + "\n"
