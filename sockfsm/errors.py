"""What sockfsm raises: bad input of ours, and calls that the model refuses."""

from __future__ import annotations

from collections.abc import Iterable


class SockfsmError(Exception):
    """Base of the errors that one line explains; the command line prints them and exits with 2."""


class UsageError(SockfsmError):
    """An argument that cannot be taken: says what is wrong and what to do."""


class TraceError(SockfsmError):
    """A trace that is missing or damaged: says which file and where."""


class DrawingError(SockfsmError):
    """A picture that cannot be drawn or written: says why and what to install or choose."""


class OutOfOrderError(SockfsmError):
    """A message that a protocol's machine refuses in this state: it was not sent."""


def nearest(word: str, names: Iterable[str]) -> str:
    """What to say of a name that is none: the names nearest to it, or all of them if they are few."""
    from difflib import get_close_matches

    known = {name.lower(): name for name in names}
    near = [known[name] for name in get_close_matches(word.lower(), known)]
    if near:
        return f"did you mean {', '.join(near[:-1])}{' or ' * (len(near) > 1)}{near[-1]}?"
    listed = list(known.values())
    more = f" and {len(listed) - _LISTED} more" if len(listed) > _LISTED else ""
    return f"there are {', '.join(listed[:_LISTED])}{more}"


_LISTED = 24
