"""What the README shows has really been run: its commands and programs are run again here."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from patience import PATIENCE

HOME = Path(__file__).parent.parent
README = (HOME / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(
    r"(?:`(?P<name>\w+\.py)`:\n\n)?^```(?P<form>\w+)\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


class Shown(NamedTuple):
    """Something that the README shows: a command or a program, and what it prints."""

    name: str
    source: str
    output: str | None


def blocks() -> Iterator[tuple[str, str | None, str]]:
    """Form, file name and text of each block of code."""
    for found in BLOCK.finditer(README):
        yield found["form"], found["name"], found["body"]


def commands() -> list[Shown]:
    """The console blocks."""
    found = []
    for form, _, body in blocks():
        if form == "console":
            first, _, output = body.partition("\n")
            assert first.startswith("$ "), body
            found.append(Shown(first[2:], first[2:], output))
    return found


def programs() -> list[Shown]:
    """The Python blocks that are programs, and the output that stands below them."""
    found: list[Shown] = []
    shown = [*blocks(), ("", None, "")]
    for (form, name, body), (below, _, output) in pairwise(shown):
        if form == "python" and name is None:
            title = f"program {len(found) + 1}"
            found.append(Shown(title, body, output if below == "output" else None))
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with the README's files, and commands as one types them."""
    shutil.copytree(HOME / "traces", tmp_path / "traces")
    for form, name, body in blocks():
        if form == "python" and name is not None:
            (tmp_path / name).write_text(body, encoding="utf-8")
    (tmp_path / "bin").mkdir()
    for command in ("sockfsm", "pytest"):
        starter = tmp_path / "bin" / command
        starter.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {command} "$@"\n')
        starter.chmod(0o755)
    return tmp_path


def run(arguments: list[str], folder: Path) -> str:
    """What it prints, both streams."""
    done = subprocess.run(
        arguments,
        cwd=folder,
        env={**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "COLUMNS": "100"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return done.stdout


def stable(text: str) -> str:
    """`text` without what differs from run to run: how long pytest took, and how wide it wrote."""
    return re.sub(r" +\[100%\]", " [100%]", re.sub(r"\bin \d+\.\d+s", "in N s", text)).rstrip()


def assert_shows(output: str, expected: str) -> None:
    """`...` in the README stands for anything; more or fewer dots are dots."""
    pieces = re.split(r"(?<!\.)\.\.\.(?!\.)", stable(expected))
    pattern = ".*?".join(map(re.escape, pieces))
    assert re.fullmatch(pattern, stable(output), re.DOTALL), f"{expected}\n--- but now:\n{output}"


@pytest.mark.parametrize("shown", commands(), ids=lambda shown: shown.name)
def test_a_command_prints_what_the_readme_shows(shown: Shown, folder: Path) -> None:
    assert_shows(run(["sh", "-c", shown.source], folder), shown.output or "")


@pytest.mark.parametrize("shown", programs(), ids=lambda shown: shown.name)
def test_a_program_prints_what_the_readme_shows(shown: Shown, folder: Path) -> None:
    (folder / "program.py").write_text(shown.source, encoding="utf-8")
    output = run([sys.executable, "-W", "error", "program.py"], folder)
    assert_shows(output, shown.output or "")


def test_each_use_is_shown() -> None:
    assert len(commands()) >= 7
    assert len(programs()) >= 3
    for heading in ("Set up", "Lifecycle", "Inspecting", "Asserting", "Limits", "Speed"):
        assert f"\n## {heading}" in README


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_what_the_readme_points_to_is_there(target: str) -> None:
    assert (HOME / target).exists()


def test_the_set_up_commands_are_targets_of_the_makefile() -> None:
    makefile = (HOME / "Makefile").read_text(encoding="utf-8")
    named = re.findall(r"^make (\w+)", README, re.MULTILINE)
    assert named == ["demo", "test"]
    for target in [*named, *re.findall(r"`make (\w+)`", README)]:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
