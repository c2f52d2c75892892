"""Runs programs, given as text, in the simulator."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

from sockfsm.sim.programs.run import Program, Result, Setting, simulate
from sockfsm.sim.programs.scheduler import Scheduler

ECHO_SERVER = """
    import socket
    with socket.create_server(("127.0.0.1", 7000)) as listening:
        data, peer = listening.accept()
        with data:
            while message := data.recv(100):
                data.sendall(message.upper())
"""
ECHO_CLIENT = """
    import socket
    with socket.create_connection(("localhost", 7000)) as sock:
        sock.sendall(b"hello")
        print(sock.recv(100))
"""


def programs(*texts: str) -> list[Program]:
    """Programs `p1.py`, `p2.py`, ..."""
    return [
        Program(f"p{number}.py", file=f"p{number}.py", code=dedent(text))
        for number, text in enumerate(texts, 1)
    ]


def simulated(
    *texts: str, seed: int = 0, scheduler: Scheduler | None = None, **setting: Any
) -> Result:
    """A run of these texts."""
    return simulate(programs(*texts), Setting(seed=seed, **setting), scheduler)


def printed(result: Result, name: str = "") -> list[str]:
    """What the programs, or one of them, have written to stdout."""
    return [line for who, stream, line in result.output if stream == "stdout" and name in ("", who)]


def complaints(result: Result) -> str:
    """What they have written to stderr."""
    return "\n".join(line for _, stream, line in result.output if stream == "stderr")


def methods(result: Result) -> list[str]:
    """The calls of a run, in their order."""
    return [call.method for call in result.trace.calls()]


def files(folder: Path) -> dict[str, bytes]:
    """What a saved trace is, byte for byte."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
