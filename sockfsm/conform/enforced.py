"""Compares enforce mode with the kernel: what it stops, the kernel must refuse with the same errno.

The methods of `socket.socket` get the tracer's guard. Each call reaches the kernel once: through the
guard, or from us if the guard has stopped it. So the tracer's model goes on as in observe mode.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sockfsm.model.errnos import errno_name
from sockfsm.tracer.enforce import enforced

Method = Callable[..., Any]


class Judge:
    """Collects what enforce does wrong.

    wrongs: one line for each mistake. hurried: the kernel was asked without Python's wait for a
    timeout, since the caller last reset it.
    """

    def __init__(self) -> None:
        self.wrongs: list[str] = []
        self.hurried = False

    def compare(self, stopped: str, told: str, said: str, asked: list[str]) -> None:
        """Note if the kernel's one answer is not what the caller was told."""
        if asked != [told]:
            self.wrongs.append(f"{stopped} {told}, {said} {asked[0]}")


_METHODS = (
    *("bind", "listen", "accept", "connect", "connect_ex", "shutdown"),
    *("send", "sendall", "sendto", "sendmsg"),
    *("recv", "recv_into", "recvfrom", "recvfrom_into", "recvmsg", "recvmsg_into"),
)


@contextmanager
def enforcing() -> Iterator[Judge]:
    """Guard the sockets in the block, which must be traced."""
    judge = Judge()
    cls: Any = socket.socket
    own = {name: vars(cls).get(name) for name in _METHODS}
    try:
        for name in _METHODS:
            setattr(cls, name, _watched(name, getattr(cls, name), judge))
        yield judge
    finally:
        for name, method in own.items():
            if method is not None:
                setattr(cls, name, method)
            else:
                delattr(cls, name)


def _watched(name: str, observed: Method, judge: Judge) -> Method:
    """The method `name` with its guard. observed: the tracer's method in observe mode."""
    asked: list[str] = []

    def plainly(self: Any, *args: Any, **named: Any) -> Any:
        try:
            result = observed(self, *args, **named)
        except OSError as error:
            asked.append(_ending(error))
            raise
        asked.append(_ending(result if name == "connect_ex" else 0))
        return result

    guarded = enforced({name: plainly}, lambda _: ())[name]

    def call(self: Any, *args: Any, **named: Any) -> Any:
        asked.clear()
        try:
            result = guarded(self, *args, **named)
        except OSError as error:
            told = _ending(error)
            if asked:
                judge.compare(f"{name}: enforce raises", told, "the kernel said", asked)
                raise
        else:
            told = _ending(result if name == "connect_ex" else 0)
            if asked:
                judge.compare(f"{name}: enforce gives", told, "the kernel said", asked)
                return result
        try:
            with _without_wait(self, judge):
                return plainly(self, *args, **named)
        finally:
            judge.compare(f"{name}: enforce stops it with", told, "the kernel says", asked)

    return call


def _ending(what: object) -> str:
    """An errno's name, `ok`, or the name of an exception that has none."""
    number = what.errno if isinstance(what, OSError) else what
    if isinstance(number, int):
        return errno_name(number) if number else "ok"
    return type(what).__name__


@contextmanager
def _without_wait(sock: socket.socket, judge: Judge) -> Iterator[None]:
    """Make the socket non-blocking: with a timeout Python waits first, which hides a refusal."""
    patience = sock.gettimeout()
    if not patience or sock.fileno() < 0:
        yield
        return
    judge.hurried = True
    sock.settimeout(0.0)
    try:
        yield
    finally:
        if sock.fileno() >= 0:
            sock.settimeout(patience)
