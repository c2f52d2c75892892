"""The same program plain and traced: what differs is a defect of the tracer.

python tests/dropin/differ.py arguments tcp blocking     one program of programs/, its differences
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

SAID = (
    r"sockfsm: (the trace is incomplete|the logs are not put in order|\S+: cannot be written): .*"
)
"""Lines that `sockfsm run` itself writes, when the program has ended."""

PROGRAMS = Path(__file__).parent / "programs"
PATIENCE = 600
SPLIT = " -> "
"""Between a case and what came of it, in the lines that the programs print."""


@dataclass(frozen=True)
class Run:
    """What can be seen of a process from outside."""

    status: int
    out: str
    err: str

    def cases(self) -> dict[str, str]:
        """Case -> what came of it; the streams' other lines by their number."""
        found: dict[str, str] = {"exit status": str(self.status)}
        for stream, text in (("out", self.out), ("err", self.err)):
            for number, line in enumerate(text.splitlines()):
                case, split, told = line.partition(SPLIT)
                name = case if split else f"{stream}, line {number}"
                while name in found:
                    name += "'"
                found[name] = told if split else line
        return found


@dataclass(frozen=True)
class Difference:
    """One case that came out otherwise under the tracer."""

    case: str
    plain: str | None
    traced: str | None

    def __str__(self) -> str:
        return f"{self.case}\n  plain:  {self.plain}\n  traced: {self.traced}"


def environment(**more: str) -> dict[str, str]:
    """Ours, with what makes runs alike."""
    return {**os.environ, "PYTHONHASHSEED": "0", "COLUMNS": "80", **more}


def plain(command: Sequence[str], **options: Any) -> Run:
    """Run it as it is."""
    return _run(command, **options)


def traced(command: Sequence[str], folder: Path, *switches: str, **options: Any) -> Run:
    """Run it under `sockfsm run`, the trace into `folder`."""
    prefix = [sys.executable, "-m", "sockfsm", "run", "--no-capture", "-o", str(folder)]
    run = _run([*prefix, *switches, *command], **options)
    theirs = [
        line for line in run.err.splitlines(True) if not re.fullmatch(SAID, line.rstrip("\n"))
    ]
    return replace(run, err="".join(theirs))


def _run(command: Sequence[str], *, patience: float = PATIENCE, **options: Any) -> Run:
    given = {"env": environment(), "stdin": subprocess.DEVNULL, **options}
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        errors="backslashreplace",
        timeout=patience,
        check=False,
        **given,
    )
    return Run(done.returncode, done.stdout, done.stderr)


def compare(one: Mapping[str, str], other: Mapping[str, str]) -> list[Difference]:
    """The cases in which two runs differ."""
    names = [*one, *(name for name in other if name not in one)]
    return [
        Difference(name, one.get(name), other.get(name))
        for name in names
        if one.get(name) != other.get(name)
    ]


def differences(
    command: Sequence[str], folder: Path, *switches: str, **options: Any
) -> list[Difference]:
    """Where the traced run differs from the plain one, and two plain runs do not."""
    with ThreadPoolExecutor() as pool:
        under = pool.submit(traced, command, folder, *switches, **options)
        first = plain(command, **options).cases()
        found = compare(first, under.result().cases())
    if found:
        # The program itself may be unsteady there: two plain runs tell.
        unsteady = {each.case for each in compare(first, plain(command, **options).cases())}
        found = [each for each in found if each.case not in unsteady]
    return found


def program(name: str, *arguments: str) -> list[str]:
    """The command of one of the programs beside us."""
    return [sys.executable, str(PROGRAMS / f"{name}.py"), *arguments]


def told(found: Iterable[Difference], most: int = 20) -> str:
    """The first of them, for a failing test."""
    lines = [str(each) for each in found]
    rest = f"\n... and {len(lines) - most} more" if len(lines) > most else ""
    return "\n".join(lines[:most]) + rest


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        every = differences(program(*sys.argv[1:]), Path(place, "trace"))
    for each in every:
        print(each)
    print(len(every), "differences")
    sys.exit(bool(every))
