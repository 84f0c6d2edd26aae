"""Manages the file of an editable layout: the operator's own file, or a copy of a shipped layout."""

from __future__ import annotations

from pathlib import Path

from console.files import is_shipped, save_text, shipped_text
from console.model.layout import Layout
from console.services.xdg_paths import config_home, file_name


def layout_argument(layout: Layout) -> str:
    """The value of `--layout` that selects this layout: the name of a shipped one, else its file."""
    if layout.source is None or is_shipped(layout):
        return layout.name
    return str(Path(layout.source.path).absolute())


def own_file(layout: Layout) -> Path | None:
    """The operator's file of the layout; None for a shipped layout."""
    return None if layout.source is None or is_shipped(layout) else Path(layout.source.path)


def copy_path(cluster: str, layout: str, directory: Path | None = None) -> Path:
    """The path of a cluster's copy of a shipped layout; `directory` replaces the configuration's `layouts`."""
    return (directory or config_home() / "layouts") / file_name(cluster) / f"{file_name(layout)}.yaml"


def copy_shipped(name: str, path: Path) -> bool:
    """Write a copy of a shipped layout unless it exists. Gives whether it was written. Raises ConsoleError."""
    if path.exists():
        return False
    save_text(path, shipped_text(name))
    return True


def remove_unchanged_copy(name: str, path: Path) -> bool:
    """Remove an unchanged copy of a shipped layout. Gives whether it was removed."""
    try:
        unchanged = path.read_bytes() == shipped_text(name).encode()
    except OSError:
        return False
    if unchanged:
        path.unlink(missing_ok=True)
    return unchanged
