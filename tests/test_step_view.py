"""The terminal view of stepping: every key, two sizes and odd ones, and where there is no terminal."""

from __future__ import annotations

import asyncio
import os
import pty
import select
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from patience import PATIENCE
from rich.text import Text
from textual.pilot import Pilot
from textual.widgets import Static

from sockfsm.cli.main import main
from sockfsm.sim.scenario import Scenario, parse
from sockfsm.sim.shipped import load, names
from sockfsm.sim.stepping.stepper import Stepper
from sockfsm.sim.stepping.view import View
from sockfsm.step import drawing
from sockfsm.step.app import Stepping

sys.path.insert(0, str(Path(__file__).parent.parent / "diagrams"))

import screens

FOLDER = Path(__file__).parent.parent / "diagrams"
SIZES = [(100, 30), (80, 24)]
PANES = ("title", "actors", "sockets", "packets", "choices", "last")
Play = Callable[[Stepping, Pilot[None]], Awaitable[None]]


def played(scenario: Scenario, play: Play, size: tuple[int, int] = SIZES[0]) -> Stepping:
    """The application after a play with its keys."""
    app = Stepping(Stepper(scenario), "sockfsm simulate --step")

    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await play(app, pilot)

    asyncio.run(run())
    return app


def shown(app: Stepping) -> str:
    """All that stands on the screen."""
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


@pytest.mark.parametrize("size", SIZES)
def test_every_key(size: tuple[int, int]) -> None:
    async def play(app: Stepping, pilot: Pilot[None]) -> None:
        steps = 0
        for key in ("right", "space", "enter"):
            await pilot.press(key)
            steps += 1
            assert app.stepper.view.steps == steps
        for key in ("left", "backspace"):
            await pilot.press(key)
            steps -= 1
            assert app.stepper.view.steps == steps
        await pilot.press("s")
        assert app.stepper.view.steps == 0
        second = app.stepper.view.choices[1]
        await pilot.press("down")
        assert app.chosen == 1
        await pilot.press("up")
        assert app.chosen == 0
        await pilot.press("up", "right")
        assert app.stepper.view.last is not None
        assert app.stepper.view.last.choice.number == second.number
        await pilot.press("left")
        assert app.chosen == 1
        await pilot.press("1")
        assert app.stepper.view.steps == 1
        await pilot.press("9")
        assert app.stepper.view.steps == 1
        await pilot.press("x")
        assert "no packet is in flight" in shown(app)
        await pilot.press("r")
        assert app.stepper.view.last.outcome == "ENOTCONN"
        assert "illegal in CREATED" in shown(app)
        assert "Usually meant: connect() first." in shown(app)
        await pilot.press("right", "x")
        assert app.stepper.view.last.lost
        assert "LOST" in shown(app)
        await pilot.press("t")
        assert not app.current_theme.dark
        await pilot.press("t")
        assert app.current_theme.dark
        for key in ("e", "left", "end"):
            await pilot.press(key)
            await ended(app, pilot)
        assert app.stepper.over
        assert "the end" in shown(app)
        await pilot.press("right", "x", "r", "e", "1", "up", "down")
        assert app.stepper.over
        await pilot.press("home")
        assert app.stepper.view.steps == 0
        await pilot.press("left")
        assert app.stepper.view.steps == 0

    played(load("tcp-echo"), play, size)


async def ended(app: Stepping, pilot: Pilot[None]) -> None:
    """Wait until it goes on no more."""
    while app._going:
        await pilot.pause()


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
def test_it_ends(key: str) -> None:
    async def play(app: Stepping, pilot: Pilot[None]) -> None:
        await pilot.press(key)
        await pilot.pause()
        assert not app.is_running

    assert played(load("tcp-echo"), play).return_code == 0


