"""What a recording says about itself, in `trace.json`."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct, json

from sockfsm.events import Lost
from sockfsm.files import regular
from sockfsm.schema import Natural, read

LARGEST = 1 << 24


class About(Struct, frozen=True):
    """clock_error: the most, ns, by which the packets' times are wrong. logs: the names of those that
    were there when the program ended. losses: what packets and kernel states lack. The others are
    sentences."""

    capture: str | None = None
    kernel_states: str | None = None
    network: str | None = None
    clock_error: Natural = 0
    logs: list[str] | None = None
    losses: list[Lost] = []


def about(path: Path, problems: list[str]) -> About:
    """The facts; none where there is no such file. What cannot be read is added to `problems`."""
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
    """The text of such a file."""
    return json.encode(facts)
