"""Every command, given what cannot be read or what acts on a terminal: one inert line and status 2."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import fuzz
import pytest

from sockfsm.cli.main import COMMANDS, main
from sockfsm.trace.trace import PACKETS

HOSTILE = "\x1b[2J\x1b]0;x\x07\u202ex\udcff\n\r\x9b1m"
GOOD = str(fuzz.TRACES / "tcp-echo")

ARGUMENTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "demo": (("-o", GOOD), ("--" + HOSTILE,)),
    "run": (
        (HOSTILE,), ("-o", GOOD, __file__), ("-o", f"{GOOD}/trace.json/{HOSTILE}", __file__),
        ("--port",),
    ),
    "show": (
        (HOSTILE,), (GOOD, "--socket", HOSTILE), (GOOD, "--thread", HOSTILE),
        (GOOD, "--from", HOSTILE), (GOOD, "--port", HOSTILE), (GOOD, "--port", "99999"),
        (GOOD, "--from", "9" * 400), ("--" + HOSTILE, GOOD),
    ),
    "blocked": ((HOSTILE,), (GOOD, HOSTILE)),
    "handshake": ((HOSTILE,), (GOOD, "--port", HOSTILE), ("/dev/null",), ("/dev/zero",)),
    "diagram": (
        (HOSTILE,), (GOOD, "--socket", HOSTILE), (GOOD, "--kind", HOSTILE),
        (GOOD, "-o", HOSTILE), (GOOD, "-o", f"/nowhere/{HOSTILE}.svg"), (GOOD, "--format", HOSTILE),
            ),
    "lint": ((HOSTILE,), (GOOD, "--no-lint", HOSTILE), ()),
    "machine": ((HOSTILE,), ("tcp", "--state", HOSTILE), ("tcp", "--call", HOSTILE)),
    "check": (
        (HOSTILE, "bind"), ("tcp", HOSTILE), ("tcp", "bind", "--state", HOSTILE), ("tcp",),
        ("tcp", "bind", "--given", HOSTILE), ("tcp", "bind", "--given", f"peer={HOSTILE}"),
        ("tcp", "bind", "--no-lint", HOSTILE),
    ),
    "simulate": ((HOSTILE,), (GOOD,), ("tcp-echo", "--seed", HOSTILE), ("tcp-echo", "-o", GOOD), ()),
    "play": ((HOSTILE,), (GOOD,), ("tcp-echo", "-o", GOOD), ()),
    "compare": ((HOSTILE,), (GOOD,), ("lost-syn", "--network", HOSTILE), ()),
    "protocol": (
        (HOSTILE, GOOD), ("smtp", HOSTILE), ("smtp", GOOD, "--port", HOSTILE), ("smtp", GOOD),
        (f"{HOSTILE}:X", GOOD), (f"/nowhere/{HOSTILE}.py:X", GOOD), ("smtp",),
    ),
    "explore": (
        (HOSTILE,), (GOOD,), ("tcp-echo", "--strategy", HOSTILE), ("tcp-echo", "--replay", HOSTILE),
        ("tcp-echo", "--replay", GOOD), ("tcp-echo", "--ignore", HOSTILE),
        ("tcp-echo", "-o", GOOD),
    ),
    "conform": (
        (HOSTILE,), ("--suite", HOSTILE), ("--depth", HOSTILE), ("--depth", "0"), ("--jobs", "-1"),
        ("tcp", "--depth", "1", "--keep", f"/nowhere/{HOSTILE}"),
    ),
    "learn": ((HOSTILE,), ("tcp", "-o", f"/nowhere/{HOSTILE}.svg")),
    "export": (
        (HOSTILE, "--form", "csv"), (GOOD, "--form", HOSTILE), (GOOD, "-o", HOSTILE),
        (GOOD, "-o", f"/nowhere/{HOSTILE}.csv"), (GOOD,),
    ),
}  # fmt: skip


def test_the_table_has_every_command() -> None:
    assert set(ARGUMENTS) == set(COMMANDS)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        pytest.param(command, words, id=f"{command}-{number}")
        for command, table in ARGUMENTS.items()
        for number, words in enumerate(table)
    ],
)
def test_one_inert_line(
    command: str,
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([command, *words]) == 2
    err = capfd.readouterr().err
    assert err.startswith("sockfsm: ")
    assert err.endswith("\n")
    assert err[:-1].isprintable(), err


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_an_option_that_is_none(command: str, capfd: pytest.CaptureFixture[str]) -> None:
    if command == "run":
        return  # what follows is the program's
    assert main([command, f"--{HOSTILE}"]) == 2
    assert capfd.readouterr().err[:-1].isprintable()


def test_a_command_that_is_none(capfd: pytest.CaptureFixture[str]) -> None:
    assert main([HOSTILE]) == 2
    assert capfd.readouterr().err[:-1].isprintable()


# -- sources --------------------------------------------------------------------------------


def empty_folder(path: Path) -> None:
    path.mkdir()


def a_file(path: Path) -> None:
    path.write_text(HOSTILE.encode("utf-8", "replace").decode())


def nothing(path: Path) -> None:
    path.write_bytes(b"")


def link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def foreign_log(path: Path) -> None:
    path.mkdir()
    (path / f"1-{HOSTILE}.calls").write_text("something else")


def log_of_another_version(path: Path) -> None:
    path.mkdir()
    (path / "1-0.calls").write_bytes(b"sockfsm calls 99\n".ljust(48, b"\0"))


def a_folder_for_a_log(path: Path) -> None:
    (path / "1-0.calls").mkdir(parents=True)


def a_pipe_for_a_log(path: Path) -> None:
    path.mkdir()
    os.mkfifo(path / "1-0.calls")


def a_link_to_nowhere_for_a_log(path: Path) -> None:
    path.mkdir()
    (path / "1-0.calls").symlink_to("/nowhere")


SOURCES = (
    empty_folder, a_file, nothing, link_to_itself, foreign_log, log_of_another_version,
    a_folder_for_a_log, a_pipe_for_a_log, a_link_to_nowhere_for_a_log,
)  # fmt: skip


@pytest.mark.parametrize("make", SOURCES)
@pytest.mark.parametrize("words", fuzz.COMMANDS, ids=" ".join)
def test_a_source_that_cannot_be_read(
    words: tuple[str, ...],
    make: Callable[[Path], object],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / f"trace-{HOSTILE}"
    make(path)
    with fuzz.limits():
        fuzz.begin()
        status = main([*words, str(path)])
    err = capfd.readouterr().err
    assert status == 2
    assert err.startswith("sockfsm: ")
    assert err[:-1].isprintable(), err


def no_capture(folder: Path) -> None:
    (folder / PACKETS).write_text("no capture")


def an_empty_capture(folder: Path) -> None:
    (folder / PACKETS).write_bytes(b"")


def a_folder_for_the_capture(folder: Path) -> None:
    (folder / PACKETS).unlink()
    (folder / PACKETS).mkdir()


def a_pipe_for_the_capture(folder: Path) -> None:
    (folder / PACKETS).unlink()
    os.mkfifo(folder / PACKETS)


def a_folder_for_everything_else(folder: Path) -> None:
    for name in ("trace.json", "tcp-states.jsonl"):
        (folder / name).unlink()
        (folder / name).mkdir()


def pipes_for_everything_else(folder: Path) -> None:
    for name in ("trace.json", "tcp-states.jsonl"):
        (folder / name).unlink()
        os.mkfifo(folder / name)


@pytest.mark.parametrize(
    "spoil",
    [
        no_capture, an_empty_capture, a_folder_for_the_capture, a_pipe_for_the_capture,
        a_folder_for_everything_else, pipes_for_everything_else,
    ],
)  # fmt: skip
@pytest.mark.parametrize("words", fuzz.COMMANDS, ids=" ".join)
def test_a_trace_with_a_part_that_cannot_be_read(
    words: tuple[str, ...], spoil: Callable[[Path], None], tmp_path: Path
) -> None:
    folder = tmp_path / "trace"
    shutil.copytree(GOOD, folder)
    spoil(folder)
    with fuzz.limits():
        fuzz.begin()
        assert fuzz.command(words, folder) == ""
