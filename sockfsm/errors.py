"""What sockfsm raises: bad input of ours, and calls that the model refuses."""

from __future__ import annotations


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
