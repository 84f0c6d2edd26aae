"""Any text an operator writes into a layout comes through: YAML, model, command, script, a real bash, the process."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from console.commands.launch_scripts import rank_script, shell_bundle
from console.commands.serve import serve_command
from console.files import layout_text, load_layout, parse_layout
from console.model.layout import Layout
from console.services.exporting.systemd import _words
from console.services.placement import edits
from tests.files.dumper import run_script

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
NASTY = "$(id) `id` ${HOME} \\ ' \" \n\t\r !x * ? [a] ~ ; & | < > # % \x1b[2J \x85 \u2028 \ufeff é 中 😀 - -- ="


def _layout(path: str, served: str, value: str, arg: str, nested: str) -> Layout:
    data = load_layout("a3-mixed").model_dump(mode="json")
    data["model"] = {"path": path, "served_name": served}
    data["env"]["ANY_TEXT"] = value
    data["args"] |= {"any-text": arg, "any-json": {"key": nested, "list": [nested]}, "any-list": ["x", nested]}
    data["title"] = value
    return Layout.model_validate(data)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(TEXT, TEXT, TEXT, TEXT, TEXT)
@example(NASTY, NASTY, NASTY, NASTY, NASTY)
@example("-x", "-x", "-x", "-x", "-x")
@example("", "", "", "", "")
@example("on", "1", "~", "0x1", "2020-01-01")
def test_any_text_in_a_layout_reaches_the_engine_byte_for_byte(
    path: str, served: str, value: str, arg: str, nested: str
) -> None:
    layout = _layout(path, served, value, arg, nested)
    again = parse_layout(layout_text(layout).encode(), "again.yaml")
    assert again.model_copy(update={"source": None}) == layout.model_copy(update={"source": None})
    deployment = edits.example(again)
    rank = deployment.ranks()[0]
    command = serve_command(deployment, rank)
    assert path == command.argv[2]
    assert f"--any-text={arg}" in command.argv or arg in command.argv
    with TemporaryDirectory() as directory:
        for script, words in (
            (rank_script(deployment, rank), ()),
            (shell_bundle(deployment, deployment.ranks()), (rank.id,)),
        ):
            seen = run_script(script, Path(directory), *words)
            assert seen.argv == [word.encode() for word in command.argv]
            assert seen.env[b"ANY_TEXT"] == value.encode()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20), min_size=1, max_size=4))
def test_words_of_a_unit_are_split_as_systemd_does(words: list[str]) -> None:
    line = _words(*words)
    found: list[str] = []
    word, at, quoted = None, 0, False
    while at < len(line):
        char = line[at]
        if char == '"':
            quoted, word = not quoted, word or ""
        elif char == " " and not quoted:
            found += [word] if word is not None else []
            word = None
        elif char == "\\":
            at += 1
            word = (word or "") + {"n": "\n"}.get(line[at], line[at])
        elif char in "%$" and line[at + 1 : at + 2] == char:
            at += 1
            word = (word or "") + char
        else:
            word = (word or "") + char
        at += 1
    assert found + ([word] if word is not None else []) == words
