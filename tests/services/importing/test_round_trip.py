"""What `export` writes of a layout, `import` reads back as the same deployment: rank by rank, flag by flag, the proxy too."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.commands.serve import proxy_command, serve_command
from console.files import layout_text, load_layout, parse_layout, shipped_layouts
from console.model.deployment import Deployment
from console.services.exporting import FORMATS
from console.services.importing import Imported, build, read_files
from console.services.placement.edits import example
from tests.files.words import flags


@pytest.mark.parametrize("name", sorted(shipped_layouts()))
@pytest.mark.parametrize("form", ["lws", "sh"])
def test_an_exported_layout_comes_back(name: str, form: str, tmp_path: Path) -> None:
    layout = load_layout(name)
    paths = []
    for file in FORMATS[form](example(layout)):
        path = tmp_path / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.text)
        if form == "lws" or path.name in ("cmd.sh", "start-proxy.sh"):
            paths.append(path)
    imported = build(read_files(paths, hardware=layout.hardware.name))
    again = example(parse_layout(layout_text(imported.layout).encode(), "again.yaml").shaped())
    _equal(example(layout.shaped()), again)
    _nothing_but_the_computed_is_said(imported, form)


def _equal(one: Deployment, other: Deployment) -> None:
    ours, theirs = one.ranks(), other.ranks()
    assert [(rank.role, rank.position, rank.local_rank) for rank in ours] == [
        (rank.role, rank.position, rank.local_rank) for rank in theirs
    ]
    for mine, its in zip(ours, theirs, strict=True):
        first, second = serve_command(one, mine), serve_command(other, its)
        assert flags(first.argv) == flags(second.argv)
        assert dict(first.env) == dict(second.env)
    first_proxy, second_proxy = proxy_command(one), proxy_command(other)
    assert (first_proxy and first_proxy.argv) == (second_proxy and second_proxy.argv)


def _nothing_but_the_computed_is_said(imported: Imported, form: str) -> None:
    quiet = "of the pod, not carried over" if form == "lws" else "computed for each node"
    assert [each for each in imported.warnings if quiet not in each and " devices of a node" not in each] == []
