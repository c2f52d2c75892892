"""`ssl`: its sockets read and write the descriptor in C."""

from __future__ import annotations

from collections.abc import Callable
from resource import RUSAGE_THREAD, getrusage
from select import POLLIN, POLLOUT
from types import ModuleType
from typing import Any

from sockfsm.record.layout import METHODS, NUMBER
from sockfsm.tracer.adapters.cooperative import TLS_METHODS, has_tls, running_on
from sockfsm.tracer.adapters.standing_in import caller, named
from sockfsm.tracer.adapters.tls_ends import answers, ended, judged
from sockfsm.tracer.begun import ready
from sockfsm.tracer.buffers import integer, octets
from sockfsm.tracer.ongoing import Ongoing
from sockfsm.tracer.places import inside
from sockfsm.tracer.sockets import tracked_by

Method = Callable[..., Any]


def places(module: ModuleType) -> list[tuple[Any, str, Any]]:
    """The methods of SSLSocket by which all the others move their bytes."""
    inside(module.__file__ or "")
    cls = module.SSLSocket
    return [
        (cls, name, _traced(vars(cls)[name], NUMBER[logged]))
        for name, logged in TLS_METHODS.items()
        if name != "sendall"  # it calls `send`
    ]


def _traced(original: Method, method: int) -> Method:
    receives = METHODS[method][1] == "recv"
    event = POLLOUT if method == NUMBER["ssl.write"] else POLLIN
    talks = method in (NUMBER["ssl.do_handshake"], NUMBER["ssl.unwrap"])

    def tls_call(self: Any, *args: Any, **named: Any) -> Any:
        # Without an SSL object `ssl` makes the plain calls, which are traced as such.
        if not has_tls(self) or running_on(self):
            return original(self, *args, **named)
        tracked = tracked_by(self)
        size = 0 if talks else _size(receives, args, named)
        may_wait = tracked.mode != "nonblocking" and (talks or size != 0)
        words = answers(self._sslobj, METHODS[method][0], size)
        sleeps = getrusage(RUSAGE_THREAD).ru_nvcsw if may_wait else 0
        call = Ongoing(tracked, method, caller(), size)
        if may_wait and not words and not ready(self, event):
            call.waits()
        try:
            result = original(self, *args, **named)
        except BaseException as error:
            _settle(call, may_wait, sleeps)
            told = judged(error, receives, self)
            if told is None:
                call.ok(outcome="eof")
            else:
                call.failed(told)
            raise
        _settle(call, may_wait, sleeps)
        done = 0 if talks else result if type(result) is int else len(result)
        outcome = "eof" if receives and size and not done and ended(self) else "ok"
        call.ok(done, outcome=outcome, words=words)
        return result

    return named(tls_call, original)


def _settle(call: Ongoing, may_wait: bool, sleeps: int) -> None:
    """Whether it did wait: the kernel counts a thread's sleeps. What could be read at first may have
    been a part of a record, or nothing for the program; and what could not, nothing that it needed."""
    if may_wait and getrusage(RUSAGE_THREAD).ru_nvcsw > sleeps:
        call.waits()
    else:
        call.went_on()


def _size(receives: bool, args: tuple[Any, ...], named: dict[str, Any]) -> int:
    """How much `write(data)` or `read(len=1024, buffer=None)` asks for; UNKNOWN: that is hidden."""
    if not receives:
        return octets(args[0] if args else named.get("data"))
    size = integer(args[0] if args else named.get("len", 1024))
    buffer = args[1] if len(args) > 1 else named.get("buffer")
    if buffer is None:
        return size
    room = octets(buffer)
    return size if 0 < size < room else room  # 0 bytes into a buffer are as many as it takes