@pytest.mark.parametrize("size", SIZES)
def test_all_keys_stand_in_the_footer(size: tuple[int, int]) -> None:
    async def play(app: Stepping, pilot: Pilot[None]) -> None:
        footer = shown(app).splitlines()[-1]
        words = ["→ next", "← back", "↑↓ choose", "x lose", "r refusal", "e end", "s start"]
        for word in [*words, "t light", "q quit"]:
            assert word in footer

    played(load("tcp-echo"), play, size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", [name for name in names() if name != "full-buffers"])
def test_nothing_that_matters_is_cut(name: str, size: tuple[int, int]) -> None:
    """At every step the current lines, all states and all choices can be read."""
    stepper = Stepper(load(name))
    going = True
    while going:
        view = stepper.view
        panes = {key: unwrapped(text) for key, text in drawn(view, size).items()}
        for actor in view.actors:
            width = (size[0] - 3 * (len(view.actors) - 1)) // len(view.actors)
            if actor.at < len(actor.lines):
                assert (
                    f"{drawing.HERE} {actor.lines[actor.at].text[: width - 3]}" in panes["actors"]
                )
            lines = drawing.column(actor, width, 6, drawing.DARK)
            assert actor.awaits in " ".join(line.plain.strip() for line in lines)
        rows = drawing.heights(view, size[1]).sockets - 1
        assert len(view.sockets) <= rows or size == SIZES[1]
        if len(view.sockets) <= rows:
            for one in view.sockets:
                assert one.label[:15] in panes["sockets"]
                assert one.tcp in panes["sockets"]
                assert one.error in panes["sockets"]
                assert one.state in panes["sockets"]
        for place, _ in enumerate(view.choices[:3], 1):
            assert f" {place} " in panes["choices"]
        assert f"step {view.steps} " in panes["title"]
        last = view.last
        if last is not None:
            assert last.outcome in panes["last"] or last.outcome == "eof"
            assert last.why[:40] in panes["last"]
        going = stepper.step()


def unwrapped(text: Text) -> str:
    """The text in one line."""
    return " ".join(text.plain.split())


def drawn(view: View, size: tuple[int, int], chosen: int = 0) -> dict[str, Text]:
    """The panes, each of which keeps within its place."""
    panes = drawing.panes(view, size, chosen, drawing.DARK)
    sizes = drawing.heights(view, size[1])
    assert sum(sizes) == size[1] - 2
    places = {"packets": sizes.middle, "choices": sizes.middle, "title": 1, **sizes._asdict()}
    for name, text in panes.items():
        lines = text.split("\n")
        assert len(lines) <= places[name], name
        half = drawing.halves(size[0])[name == "choices"]
        width = half if name in ("packets", "choices") else size[0]
        assert max(line.cell_len for line in lines) <= width, (name, text.plain)
    return panes


def test_to_the_end_of_a_long_run_can_be_stopped() -> None:
    async def play(app: Stepping, pilot: Pilot[None]) -> None:
        app._went(False)  # not while it stands still
        assert app.stepper.view.steps == 0
        await pilot.press("e")
        await ended(app, pilot)
        most = app.stepper.view.steps
        await pilot.press("s")
        app.at_once = 10
        app.action_end()
        app.action_end()
        app.action_choose(1)
        assert not app._going
        await pilot.pause()
        assert 0 < app.stepper.view.steps < most
        await pilot.press("e")
        await ended(app, pilot)
        assert app.stepper.over

    played(load("full-buffers"), play)


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (20, 8), (40, 12), (79, 23), (200, 60)])
def test_any_size(size: tuple[int, int]) -> None:
    async def play(app: Stepping, pilot: Pilot[None]) -> None:
        await pilot.press("r", "right", "right", "x")
        await pilot.resize_terminal(*SIZES[1])
        await pilot.press("e")
        await ended(app, pilot)

    played(load("backlog"), play, size)


def test_what_a_scenario_says_is_inert() -> None:
    text = "title \x1b[31mred[/] [bold]\na[b]:\n    s = socket unix-stream\n"
    text += '    s.bind "p\\x1b[2J"\n    s.recv # \x1b]0;x\x07\n'

    async def play(app: Stepping, pilot: Pilot[None]) -> None:
        for _ in range(6):
            screen = shown(app)
            assert "\x1b" not in screen
            assert "\x07" not in screen
            await pilot.press("right")
        assert "[bold]" in screen

    played(parse(text), play)


def test_many_actors_and_sockets() -> None:
    text = "".join(
        f"actor{number}:\n" + "".join(f"    s{i} = socket tcp\n" for i in range(12))
        for number in range(9)
    )

    stepper = Stepper(parse(text))
    for _ in range(60):
        assert stepper.step()
        for size in SIZES:
            panes = drawn(stepper.view, size, 8)
            assert "▶ 9 actor" in panes["choices"].plain
            assert stepper.view.last is not None
            assert f"── {stepper.view.last.choice.who} at" in panes["actors"].plain
            assert "+" in panes["sockets"].plain or len(stepper.view.sockets) < 8


