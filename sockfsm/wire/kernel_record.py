"""Reads the file that `kernel_states` writes: one line of JSON for each change of a TCP state."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from sockfsm.files import regular
from sockfsm.schema import Natural, Number32, Pid, Port
from sockfsm.wire.kernel_states import KernelState

LONGEST = 4096  # bytes of a line; a longer one is damage

_State = Annotated[str, Meta(pattern=r"\A[A-Z0-9?-]{1,20}\Z")]
_Host = Annotated[str, Meta(pattern=r"\A[0-9a-fA-F.:]{0,45}\Z")]


class _Change(Struct, array_like=True, frozen=True):
    time: Natural
    sock: Number32
    pid: Pid
    before: _State
    after: _State
    source: tuple[_Host, Port]
    target: tuple[_Host, Port]


class _Lost(Struct, frozen=True):
    lost: Natural = 0


_CHANGE = msgspec.json.Decoder(_Change)
_LOST = msgspec.json.Decoder(_Lost)


def read(path: Path, problems: list[str]) -> list[KernelState]:
    """The changes of a file. Adds a line to `problems` for what was lost or cannot be read."""
    states: list[KernelState] = []
    lines: list[str] = []
    damaged = lost = 0
    try:
        with regular(path) as file:
            # A damaged line is passed over: those after it are good. A longer one than LONGEST is
            # read in parts.
            while line := file.readline(LONGEST):
                try:
                    if line.startswith(b"{"):
                        lost += _LOST.decode(line).lost
                    else:
                        change = msgspec.structs.astuple(_CHANGE.decode(line))
                        states.append(KernelState(*change))
                except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
                    damaged += 1
    except OSError as error:
        lines.append(f"{path.name}: cannot be read: {error.strerror}")
    if lost:
        lines.append(f"{lost} of the kernel's changes of state were lost")
    if damaged:
        lines.append(f"{path.name}: {damaged} damaged lines were passed over")
    problems += [problem for problem in lines if problem not in problems]
    return states
