"""The program that carries weights, as a bare interpreter runs it: whole, resumed, refused, and last what makes it look whole."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from console.commands.weights import TOKEN, program
from console.node.weights import fetch as fetching
from console.node.weights.fetch import Fetch
from console.node.weights.model import Trouble, manifest, wanting
from console.node.weights.serve import Give, Source

NAMES = [f"model-{number:05}-of-00003.safetensors" for number in (1, 2, 3)]
SIZE = 300_000


def write_model(folder: Path) -> Path:
    """Random shards, an index, a configuration, and a tokenizer that is a link, as a hub's cache has it."""
    folder.mkdir(parents=True)
    content = random.Random(7)
    for name in NAMES:
        (folder / name).write_bytes(content.randbytes(SIZE))
    index = {"weight_map": {f"layers.{number}.weight": name for number, name in enumerate(NAMES)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text('{"model_type": "deepseek_v4"}')
    (folder.parent / "blob").write_text("{}")
    (folder / "tokenizer.json").symlink_to(folder.parent / "blob")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "junk").write_text("not part of it")
    return folder


def part_of(source: Path, name: str) -> str:
    facts = (source / name).stat()
    return f"{name}.{facts.st_size}-{facts.st_mtime_ns}.part"


@contextlib.contextmanager
def served(folder: Path, fetchers: int = 1) -> Iterator[int]:
    """The program serving that folder; gives its port."""
    words = [sys.executable, "-I", "-S", "-u", "-c", program(), "serve", str(folder), "127.0.0.1", str(fetchers)]
    child = subprocess.Popen(words, env={**os.environ, TOKEN: "secret"}, stdout=subprocess.PIPE, text=True)
    assert child.stdout
    try:
        child.stdout.readline()
        yield int(child.stdout.readline().split()[1])
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def fetched(folder: Path, port: int, token: str = "secret") -> tuple[int, str]:
    """Exit code and last line of a fetch into that folder."""
    words = [sys.executable, "-I", "-S", "-u", "-", "fetch", str(folder), "127.0.0.1", str(port)]
    env = {**os.environ, TOKEN: token}
    done = subprocess.run(words, input=program(), capture_output=True, text=True, env=env, timeout=60, check=False)
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout.splitlines()[-1]


def same(one: Path, other: Path) -> bool:
    return {name: (one / name).read_bytes() for name in manifest(str(one))} == {
        name: (other / name).read_bytes() for name in manifest(str(other))
    }


def test_a_model_arrives_whole_and_what_is_there_is_not_brought_again(tmp_path: Path) -> None:
    source, target = write_model(tmp_path / "a" / "model"), tmp_path / "b" / "model"
    with served(source, fetchers=2) as port:
        assert fetched(target, port) == (0, "complete: 6 files, 0.0 GiB, sizes and index verified")
        assert same(source, target)
        assert not (target / ".cache").exists()
        before = {path.name: path.stat().st_ino for path in target.iterdir()}
        os.utime(target / NAMES[1])  # another time alone is no other file: its hash decides
        assert fetched(target, port)[0] == 0
        assert {path.name: path.stat().st_ino for path in target.iterdir()} == before


def test_a_cut_copy_goes_on_where_it_was_and_one_of_another_file_is_thrown_away(tmp_path: Path) -> None:
    source, target = write_model(tmp_path / "a" / "model"), tmp_path / "b" / "model"
    target.mkdir(parents=True)
    shard = (source / NAMES[0]).read_bytes()
    half = target / part_of(source, NAMES[0])
    half.write_bytes(shard[: SIZE // 2])
    inode = half.stat().st_ino
    (target / f"{NAMES[1]}.{SIZE}-1.part").write_bytes(b"of an older file")
    (target / NAMES[2]).write_bytes(b"x" * SIZE)
    with served(source) as port:
        assert fetched(target, port)[0] == 0
    assert same(source, target)
    assert (target / NAMES[0]).stat().st_ino == inode, "the half that was there was kept"
    assert not list(target.glob("*.part"))


def test_while_a_shard_is_missing_neither_index_nor_configuration_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = write_model(tmp_path / "a" / "model"), tmp_path / "b" / "model"
    with served(source, fetchers=2) as port:
        assert fetched(target, port)[0] == 0
        (target / NAMES[1]).unlink()
        monkeypatch.setenv(TOKEN, "secret")
        work = Fetch(str(target), "127.0.0.1", port)
        files = json.loads(work.text("/manifest"))
        work.forget(files, [NAMES[1]])
        assert wanting(str(target), manifest(str(target))) == ["config.json is missing"]
        assert fetched(target, port)[0] == 0
    assert wanting(str(target), manifest(str(target))) == []


def test_a_source_that_is_not_whole_is_not_copied(tmp_path: Path) -> None:
    source = write_model(tmp_path / "a" / "model")
    (source / NAMES[2]).unlink()
    (source / f"{NAMES[2]}.incomplete").write_bytes(b"half")
    words = [sys.executable, "-c", program(), "serve", str(source), "127.0.0.1", "1"]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, TOKEN: "s"}, check=False)
    assert (done.returncode, f"{NAMES[2]} is missing" in done.stdout) == (1, True)


def test_without_the_secret_nothing_is_given(tmp_path: Path) -> None:
    source = write_model(tmp_path / "a" / "model")
    with served(source) as port:
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/manifest", timeout=10)
        code, last = fetched(tmp_path / "b", port, token="other")
        assert (code, "it is not our source" in last) == (1, True)
        for name in ("/file?../blob", "/file?.cache/junk", "/nonsense?x"):
            asked = urllib.request.Request(f"http://127.0.0.1:{port}{name}", headers={"Authorization": "Bearer secret"})
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(asked, timeout=10)


class Cutting(Give):
    """Sends half of every first answer and cuts the line."""

    seen: ClassVar[set[str]] = set()

    def _file(self, path: str, known: list[int]) -> None:
        if path in self.seen or not path.endswith(".safetensors"):
            super()._file(path, known)
            return
        self.seen.add(path)
        self.send_response(206)
        self.send_header("Content-Length", str(known[0]))
        self.end_headers()
        self.wfile.write(Path(path).read_bytes()[: known[0] // 2])
        self.close_connection = True


def test_a_line_that_is_cut_is_dialled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = write_model(tmp_path / "a" / "model"), tmp_path / "b" / "model"
    monkeypatch.setenv(TOKEN, "secret")
    Cutting.seen.clear()
    with Source(str(source), "127.0.0.1", "secret", 1) as server:
        server.RequestHandlerClass = Cutting
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        work = Fetch(str(target), "127.0.0.1", server.server_address[1])
        assert work.run().startswith("complete")
        assert len(Cutting.seen) == 3
        assert work.brought == sum(size for size, _ in server.files.values()), "no byte came twice"
        server.left = 0
        thread.join()
    assert same(source, target)


def test_a_source_that_is_gone_ends_it_and_what_is_here_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN, "secret")
    monkeypatch.setattr(fetching, "PATIENCE_S", 0.0)
    with pytest.raises(Trouble, match="the copied files are kept"):
        Fetch(str(tmp_path / "b"), "127.0.0.1", 1).run()


def test_a_disk_that_cannot_take_it_is_told_before_the_first_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = write_model(tmp_path / "a" / "model"), tmp_path / "b" / "model"
    monkeypatch.setenv(TOKEN, "secret")
    real = os.statvfs(tmp_path)
    full = os.statvfs_result((real[0], real[1], real[2], 0, 0, *real[5:]))
    monkeypatch.setattr(os, "statvfs", lambda path: full)
    with served(source) as port, pytest.raises(Trouble, match=r"needs .* GiB more, 0.0 GiB are free"):
        Fetch(str(target), "127.0.0.1", port).run()
    assert not list(target.iterdir())


def test_the_program_is_one_text_without_imports_of_ours() -> None:
    text = program()
    assert not re.search(r"^(from|import) console", text, re.MULTILINE)
    compile(text, "program", "exec")
