"""A schedule as a file, and how it is run again.

sockfsm schedule 1
scenario 0f3a62c1d8e9b745 mine.txt
losses 1
server                  # line 3: ok
client loses 1          # line 9: ok, and the first packet that it sends is lost
* time                  # to the next timer or packet
* time 2                # the second of those that are due at the same instant
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import NoReturn

from sockfsm.errors import UsageError
from sockfsm.files import regular
from sockfsm.private import write
from sockfsm.sim.explore.findings import ended
from sockfsm.sim.explore.world import TIME, Turn, World
from sockfsm.sim.run import Failure
from sockfsm.sim.scenario import Scenario
from sockfsm.trace.source import MemoryTrace

_FIRST = "sockfsm schedule 1"
_LARGEST = 1 << 24
_TURN = re.compile(r"(?:(\* time)(?: ([1-9]\d*))?|([^\s*#]+))(?: loses ([1-9]\d*(?:,[1-9]\d*)*))?")


@dataclass
class Replay:
    """A schedule that was run. told: what each turn did. failures: what was wrong."""

    trace: MemoryTrace
    told: list[str]
    failures: list[Failure]


def digest(scenario: Scenario) -> str:
    """Tells scenarios apart by what happens in them."""
    return sha256(repr(replace(scenario, file="", title="")).encode()).hexdigest()[:16]


def replay(scenario: Scenario, turns: Sequence[Turn], losses: int, name: str = "") -> Replay:
    """Run a schedule. UsageError where it does not fit the scenario."""
    world = World(scenario, losses, recorded=True)
    told = []
    for number, turn in enumerate(turns, 1):
        results, failures = len(world.results), len(world.failures)
        if not _possible(world, turn):
            said = _said(scenario, turn)
            raise UsageError(f"{name or scenario.file}: turn {number}, {said}: cannot come here")
        world.take(turn)
        lines = [f"line {r[1]}: {ended(r[2], r[3])}" for r in world.results[results:]]
        told.append(", ".join([*lines, *(f.text for f in world.failures[failures:])]))
    found = list(world.failures)
    if world.options():
        world.interrupted()
    else:
        found += world.verdict()
    return Replay(world.recorder.trace(world.wire.packets), told, found)


def _possible(world: World, turn: Turn) -> bool:
    if turn.who == TIME:
        return any(option == (TIME, turn.chosen[:1]) for option in world.options())
    return world.ready(turn.who) and len(turn.chosen) <= world.wire.left


def _said(scenario: Scenario, turn: Turn) -> str:
    lost = turn.chosen
    if turn.who == TIME:
        which, *rest = turn.chosen
        lost = tuple(rest)
        text = "* time" + (f" {which + 1}" if which else "")
    else:
        text = scenario.actors[turn.who].name
    return text + (f" loses {','.join(str(one + 1) for one in lost)}" if lost else "")


def summary(scenario: Scenario, turns: Sequence[Turn]) -> str:
    """The schedule in a line: who runs, and for how many turns."""
    found: list[list[str | int]] = []
    for turn in turns:
        text = _said(scenario, turn).removeprefix("* ")
        if found and found[-1][0] == text:
            found[-1][1] = int(found[-1][1]) + 1
        else:
            found.append([text, 1])
    return ", ".join(f"{text} x{count}" if count != 1 else f"{text}" for text, count in found)


def written(scenario: Scenario, turns: Sequence[Turn], losses: int, told: Sequence[str]) -> str:
    """The text of a schedule's file."""
    lines = [_FIRST, f"scenario {digest(scenario)} {scenario.file}", f"losses {losses}"]
    for turn, text in zip(turns, told, strict=True):
        lines.append(f"{_said(scenario, turn):24}# {text}".rstrip(" #"))
    return "\n".join(lines) + "\n"


def save(path: Path, text: str) -> None:
    """Write a schedule's file, in the place of an older one."""
    write(path, text.encode())


def read(path: str, scenario: Scenario) -> tuple[list[Turn], int]:
    """The turns of a file, and how many packets may be lost. UsageError names the line."""
    try:
        with regular(Path(path)) as file:
            data = file.read(_LARGEST + 1)
        text = data.decode()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: is no schedule") from None
    lines = text.splitlines()
    if len(data) > _LARGEST or not lines or lines[0] != _FIRST:
        raise UsageError(f"{path}: is no schedule")
    return list(_turns(path, lines, scenario)), _losses(path, lines, scenario)


def _losses(path: str, lines: list[str], scenario: Scenario) -> int:
    found = re.fullmatch(r"scenario ([0-9a-f]{16}) (.*)", lines[1] if len(lines) > 1 else "")
    if found is None:
        _fail(path, 2, "`scenario DIGEST NAME` is expected")
    if found[1] != digest(scenario):
        _fail(path, 2, f"a schedule of another scenario ({found[2]}), or it has changed")
    count = re.fullmatch(r"losses (\d{1,9})", lines[2] if len(lines) > 2 else "")
    if count is None:
        _fail(path, 3, "`losses N` is expected")
    return int(count[1])


def _turns(path: str, lines: list[str], scenario: Scenario) -> Iterator[Turn]:
    _losses(path, lines, scenario)
    actors = {actor.name: who for who, actor in enumerate(scenario.actors)}
    for number, line in enumerate(lines[3:], 4):
        words = line.partition("#")[0].strip()
        if not words:
            continue
        found = _TURN.fullmatch(words)
        if found is None:
            _fail(path, number, "an actor or `* time` is expected")
        lost = tuple(int(one) - 1 for one in found[4].split(",")) if found[4] else ()
        if found[1]:
            yield Turn(TIME, (int(found[2] or 1) - 1, *lost))
        elif found[3] in actors:
            yield Turn(actors[found[3]], lost)
        else:
            _fail(path, number, f"no actor {found[3]!r}")


def _fail(path: str, number: int, message: str) -> NoReturn:
    raise UsageError(f"{path}:{number}: {message}")