KEYS = [
    *("right", "space", "enter", "left", "backspace", "up", "down", "x", "r", "e", "s", "t", "1"),
    *("2", "3", "end", "home", "a", "tab", "escape", "pageup", "f1", "ctrl+p"),
]
SCENARIOS = [load(name) for name in names() if name != "full-buffers"]


@settings(max_examples=5)
@given(
    scenario=st.sampled_from(SCENARIOS),
    keys=st.lists(st.sampled_from(KEYS), max_size=15),
    size=st.sampled_from(SIZES),
)
def test_any_keys(scenario: Scenario, keys: list[str], size: tuple[int, int]) -> None:
    async def play(app: Stepping, pilot: Pilot[None]) -> None:
        await pilot.press(*keys)
        await ended(app, pilot)
        assert app.is_running
        steps = app.stepper.view.steps
        assert f"step {steps} " in shown(app)

    assert played(scenario, play, size).return_code in (0, None)


def test_no_colour_where_none_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(app: Stepping, pilot: Pilot[None]) -> None:
        await pilot.press("r")
        assert app.no_color
        styles = [part.style for strip in app.screen._compositor.render_strips() for part in strip]
        colours = [one.color.triplet for one in styles if one and one.color]
        assert all(len(set(triplet)) == 1 for triplet in colours if triplet)
        assert "ENOTCONN, illegal in CREATED" in shown(app)

    monkeypatch.setenv("NO_COLOR", "1")
    played(load("tcp-echo"), play)


def test_the_panes_are_those_that_are_drawn() -> None:
    async def play(app: Stepping, pilot: Pilot[None]) -> None:
        assert {widget.id for widget in app.query(Static)} == set(PANES)

    played(load("tcp-echo"), play)


def test_the_committed_screen_is_in_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert screens.in_step(FOLDER / screens.NAME), "run: make diagrams"
    text = (FOLDER / screens.NAME).read_text(encoding="utf-8")
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "").replace(
        "https://www.textualize.io", ""
    )
    assert screens.main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"wrote {tmp_path / screens.NAME}\n"
    root = ET.parse(tmp_path / screens.NAME).getroot()
    shown = "".join(root.itertext()).replace("\xa0", " ")
    assert "SYN-RECEIVED" in shown
    assert screens.main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == ""
    (tmp_path / screens.NAME).write_text("<svg/>")
    assert not screens.in_step(tmp_path / screens.NAME)
    assert screens.main([str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.startswith("sockfsm: cannot write")


def test_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "tcp-echo", "--step"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "sockfsm: --step needs a terminal; without it the whole run is shown\n"


def test_programs_cannot_be_stepped_through(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "server.py", "--step"]) == 2
    assert capsys.readouterr().err.startswith("sockfsm: --step is for scenarios")


def in_a_terminal(arguments: list[str], keys: bytes, **more: str) -> tuple[int, str]:
    """Exit status and all that came out of a command in a terminal, and `keys` typed in it."""
    ours, theirs = pty.openpty()
    environ = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30", **more}
    command = [sys.executable, "-m", "sockfsm", "simulate", *arguments, "--step"]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environ) as done:
        os.close(theirs)
        said = b""
        while select.select([ours], [], [], PATIENCE)[0]:
            try:
                piece = os.read(ours, 65_536)
            except OSError:  # a terminal that nobody has open any more
                break
            said += piece
            if b"quit" in said and keys:
                os.write(ours, keys)
                keys = b""
        os.close(ours)
        return done.wait(PATIENCE), said.decode()


def test_in_a_terminal(tmp_path: Path) -> None:
    status, said = in_a_terminal(["tcp-echo", "-o", str(tmp_path / "trace")], b"eq")
    assert status == 0
    assert "Traceback" not in said
    assert (tmp_path / "trace" / "trace.json").exists()


def test_without_textual(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u\n"
        "find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'textual' else find(name, *a)\n"
    )
    status, said = in_a_terminal(["tcp-echo"], b"", PYTHONPATH=str(tmp_path))
    assert status == 2
    assert said.strip() == "sockfsm: --step needs textual: pip install 'sockfsm[step]'"


def test_a_terminal_that_cannot_move_its_cursor() -> None:
    status, said = in_a_terminal(["tcp-echo"], b"", TERM="dumb")
    assert status == 2
    assert said.startswith("sockfsm: --step needs a terminal")
