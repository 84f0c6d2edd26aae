"""The file of a layout an operator may change: their own, or a copy of a shipped one. What is in a layout is not its job."""

from __future__ import annotations

from pathlib import Path

from console.files import is_shipped, save_text, shipped_text
from console.model.layout import Layout
from console.services.xdg_paths import config_home, file_name


def named(layout: Layout) -> str:
    """What `--layout` would say to read it again: the name of a shipped one, else its file."""
    if layout.source is None or is_shipped(layout):
        return layout.name
    return str(Path(layout.source.path).absolute())


def own_file(layout: Layout) -> Path | None:
    """The operator's file it was read from; None for a shipped one."""
    return None if layout.source is None or is_shipped(layout) else Path(layout.source.path)


def copy_place(cluster: str, layout: str, directory: Path | None = None) -> Path:
    """Where a cluster's copy of a shipped layout goes; `directory` replaces the configuration's `layouts`."""
    return (directory or config_home() / "layouts") / file_name(cluster) / f"{file_name(layout)}.yaml"


def copied(name: str, path: Path) -> bool:
    """Write a copy of a shipped layout unless one is there; gives whether it was written. Raises ConsoleError."""
    if path.exists():
        return False
    save_text(path, shipped_text(name))
    return True


def dropped(name: str, path: Path) -> bool:
    """Remove a copy that is still what is shipped; gives whether it was. One that was changed is its owner's and stays."""
    try:
        unchanged = path.read_bytes() == shipped_text(name).encode()
    except OSError:
        return False
    if unchanged:
        path.unlink(missing_ok=True)
    return unchanged
