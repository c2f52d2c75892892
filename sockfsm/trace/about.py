"""What a recording says about itself, in `trace.json`."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct, json

from sockfsm.events import Lost
from sockfsm.files import regular
from sockfsm.schema import Natural, read

LARGEST = 1 << 24


class About(Struct, frozen=True):
    """What `trace.json` says, checked.

    capture, kernel_states, network: a sentence about each. clock_error: by how many ns the packets'
    times may be wrong. strangers: the packets of others may be among them. logs: the names of the logs
    at the end of the program. losses: what is missing of the packets and of the kernel's states.
    """

    capture: str | None = None
    kernel_states: str | None = None
    network: str | None = None
    clock_error: Natural = 0
    strangers: bool = False
    logs: list[str] | None = None
    losses: list[Lost] = []


def about(path: Path, problems: list[str]) -> About:
    """Read the file; empty if there is none. Adds to `problems` what cannot be read."""
    try:
        with regular(path) as file:
            return read(file.read(LARGEST), About)
    except FileNotFoundError:
        return About()
    except OSError as error:
        problem = f"{path.name}: {error.strerror}"
    except ValueError as error:
        problem = f"{path.name}: damaged: {error}"
    if problem not in problems:
        problems.append(problem)
    return About()


def written(facts: About) -> bytes:
    """Write the facts as such a file's content."""
    return json.encode(facts)
