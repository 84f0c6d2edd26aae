"""Keys of a YAML text changed in place: what was not meant stays as it was written, comments and all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from console.files import read_document, shipped_text
from console.files.yaml_editing import Edit, edited
from console.model.errors import FileError

TEXT = """# head
name: mine   # a name
env:
  A: 1       # why A
  B: 2

args:
  max-num-seqs: 4    # small
  additional-config: {enable_cpu_binding: true, enable_dsa_cp: true}
  speculative-config:
    # only one
    num_speculative_tokens: 1
    method: mtp      # of the model
  chat-template: |
    one
    two
  empty:
groups: {mixed: {port: 1}}
# tail
"""


@pytest.mark.parametrize(
    ("edit", "gone", "came"),
    [
        (Edit(("name",), "other"), "name: mine   # a name", "name: other   # a name"),
        (Edit(("args", "max-num-seqs"), 8), "max-num-seqs: 4 ", "max-num-seqs: 8 "),
        (Edit(("env", "C"), "x"), "  B: 2\n", "  B: 2\n  C: x\n"),
        (
            Edit(("env", "A"), remove=True, note="gone in v2"),
            "  A: 1       # why A\n",
            "  # A: 1       # why A   # gone in v2\n",
        ),
        (Edit(("args", "additional-config", "enable_dsa_cp"), remove=True), ", enable_dsa_cp: true}", "}"),
        (Edit(("args", "additional-config", "enable_cpu_binding"), remove=True), "{enable_cpu_binding: true, ", "{"),
        (Edit(("args", "additional-config", "level"), 2), "enable_dsa_cp: true}", "enable_dsa_cp: true, level: 2}"),
        (
            Edit(("args", "additional-config", "scheduler_config", "enabled"), True),
            "enable_dsa_cp: true}",
            "enable_dsa_cp: true, scheduler_config: {enabled: true}}",
        ),
        (
            Edit(("args", "speculative-config"), {"method": "dspark"}),
            "  speculative-config:\n    # only one\n    num_speculative_tokens: 1\n    method: mtp      # of the model\n",
            "  speculative-config: {method: dspark}      # of the model\n",
        ),
        (
            Edit(("args", "chat-template"), remove=True),
            "  chat-template: |\n    one\n    two\n",
            "  # chat-template: |\n  #   one\n  #   two\n",
        ),
        (Edit(("args", "empty"), 1), "  empty:\n", "  empty: 1\n"),
        (Edit(("groups", "mixed", "args"), {"a": [1, "2"]}), "{port: 1}", "{port: 1, args: {a: [1, '2']}}"),
        (
            Edit(("version",), "v0.25.1rc1"),
            "groups: {mixed: {port: 1}}\n",
            "groups: {mixed: {port: 1}}\nversion: v0.25.1rc1\n",
        ),
        (Edit(("args", "absent"), remove=True), "", ""),
    ],
)
def test_one_change_leaves_the_rest_as_it_was(edit: Edit, gone: str, came: str) -> None:
    assert gone in TEXT
    assert edited(TEXT, [edit]) == (TEXT.replace(gone, came, 1), True)


def test_the_last_key_of_a_mapping_takes_the_mapping_with_it() -> None:
    text = "name: mine\nenv:\n  A: 1\nargs: {x: {y: 1}}\n"
    found, kept = edited(text, [Edit(("env", "A"), remove=True), Edit(("args", "x", "y"), remove=True, note="gone")])
    assert kept
    assert found == "name: mine\n# env:\n#   A: 1\n# args: {x: {y: 1}}   # gone\n"


def test_what_cannot_be_changed_in_place_is_written_anew_with_the_right_content() -> None:
    text = "base: &base {a: 1}   # shared\none: *base\ntwo: {<<: *base, b: 2}\n"
    found, kept = edited(text, [Edit(("one", "a"), 5)])
    assert not kept
    assert read_document(found.encode(), "x").value == {"base": {"a": 1}, "one": {"a": 5}, "two": {"a": 1, "b": 2}}


def test_a_text_that_is_no_yaml_is_refused() -> None:
    with pytest.raises(FileError):
        edited("a: [", [Edit(("a",), 1)])


def paths(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield (*path, key)
            yield from paths(each, (*path, key))


@pytest.mark.parametrize("name", ["a2-mixed", "a3-pd"])
def test_keys_of_shipped_layouts_can_be_changed_and_removed_in_place(name: str) -> None:
    text = shipped_text(name)
    comments = text.count("#")
    for path in list(paths(read_document(text.encode(), name).value))[::2]:
        assert edited(text, [Edit(path, {"new": ["x"]})])[1], path
        without, kept = edited(text, [Edit(path, remove=True)])
        assert kept, path
        assert without.count("#") >= comments
        added, kept = edited(text, [Edit((*path[:-1], "added"), "one")])
        assert kept, path
        assert added.count("#") == comments
