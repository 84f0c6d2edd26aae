"""Limits the disk space of a node's log copies on this machine, so that no node can fill the disk.

The copies of a node may use half of the space that would be free without them. Beyond that the oldest data is removed first:
copies of earlier runs, then the oldest part of a current log except its start and end. The node still has it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Collection
from pathlib import Path

from console.model.errors import ConsoleError
from console.private_files import open_private
from console.services.logs.copies import LogCopy
from console.services.xdg_paths import file_name

SHARE = 0.5
LEAST_BYTES = 256 << 20
"""Minimum space for each node, even on a full disk."""
AT_ONCE_BYTES = 128 << 20
"""Bytes freed at a time, because the file system blocks the event loop meanwhile."""
MOST_FILES = 4096
"""Maximum number of copies of a node, including earlier runs."""
CHECK_BYTES = 16 << 20
"""New bytes of a node after which its disk use is measured again."""


class Quota:
    """Limits the disk use of log copies; knows the files of each node, also from earlier sessions."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files: dict[str, dict[Path, None]] = {}
        self._since: dict[str, int] = {}
        """New bytes of a node since its copies were measured."""
        self._freed: dict[str, tuple[int, int]] = {}
        """Removed bytes of a node, and their number at the last report."""

    def take(self, node: str, copy: LogCopy, count: int, current: Callable[[], Collection[LogCopy]]) -> str:
        """Make room for `count` more bytes in a copy; gives what had to go for it, in words, mostly nothing.

        `current` gives the copies of the node's runs of now. Raises ConsoleError when no room can be made.
        """
        files = self._of(node)
        for path in (copy.path, copy.earlier):
            if path is not None and path not in files:
                files[path] = None
                self._write(node, [path], append=True)
                self._since.setdefault(node, CHECK_BYTES)
        self._since[node] = self._since.get(node, CHECK_BYTES) + count
        if self._since[node] < CHECK_BYTES:
            return ""
        self._since[node] = 0
        used = sum(map(_bytes_on_disk, files))
        limit = self._limit(used)
        if used + count <= limit and len(files) <= MOST_FILES:
            return ""
        freed = self._free(node, files, min(AT_ONCE_BYTES, used + count - limit + CHECK_BYTES), current())
        if not freed and used + count > limit:
            self._since[node] = CHECK_BYTES
            text = f"the log copies of {node} take {_size(used)}, more than their share of this disk ({_size(limit)})"
            raise ConsoleError(f"{text}: no more is copied", hint="free space on this machine; the node has its logs")
        return self._gone(node, freed, limit)

    def _gone(self, node: str, freed: int, limit: int) -> str:
        """That parts had to go, at first and whenever it is twice as much as was told last."""
        gone, told = self._freed.get(node, (0, 0))
        gone += freed
        tell = gone >= 2 * told
        self._freed[node] = gone, gone if tell else told
        text = f"log copies are over their share of this disk ({_size(limit)}): the oldest {_size(gone)} have gone here"
        return text if tell else ""

    def _limit(self, used: int) -> int:
        try:
            free = shutil.disk_usage(self._root if self._root.exists() else self._root.parent).free
        except OSError:
            free = 0
        return max(LEAST_BYTES, int(SHARE * (free + used)))

    def _free(self, node: str, files: dict[Path, None], wanted: int, current: Collection[LogCopy]) -> int:
        """Let the oldest go until so many bytes are free and there are not too many files; gives how many bytes went."""
        kept = {each.path for each in current}
        freed, most = 0, MOST_FILES * 7 // 8
        for path in sorted((each for each in files if each not in kept), key=_changed_at):
            if freed >= wanted and len(files) <= most:
                break
            freed += _bytes_on_disk(path)
            for gone in (path, path.with_suffix(".notes")):
                with contextlib.suppress(OSError):
                    gone.unlink()
            del files[path]
        self._write(node, files, append=False)
        for copy in sorted(current, key=lambda each: -_bytes_on_disk(each.path)):
            if freed >= wanted:
                break
            freed += copy.let_go(wanted - freed)
        return freed

    def _of(self, node: str) -> dict[Path, None]:
        """The noted files of a node."""
        if node not in self._files:
            found: dict[Path, None] = {}
            with contextlib.suppress(OSError):
                lines = self._list(node).read_text(encoding="utf-8", errors="replace").splitlines()
                inside = (each for each in dict.fromkeys(lines) if each and not {"..", "/"} & {*Path(each).parts})
                found = {path: None for path in map(self._root.joinpath, inside) if path.is_file()}
            self._files[node] = found
        return self._files[node]

    def _write(self, node: str, paths: Collection[Path], *, append: bool) -> None:
        """Note files of a node for later sessions; ignores a full disk."""
        lines = "".join(f"{path.relative_to(self._root)}\n" for path in paths)
        with contextlib.suppress(OSError):
            descriptor = open_private(self._list(node), os.O_WRONLY | (os.O_APPEND if append else os.O_TRUNC))
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(lines)

    def _list(self, node: str) -> Path:
        return self._root / ".nodes" / file_name(node)


def _bytes_on_disk(path: Path) -> int:
    try:
        return path.lstat().st_blocks * 512
    except OSError:
        return 0


def _changed_at(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
