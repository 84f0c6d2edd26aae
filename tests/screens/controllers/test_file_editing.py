"""Editing the layout and the cluster file from the screen: which file is opened where, what is read again, what stays."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from console.files import load_layout, shipped_text
from console.model.deployment import Assignment
from console.model.errors import ConsoleError
from console.model.snapshot import Diagnosis
from console.services.placement.layout_files import copy_path
from screens.app import ConsoleApp
from screens.external_programs import editor_command
from screens.options import Options
from screens.startup import Startup
from tests.screens.fakes import NOW, FakeSession, cluster
from tests.screens.seen import SMALL, Clock, Seen
from tests.waiting import until

MINE = shipped_text("a3-pd")
CAUSE = Diagnosis(
    "C1", "fatal", "HBM is full", "", "Lower gpu-memory-utilization.", "", "decode-3", "d0", "", NOW, True,
    first=True, where="decode in mine.yaml: gpu-memory-utilization 0.9 (line 69)", where_file="layout", where_line=69,
)  # fmt: skip


class Files:
    """A session on a layout file, and an editor that does what a test says."""

    def __init__(self, place: Path, layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.place = place
        self.mine = place / "mine.yaml"
        self.mine.write_text(MINE, encoding="utf-8")
        self.session = self._made(layout)
        (place / "lab.yaml").write_text("name: lab\n", encoding="utf-8")
        self.opened: list[list[str]] = []
        self.read: list[Mapping[str, str]] = []
        self.wrong: ConsoleError | None = None
        self.typing: Callable[[str], str] = lambda text: text
        monkeypatch.setattr("screens.external_programs.run_away", self._edit)
        monkeypatch.setenv("VISUAL", "")
        monkeypatch.setenv("EDITOR", "true")

    def _made(self, layout: str) -> FakeSession:
        session = FakeSession(self.place)
        session.read_from(load_layout(layout).source, self.place / "lab.yaml")
        return session

    async def _edit(self, _app: object, words: Sequence[str], _more: object) -> int:
        self.opened.append([*words])
        path = Path(words[-1])
        path.write_text(self.typing(path.read_text(encoding="utf-8")), encoding="utf-8")
        return 0

    def again(self, _held: Mapping[str, Assignment], layouts: Mapping[str, str]) -> Sequence[FakeSession]:
        """What the console reads."""
        self.read.append(dict(layouts))
        if self.wrong is not None:
            raise self.wrong
        return [self._made(layouts["lab"])]

    @property
    def copy(self) -> Path:
        """Where the copy of the shipped layout goes."""
        return copy_path("lab", "a3-pd", self.place / "copies")


@asynccontextmanager
async def opened(files: Files) -> AsyncIterator[Seen]:
    """The app on these files."""
    clock = Clock(1.0)
    opening = Startup("", lambda: [files.session], again=files.again, copies=files.place / "copies")
    app = ConsoleApp(opening, Options(), clock=clock)
    async with app.run_test(size=SMALL) as pilot:
        await until(lambda: files.session.opened)
        yield Seen(app, pilot, files.session, clock)


async def test_an_own_layout_is_opened_where_it_is_and_read_again_once_it_was_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = Files(tmp_path, str(tmp_path / "mine.yaml"), monkeypatch)
    async with opened(files) as seen:
        await seen.press("ctrl+e")
        await seen.sees(lambda: "nothing was changed in mine.yaml" in seen.toasts())
        assert files.read == []
        files.typing = lambda text: text.replace("0.9\n", "0.85\n")
        await seen.press("ctrl+e")
        await seen.sees(lambda: files.read == [{"lab": str(files.mine)}])
        assert files.opened == [["true", str(files.mine)]] * 2
        await seen.sees(lambda: "7 shows what differs" in seen.toasts())


async def test_a_mistake_in_it_is_told_with_the_key_that_opens_it_again_and_the_old_one_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = Files(tmp_path, str(tmp_path / "mine.yaml"), monkeypatch)
    async with opened(files) as seen:
        files.typing = lambda text: text + "oops: 1\n"
        files.wrong = ConsoleError("mine.yaml:79: oops: unknown key", hint="did you mean groups?")
        await seen.press("ctrl+e")
        await seen.sees("mine.yaml:79: oops")
        await seen.sees("ctrl-e opens the file")
        assert seen.app.fleet.session is files.session
        assert not files.session.closed


async def test_a_shipped_layout_is_copied_after_a_yes_and_the_copy_is_what_is_meant_from_then_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = Files(tmp_path, "a3-pd", monkeypatch)
    async with opened(files) as seen:
        await seen.press("ctrl+e")
        await seen.sees("a3-pd is shipped and stays as it is. Edit a copy?")
        await seen.press("enter")
        await seen.press("ctrl+e")
        await seen.sees("Edit a copy?")
        assert not files.copy.exists()
        await seen.press("y")
        await seen.sees(lambda: "nothing was changed in a3-pd.yaml" in seen.toasts())
        assert not files.copy.exists(), "a copy nobody changed would shadow the shipped one for nothing"
        assert files.read == []
        files.typing = lambda text: text.replace("0.9\n", "0.85\n")
        await seen.press("ctrl+e")
        await seen.sees("Edit a copy?")
        await seen.press("y")
        await seen.sees(lambda: files.read == [{"lab": str(files.copy)}])
        assert files.copy.read_text(encoding="utf-8") == MINE.replace("0.9\n", "0.85\n")
        assert stat.S_IMODE(files.copy.stat().st_mode) == 0o600


async def test_what_was_typed_into_a_copy_stays_though_the_way_back_from_the_editor_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = Files(tmp_path, "a3-pd", monkeypatch)

    async def lost(_app: object, words: Sequence[str], _more: object) -> int:
        Path(words[-1]).write_text(MINE + "# an hour of work\n", encoding="utf-8")
        raise ConsoleError("the terminal is gone")

    monkeypatch.setattr("screens.external_programs.run_away", lost)
    async with opened(files) as seen:
        await seen.press("ctrl+e")
        await seen.sees("Edit a copy?")
        await seen.press("y")
        await seen.sees("the terminal is gone")
        assert files.copy.read_text(encoding="utf-8").endswith("# an hour of work\n")
        assert files.read == []


async def test_a_copy_that_is_there_is_never_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = Files(tmp_path, "a3-pd", monkeypatch)
    files.copy.parent.mkdir(parents=True)
    files.copy.write_text(MINE + "# mine\n", encoding="utf-8")
    async with opened(files) as seen:
        await seen.press("ctrl+e")
        await seen.sees("a3-pd has a copy that you made. Edit and use it?")
        await seen.press("y")
        await seen.sees(lambda: files.read == [{"lab": str(files.copy)}])
        assert files.copy.read_text(encoding="utf-8") == MINE + "# mine\n"


async def test_from_a_cause_its_file_is_opened_at_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = Files(tmp_path, str(tmp_path / "mine.yaml"), monkeypatch)
    monkeypatch.setenv("EDITOR", "vi")
    monkeypatch.setattr("shutil.which", lambda name: name)
    async with opened(files) as seen:
        for cause in (CAUSE, replace(CAUSE, where_file="cluster", where_line=4)):
            files.session.snapshot = replace(files.session.snapshot, diagnoses=(cause,))
            seen.app.main.draw()
            await seen.press("6")
            await seen.sees("ctrl-e opens the file")
            await seen.press("ctrl+e")
        both = [["vi", "+69", str(files.mine)], ["vi", "+4", str(tmp_path / "lab.yaml")]]
        await seen.sees(lambda: files.opened == both)


async def test_the_cluster_file_is_opened_by_name_and_other_words_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = Files(tmp_path, str(tmp_path / "mine.yaml"), monkeypatch)
    files.typing = lambda text: text + "tags: [x]\n"
    async with opened(files) as seen:
        await seen.press("colon")
        await seen.type("edit nodes")
        await seen.press("enter")
        await seen.sees(lambda: "write :edit layout or :edit cluster" in seen.toasts())
        await seen.press("colon")
        await seen.type("edit cluster")
        await seen.press("enter")
        await seen.sees(lambda: files.opened == [["true", str(tmp_path / "lab.yaml")]] and len(files.read) == 1)


async def test_nothing_is_opened_while_a_plan_runs_and_where_no_file_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = Files(tmp_path, str(tmp_path / "mine.yaml"), monkeypatch)
    async with opened(files) as seen:
        plan = await files.session.operator.prepare("stop", ())
        files.session.operator.running = plan
        await seen.press("ctrl+e")
        await seen.sees(lambda: "something runs from here" in seen.toasts())
        files.session.operator.running = None

        def begin(text: str) -> str:
            files.session.operator.running = plan
            return text + "# changed\n"

        files.typing = begin
        await seen.press("ctrl+e")
        await seen.sees(lambda: "F6 reads the files again when that has ended" in seen.toasts())
        assert files.read == []
        files.session.operator.running = None
        files.opened.clear()
        monkeypatch.setenv("EDITOR", "no-such-editor-here")
        await seen.press("ctrl+e")
        await seen.sees("no no-such-editor-here on this machine")
        assert files.opened == []


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"VISUAL": "code -w", "EDITOR": "vi"}, ["code", "-w", "/x y"]),
        ({"VISUAL": " ", "EDITOR": "/usr/bin/vim -u NONE"}, ["/usr/bin/vim", "-u", "NONE", "+7", "/x y"]),
        ({}, ["sensible-editor", "+7", "/x y"]),
    ],
)
def test_the_editor_is_the_operator_s_own_and_is_told_the_line_where_it_takes_one(
    environment: dict[str, str], words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: name)
    assert editor_command(environment, Path("/x y"), 7) == words


def test_an_editor_that_cannot_be_read_is_named_with_its_variable() -> None:
    with pytest.raises(ConsoleError, match="EDITOR=vi 'x") as caught:
        editor_command({"EDITOR": "vi 'x"}, Path("/x"), 1)
    assert "set EDITOR" in caught.value.hint


def test_a_cluster_s_copy_lies_under_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert copy_path(cluster(name="a/b").name, "a3-pd") == tmp_path / "dsv4-console/layouts/a%2fb/a3-pd.yaml"
