"""The scenarios that ship, and how a scenario is found by its name or path."""

from __future__ import annotations

from pathlib import Path

from sockfsm.errors import UsageError, nearest
from sockfsm.files import regular
from sockfsm.sim.scenario import Scenario, parse

_FOLDER = Path(__file__).parent / "scenarios"
_LARGEST = 1 << 20


def names() -> list[str]:
    """The names of those that ship."""
    return sorted(path.stem for path in _FOLDER.glob("*.txt"))


def load(name: str) -> Scenario:
    """A shipped scenario by its name, or a file. UsageError where there is neither."""
    path = _FOLDER / f"{name}.txt" if name in names() else Path(name)
    try:
        with regular(path) as file:
            data = file.read(_LARGEST + 1)
        text = data.decode()
    except FileNotFoundError:
        offer = nearest(name, names())
        raise UsageError(f"{name}: neither a file nor a scenario that ships: {offer}") from None
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{name}: is no text") from None
    if len(data) > _LARGEST:
        raise UsageError(f"{name}: larger than {_LARGEST} bytes, no scenario is")
    return parse(text, path.name if name in names() else name)
