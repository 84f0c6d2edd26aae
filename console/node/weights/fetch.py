"""Copies the weights of one model from a node that serves them, resumes an interrupted copy, and verifies the result.

An incomplete file is named NAME.SIZE-TIME.part after the file of the source, and is resumed while the source is the same. Index
and configuration are removed first and copied last.
"""

from __future__ import annotations

import errno
import http.client
import json
import os
import re
import sys
import threading
import time
import urllib.parse
from typing import BinaryIO, List, Optional, Tuple

from console.node.weights.model import BLOCK, GIB, LAST, PART, TOKEN, Files, Trouble, digest, manifest, say, wanting
from console.node.weights.serve import serve

PATIENCE_S = 180.0
"""Time limit without new data."""
HASH_S = 1800.0
"""Time limit for the source to hash one file."""
AT_ONCE = 4
SAY_EVERY_S = 2.0
NO_ROOM = (errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EFBIG)


class Fetch:
    """The copy of one model to this node."""

    def __init__(self, root: str, host: str, port: int) -> None:
        self.root, self.host, self.port = root, host, port
        self.lock = threading.Lock()
        self.arrived_at = time.monotonic()
        self.have = self.brought = self.total = self.files_done = self.files = 0
        self.problem: Optional[BaseException] = None

    def ask(
        self, path: str, begin: Optional[int] = None
    ) -> Tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """(connection, answer) of one question. Raises OSError, or Trouble when the source refuses."""
        host = "[%s]" % self.host if ":" in self.host else self.host
        patience = HASH_S if path.startswith("/sha256") else 60.0
        line = http.client.HTTPConnection(host, self.port, timeout=patience)
        headers = {"Authorization": "Bearer " + os.environ[TOKEN]}
        if begin is not None:
            headers["Range"] = "bytes=%d-" % begin
        try:
            line.request("GET", path, headers=headers)
            answer = line.getresponse()
        except http.client.HTTPException as problem:
            line.close()
            raise OSError(errno.EIO, str(problem)) from problem
        if answer.status not in (200, 206):
            line.close()
            why = {403: "it is not our source", 404: "it has no such file", 409: "its file has changed"}
            raise Trouble("the source refuses %s: %s" % (path, why.get(answer.status, answer.status)))
        return line, answer

    def text(self, path: str) -> str:
        """The whole answer, asked again while the source is out of reach."""
        while True:
            try:
                line, answer = self.ask(path)
                try:
                    data = answer.read().decode("utf-8")
                finally:
                    line.close()
                self.arrived_at = time.monotonic()
                return data
            except (OSError, http.client.HTTPException) as problem:
                self.wait(problem)

    def wait(self, problem: Exception) -> None:
        """A moment, or Trouble when nothing has come for too long."""
        if time.monotonic() - self.arrived_at > PATIENCE_S:
            raise Trouble("no data from %s: %s; the copied files are kept" % (self.host, problem))
        time.sleep(1.0)

    def run(self) -> str:
        """Everything that is missing or differs; raises Trouble. Gives the last line."""
        files: Files = json.loads(self.text("/manifest"))
        os.makedirs(self.root, exist_ok=True)
        wrong = [name for name in files if name.startswith("/") or ".." in name.split("/")]
        if wrong:
            raise Trouble("the source names a file outside: %r" % wrong[0])
        self.files, self.total = len(files), sum(size for size, _ in files.values())
        say("checking existing files; %d files, %.1f GiB are needed" % (self.files, self.total / GIB))
        todo = [name for name in files if not self.same(name, *files[name])]
        self.forget(files, todo)
        self.room(files, todo)
        for stage in ([each for each in todo if not LAST.search(each)], [each for each in todo if LAST.search(each)]):
            self.bring(sorted(stage), files)
        return self.verified(files)

    def same(self, name: str, size: int, mtime: int) -> bool:
        """Whether the file here is the source's: by size and time, and when only the time differs by its SHA-256."""
        path = os.path.join(self.root, name)
        try:
            facts = os.stat(path)
        except OSError:
            return False
        if facts.st_size != size:
            return False
        if facts.st_mtime_ns != mtime:
            say("comparing %s" % name)
            if digest(path) != self.text("/sha256?" + urllib.parse.quote(name)):
                return False
            os.utime(path, ns=(mtime, mtime))
        self.have += size
        self.files_done += 1
        return True

    def forget(self, files: Files, todo: List[str]) -> None:
        """While anything is missing the model must not look whole: index and configuration go, and come back last."""
        if not todo:
            return
        for name in files:
            path = os.path.join(self.root, name)
            if LAST.search(name) and os.path.exists(path):
                os.unlink(path)
                if name not in todo:
                    todo.append(name)
                    self.have -= files[name][0]
                    self.files_done -= 1

    def room(self, files: Files, todo: List[str]) -> None:
        """Raises Trouble when the disk cannot take it."""
        need = sum(files[name][0] - self.size(self.part(name, files[name])) for name in todo)
        disk = os.statvfs(self.root)
        free = disk.f_bavail * disk.f_frsize
        if need > free:
            raise Trouble("it needs %.1f GiB more, %.1f GiB are free at %s" % (need / GIB, free / GIB, self.root))

    def part(self, name: str, facts: List[int]) -> str:
        """Where a file grows."""
        return os.path.join(self.root, "%s.%d-%d%s" % (name, facts[0], facts[1], PART))

    def size(self, path: str) -> int:
        """Bytes of a file that may not be there."""
        try:
            return os.stat(path).st_size
        except OSError:
            return 0

    def bring(self, names: List[str], files: Files) -> None:
        """Fetch files, some at once."""
        waiting = list(names)

        def work() -> None:
            while self.problem is None:
                with self.lock:
                    if not waiting:
                        return
                    name = waiting.pop(0)
                try:
                    self.one(name, files[name])
                except (Trouble, OSError, ValueError) as problem:
                    self.problem = problem

        threads = [threading.Thread(target=work, daemon=True) for _ in range(min(AT_ONCE, len(waiting)))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.problem is not None:
            raise self.problem

    def one(self, name: str, facts: List[int]) -> None:
        """One file, from where it was left."""
        final, part = os.path.join(self.root, name), self.part(name, facts)
        os.makedirs(os.path.dirname(final) or ".", exist_ok=True)
        self.drop_others(final, part)
        begun = min(self.size(part), facts[0])
        with self.lock:
            self.have += begun
        with open(part, "ab") as file:
            file.truncate(begun)
            while file.tell() < facts[0] or not facts[0]:
                try:
                    self.stream(name, file)
                except (OSError, http.client.HTTPException) as problem:
                    if isinstance(problem, OSError) and problem.errno in NO_ROOM:
                        raise Trouble("%s cannot be written: %s" % (part, problem.strerror)) from problem
                    self.wait(problem)
                    continue
                if not facts[0]:
                    break
            file.flush()
            os.fsync(file.fileno())
        if self.size(part) != facts[0]:
            raise Trouble("%s has %d bytes, not %d" % (part, self.size(part), facts[0]))
        os.utime(part, ns=(facts[1], facts[1]))
        os.replace(part, final)
        with self.lock:
            self.files_done += 1

    def drop_others(self, final: str, part: str) -> None:
        """What is left of a file that the source no longer has."""
        folder, stem = os.path.split(final)
        shape = re.compile(re.escape(stem) + r"\.\d+-\d+" + re.escape(PART) + "$")
        for each in os.listdir(folder or "."):
            if shape.match(each) and each != os.path.basename(part):
                os.unlink(os.path.join(folder, each))

    def stream(self, name: str, file: BinaryIO) -> None:
        """The rest of a file."""
        line, answer = self.ask("/file?" + urllib.parse.quote(name), file.tell())
        try:
            block = memoryview(bytearray(BLOCK))
            while True:
                length = answer.readinto(block)
                if not length:
                    return
                file.write(block[:length])
                with self.lock:
                    self.have += length
                    self.brought += length
                    self.arrived_at = time.monotonic()
        finally:
            line.close()

    def verified(self, files: Files) -> str:
        """Everything once more from the disk: sizes of all files, every shard of the index. Raises Trouble."""
        here = manifest(self.root)
        bad = ["%s differs" % name for name in files if here.get(name, [-1])[0] != files[name][0]]
        bad = bad or wanting(self.root, here)
        if bad:
            raise Trouble("not complete: %s" % "; ".join(bad[:4]))
        more = len(set(here) - set(files))
        rest = "; %d files here that the source does not have" % more if more else ""
        return "complete: %d files, %.1f GiB, sizes and index verified%s" % (len(files), self.total / GIB, rest)

    def progress(self) -> None:
        """`copied 12.3 of 380.1 GiB (3 %), 3 of 64 files, 1.25 GiB/s, 5 min left`, again and again."""
        before, at = self.brought, time.monotonic()
        while True:
            time.sleep(SAY_EVERY_S)
            now = time.monotonic()
            rate = (self.brought - before) / (now - at)
            before, at = self.brought, now
            if not self.total:
                continue
            left = "%.0f min left" % ((self.total - self.have) / rate / 60) if rate else "no data arrives"
            words = (self.have / GIB, self.total / GIB, 100 * self.have // self.total, self.files_done, self.files)
            say("copied %.1f of %.1f GiB (%d %%), %d of %d files" % words + ", %.2f GiB/s, %s" % (rate / GIB, left))


def fetch(root: str, host: str, port: int) -> None:
    """Bring the model here and say how it ended to both sides."""
    work = Fetch(root, host, port)
    threading.Thread(target=work.progress, daemon=True).start()
    try:
        say(work.run())
    finally:
        try:
            line, _ = work.ask("/done")
            line.close()
        except (OSError, Trouble):
            pass


def main(words: List[str]) -> int:
    """`serve ROOT ADDRESS FETCHERS` or `fetch ROOT HOST PORT`."""
    try:
        if words[0] == "serve":
            serve(words[1], words[2], int(words[3]))
        else:
            fetch(words[1], words[2], int(words[3]))
    except (Trouble, OSError) as problem:
        say("failed: %s" % problem)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
