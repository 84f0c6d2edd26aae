"""What an operator sees: the grid and the panes, at every size, for every state, whatever a node says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from unicodedata import east_asian_width

import pytest

from console.model.service import Service, ServiceState
from console.model.snapshot import Device, EngineState, Grade, HealthCheck, Link, LinkState
from screens.grid.rows import count_words
from screens.options import Options
from screens.styled_lines import Pen, plain
from screens.themes import LOOKS, STATES
from tests.screens.fakes import FakeSession, devices
from tests.screens.seen import LARGE, SMALL, running

DOOR = "http://10.0.0.1:8000"


@pytest.mark.parametrize("size", [SMALL, LARGE, (60, 16), (200, 50)], ids=["80x24", "120x40", "60x16", "200x50"])
async def test_eighteen_engines_on_four_nodes_are_readable(tmp_path: Path, size: tuple[int, int]) -> None:
    session = FakeSession(tmp_path)
    session.set_state("decode-3", EngineState.FAILED, cause="NPU out of memory")
    async with running(session, size) as seen:
        text = seen.text()
        for node in ("p0", "p1", "d0", "d1"):
            assert any(f" {node} " in line for line in seen.lines())
        assert "RW" in seen.header()
        assert "1 FAILED" in text
        assert "18 ready" in seen.header()
        assert seen.lines()[-1].lstrip().startswith("? Help  q Quit")


@pytest.mark.parametrize(
    ("service", "narrow", "wide"),
    [
        (Service(ServiceState.UP, DOOR, "dsv4"), "\u2713 UP", f"\u2713 UP  {DOOR}  dsv4"),
        (
            Service(ServiceState.PART, DOOR, "[b]dsv4", "14 of 16 decode"),
            "! PART: 14 of 16 decode",
            f"! PART: 14 of 16 decode  {DOOR}  [b]dsv4",
        ),
        (Service(ServiceState.DOWN, DOOR, "dsv4", "no decode"), "\u2717 DOWN: no decode", "\u2717 DOWN: no decode"),
        (
            Service(ServiceState.UNPROVEN, DOOR, "dsv4", "nothing yet"),
            "? UNPROVEN: nothing yet (Y: prove)",
            f"? UNPROVEN: nothing yet (Y: prove)  {DOOR}  dsv4",
        ),
        (None, "", ""),
    ],
)
async def test_the_header_says_first_whether_it_serves(
    tmp_path: Path, service: Service | None, narrow: str, wide: str
) -> None:
    session = FakeSession(tmp_path)
    session.more["service"] = service
    session.publish()
    for size, words in ((SMALL, narrow), (LARGE, wide)):
        async with running(session, size) as seen:
            head = seen.header()
            assert f" lab a3-pd  RW  {words}".rstrip() in head
            assert "19 ready" in head
            assert ("http" in head) is ("http" in words)


async def test_the_worst_is_told_first_in_header_and_rows(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    for number, state in enumerate((EngineState.DEGRADED, EngineState.STOPPING, EngineState.FAILED)):
        session.set_state(f"decode-{number}", state)
    words = ["1 FAILED", "1 degraded", "1 stopping", "16 ready"]
    async with running(session, LARGE) as seen:
        head = seen.header()
        assert [head.index(each) for each in words] == sorted(head.index(each) for each in words)
    row = plain(count_words(list(session.snapshot.engines.values()), Pen()))
    assert [row.index(each) for each in words] == sorted(row.index(each) for each in words)


@pytest.mark.parametrize("state", list(EngineState))
async def test_every_state_has_its_glyph_and_word(tmp_path: Path, state: EngineState) -> None:
    session = FakeSession(tmp_path, state=state)
    sign = STATES[state]
    async with running(session) as seen:
        await seen.press("enter")
        assert f"{sign.glyph} {sign.word}" in seen.text()
    session = FakeSession(tmp_path, state=state)
    async with running(session, options=Options(ascii=True)) as seen:
        await seen.press("enter")
        assert f"{sign.plain} {sign.word}" in seen.text()
        assert seen.text().isascii()


def test_no_two_states_look_alike_and_no_glyph_shifts_a_row() -> None:
    alike = ("↻↺⟳", "✗✘✕xX×", "✓✔", "▪◾■", "▫□")
    for pen in (Pen(), Pen(ascii=True)):
        glyphs = [pen.sign(sign) for sign in STATES.values()]
        others = [pen.opened, pen.closed, pen.marked, "~", "."]
        others += [pen.level(fill / 10) for fill in range(11)] if not pen.ascii else []
        assert len(set(glyphs)) == len(STATES)
        assert not set(glyphs) & set(others), "neither expander, mark, cut nor a device means a state"
        for shape in alike:
            assert sum(glyph in shape for glyph in glyphs) <= 1
        assert {east_asian_width(each) for each in [*glyphs, *others]} <= {"N", "Na"}


async def test_in_ascii_devices_read_as_a_fill_and_the_expander_is_no_state(tmp_path: Path) -> None:
    async with running(FakeSession(tmp_path), LARGE, options=Options(ascii=True)) as seen:
        row = next(line for line in seen.lines() if " d0 " in line)
        assert row.startswith("  > d0 ")
        assert "#" * 16 in row
        await seen.press("j", "j", "enter")
        await seen.sees("  v d0 ")
        assert "+ ready" in seen.text()


async def test_the_first_frame_does_not_wait_for_a_node(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    for name in session.snapshot.nodes:
        session.set_node(name, link=Link(LinkState.CONNECTING), devices=(), sampled_at=None)
    async with running(session) as seen:
        assert seen.text().count("connecting") == 4
        assert "?/16" in seen.text()
        assert "0%" not in seen.text()


async def test_a_lost_node_shows_why_and_how_old_its_data_is(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    session.set_node("d0", link=Link(LinkState.LOST, reason="connection refused"), sampled_at=session.snapshot.at - 130)
    session.set_state("decode-0", EngineState.UNREACHABLE, stale_of=EngineState.READY, age_s=130.0)
    async with running(session, LARGE) as seen:
        await seen.press("j", "j")
        row = next(line for line in seen.lines() if " d0 " in line)
        assert "no link: connection" in row
        assert "2m" in row
        assert "3/4 nodes" in seen.header()
        await seen.press("enter")
        assert "was ready 2m ago" in seen.text()
        await seen.press("3")
        await seen.sees("link lost: connection refused")
        await seen.sees("this data is 2m old")


async def test_a_node_that_was_never_connected_is_not_called_lost(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    link = Link(LinkState.LOST, reason="10.0.0.3 port 22: Connection refused")
    session.set_node("d0", link=link, sampled_at=None, devices=(), reached=False)
    async with running(session, LARGE) as seen:
        await seen.press("j", "j")
        row = next(line for line in seen.lines() if " d0 " in line)
        assert "never reached: 10.0.0.3" in row
        await seen.press("3")
        await seen.sees("never reached: 10.0.0.3 port 22: Connection refused")
        assert "lost" not in seen.text()


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
async def test_the_age_of_data_has_a_column_only_while_some_is_old(tmp_path: Path, size: tuple[int, int]) -> None:
    session = FakeSession(tmp_path)
    async with running(session, size) as seen:
        assert "AGE" not in seen.heading()
        assert "AIC" in seen.heading(), "another column takes the room"
        fresh = session.snapshot.nodes["d0"]
        session.set_node("d0", sampled_at=session.snapshot.at - 130)
        await seen.sees(lambda: "AGE" in seen.heading())
        row = next(line for line in seen.lines() if " d0 " in line)
        assert row.rstrip().endswith("2m")
        session.set_node("d0", sampled_at=fresh.sampled_at)
        await seen.sees(lambda: "AGE" not in seen.heading())


async def test_unknown_values_are_never_shown_as_zero(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    blank = tuple(Device(id=index, card=index // 2, die=index % 2, processes_known=False) for index in range(16))
    session.set_node("p0", devices=blank)
    async with running(session) as seen:
        row = next(line for line in seen.lines() if " p0 " in line)
        assert "?/16" in row
        assert "%" not in row
        await seen.press("3")
        await seen.sees("? health of 16 devices unknown: npu-smi was cut off")
        pane = seen.text().split("LAST 2 MIN", 1)[1]
        assert "0%" not in pane
        assert "0C" not in pane


async def test_a_sick_device_is_seen_in_grid_and_pane(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    worn = list(devices(16, busy=True))
    worn[5] = replace(worn[5], health="Alarm")
    session.set_node("p0", devices=tuple(worn))
    async with running(session, (200, 50)) as seen:
        row = next(line for line in seen.lines() if " p0 " in line)
        assert "16/16!" in row
        assert "✗" in row
        await seen.press("3")
        await seen.sees("Alarm")


async def test_health_shows_each_rung_with_its_evidence(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    checks = (
        HealthCheck("process", Grade.OK, "pid 4242 holds the lock"),
        HealthCheck("log", Grade.OK, "Application startup complete"),
        HealthCheck("http", Grade.FAIL, "503 after 8 ms"),
        HealthCheck("model", Grade.UNKNOWN),
    )
    session.set_state("decode-3", EngineState.DEGRADED, health=checks, cause="http: 503 after 8 ms")
    async with running(session) as seen:
        seen.app.main.grid.show_engine("decode-3")
        await seen.press("4")
        for words in ("pid 4242 holds the lock", "FAIL", "503 after 8 ms", "unknown", "degraded"):
            await seen.sees(words)


async def test_a_reason_that_engines_share_is_said_once(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    why = "decode-5 on d0 failed first: HBM is full"
    for rank in range(5):
        session.set_state(f"decode-{rank}", EngineState.DEGRADED, cause=why, after="decode-5")
    for rank in (6, 7):
        dead = f"peer is gone; decode-5 on d0 failed 0.{rank} s before"
        session.set_state(f"decode-{rank}", EngineState.FAILED, cause=dead, after="decode-5")
    session.set_state("decode-5", EngineState.FAILED, cause="HBM is full")
    async with running(session, LARGE) as seen:
        await seen.press("j", "j", "4")
        await seen.sees("need attention")
        for words in (
            "✗ 8 of 19 need attention ✗ 3 FAILED ! 5 degraded ✓ 11 ready",
            "▸ decode-5 ✗ FAILED on d0 HBM is full",
            "▸ decode-6, decode-7 ✗ 2 FAILED on d0 peer is gone",
            "▸ decode-0..4 ! 5 degraded on d0 decode-5 on d0 failed first: HBM is full",
            "▸ decode-8..15 ✓ 8 ready 5 checks pass on d1",
        ):
            assert words in " ".join(seen.text().split())
        pane = seen.text().partition("need attention")[2]
        assert pane.count("failed first") == 1


async def test_starting_engines_show_how_far_they_are(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    session.set_state("decode-3", EngineState.STARTING, phase="load", progress=0.42, progress_text="shard 12/64")
    async with running(session, LARGE) as seen:
        assert "start 42%" in seen.text()
        seen.app.main.grid.show_engine("decode-3")
        await seen.press("4")
        await seen.sees("42% load shard 12/64")
        session.set_state("decode-3", EngineState.STARTING, held_up="silent 2m")
        session.set_state("decode-2", EngineState.STARTING, held_up="waits for decode-3, at load 42 %, silent 2m")
        await seen.sees("42% load shard 12/64  silent 2m")
        await seen.sees("waits for decode-3, at load 42 %, silent 2m")


async def test_filter_and_problems_only(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    session.set_state("decode-3", EngineState.FAILED)
    async with running(session) as seen:
        await seen.press("slash", "p", "1")
        assert " d0 " not in "\n".join(seen.lines()[:8])
        await seen.press("enter", "escape")
        await seen.sees(" d0 ")
        await seen.press("exclamation_mark")
        assert " p1 " not in "\n".join(seen.lines()[:6])
        assert " d0 " in seen.text()
        await seen.press("escape")
        await seen.sees(" p1 ")


async def test_a_grid_without_rows_says_why_and_the_header_that_rows_are_hidden(tmp_path: Path) -> None:
    async with running(FakeSession(tmp_path)) as seen:
        await seen.press("j", "j", "exclamation_mark")
        await seen.sees("nothing is wrong; esc shows all")
        assert "only problems" in seen.header()
        await seen.press("escape", "slash")
        assert seen.app.main.grid.target.node == "d0", "what s and x are for must not move away unseen"
        await seen.type("zebra")
        await seen.press("enter")
        await seen.sees("no row with 'zebra'; esc shows all")
        assert "/zebra" in seen.header()
        await seen.press("escape")
        await seen.sees(" d0 ")
        assert "zebra" not in seen.text()


@pytest.mark.parametrize("view", ["node", "group"])
async def test_the_filter_finds_engines_of_a_node_that_is_not_open(tmp_path: Path, view: str) -> None:
    async with running(FakeSession(tmp_path)) as seen:
        await seen.press(*(["V"] if view == "group" else []), "slash")
        await seen.type("decode-12")
        await seen.press("enter")
        grid = seen.app.main.grid
        assert [row.key for row in grid.rows] == ["engine/decode-12"], "a node among them would be acted on as a whole"
        assert grid.chosen_engines() == ("decode-12",)
        await seen.press("escape", "slash")
        await seen.type("decode" if view == "group" else "d1")
        assert not [row.key for row in grid.rows if row.key.startswith("engine/")], "found above, so not opened"


@pytest.mark.parametrize(
    "key",
    [
        "fullwidth_exclamation_mark",
        "fullwidth_question_mark",
        "fullwidth_colon",
        "ideographic_comma",
        "right_black_lenticular_bracket",
    ],
)
async def test_keys_of_a_chinese_input_method_work(tmp_path: Path, key: str) -> None:
    async with running(FakeSession(tmp_path)) as seen:
        before = seen.text()
        await seen.press(key)
        assert seen.text() != before


async def test_rows_by_group(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    async with running(session) as seen:
        await seen.press("V")
        await seen.sees("2 nodes")
        await seen.press("j", "enter")
        await seen.sees("decode-7 ")
        await seen.press("x")
        await seen.sees("STOP 16 engines")


async def test_frozen_picture_says_so_and_goes_on(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    async with running(session) as seen:
        await seen.press("Z")
        session.set_state("decode-3", EngineState.FAILED)
        await seen.pilot.pause()
        assert "FROZEN" in seen.header()
        assert "FAILED" not in seen.text()
        await seen.press("Z")
        await seen.sees("1 FAILED")


@pytest.mark.parametrize("name", list(LOOKS))
async def test_every_theme_draws(tmp_path: Path, name: str) -> None:
    session = FakeSession(tmp_path, state=EngineState.FAILED)
    async with running(session, options=Options(theme=name)) as seen:
        assert "FAILED" in seen.text()
        await seen.press("T", "question_mark")
        await seen.sees("Help")


async def test_without_colour_nothing_is_coloured(tmp_path: Path) -> None:
    session = FakeSession(tmp_path, state=EngineState.FAILED)
    async with running(session, options=Options(theme="mono")) as seen:
        await seen.press("enter", "4")
        colours = {
            colour.name
            for strip in seen.app.screen._compositor.render_strips()
            for segment in strip
            if segment.style
            for colour in (segment.style.color, segment.style.bgcolor)
            if colour is not None and not colour.is_default
        }
        assert colours == set()


async def test_too_small_a_terminal_says_what_it_needs(tmp_path: Path) -> None:
    async with running(FakeSession(tmp_path), (34, 8)) as seen:
        assert "too small: 34x8" in seen.text()
        assert "needs 40x10" in seen.text()
        assert "q quits; engines keep running" in seen.text()
        await seen.pilot.resize_terminal(40, 10)
        await seen.sees("RW")
        assert seen.lines()[-1].startswith(" ? Help  q Quit ")
        await seen.press("l")
        assert seen.lines()[-1].startswith(" ? Help q Back ")
        await seen.pilot.resize_terminal(12, 8)
        await seen.sees("12x8")
        assert "q quits; eng\nines keep" in seen.text(), "what does not fit is broken, not cut"
        await seen.press("q")
        await seen.sees(lambda: seen.app.return_code == 0)


async def test_a_storm_of_sizes_ends_well(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    async with running(session, (200, 50)) as seen:
        for width in (*range(200, 39, -11), *range(40, 201, 23)):
            await seen.pilot.resize_terminal(width, 12 + width % 30)
        await seen.pilot.resize_terminal(80, 24)
        await seen.sees(lambda: "? Help" in seen.text() and {len(line) for line in seen.lines()} == {80})


@pytest.mark.parametrize("count", [64, 256])
async def test_many_nodes_scroll(tmp_path: Path, count: int) -> None:
    names = ["p0", "p1", "d0", "d1"] + [f"spare{index}" for index in range(4, count)]
    async with running(FakeSession(tmp_path, names=names)) as seen:
        await seen.press("G")
        await seen.sees(f"spare{count - 1}")
        await seen.press("g")
        await seen.sees(" p0 ")


async def test_the_header_names_the_key_to_the_causes_once_one_is_known(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    session.more["service"] = Service(ServiceState.DOWN, "http://10.0.0.1:8000", "dsv4", "no decode")
    session.publish()
    async with running(session) as seen:
        assert "DOWN: no decode  " in seen.header()
        session.diagnosed("decode-3")
        await seen.sees("DOWN: no decode (6: why) ")


@pytest.mark.parametrize("read_only", [False, True])
async def test_an_engine_that_has_not_run_says_so_in_place_of_its_log(tmp_path: Path, read_only: bool) -> None:
    session = FakeSession(tmp_path, read_only=read_only)
    session.set_state("prefill-0", EngineState.IDLE, run=None)
    async with running(session) as seen:
        await seen.sees("prefill-0 has not run, so it has no log")
        assert ("; s shows what a start would do" in seen.text()) is not read_only


async def test_a_terminal_that_was_too_small_gives_the_keys_back_to_who_had_them(tmp_path: Path) -> None:
    async with running(FakeSession(tmp_path)) as seen:
        await seen.press("9")
        events = seen.app.main.panes["events"]
        assert seen.app.focused is events
        await seen.pilot.resize_terminal(30, 8)
        await seen.sees("too small")
        await seen.pilot.resize_terminal(80, 24)
        await seen.sees(lambda: seen.app.focused is events)


async def test_no_word_is_lost_at_60_columns_where_there_is_room_below(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    checks = tuple(HealthCheck(name, Grade.OK) for name in ("process", "log", "http", "model", "works"))
    for number in range(8):
        session.set_state(f"decode-{number}", EngineState.READY, health=checks)
    async with running(session, (60, 24)) as seen:
        await seen.press("Y")
        await seen.sees("not run; Enter sends test chats")
        assert "sends your text" in " ".join(seen.text().split())
        await seen.press("j", "j", "4")
        await seen.sees("5 checks pass")
        checks = (*checks[:3], HealthCheck("model", Grade.FAIL), HealthCheck("works", Grade.SKIPPED))
        session.set_state("decode-3", EngineState.READY, health=checks)
        row = ""
        await seen.sees("✗ model")
        row = next(line for line in seen.lines() if line.startswith(" ▸ decode-3 "))
        assert " ".join(row.split()) == "▸ decode-3 ✓ ready ✗ model - works ~"
