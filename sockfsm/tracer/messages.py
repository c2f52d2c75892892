"""Datagrams and messages with addresses, ancillary data, and files: sendto, recvmsg, sendfile, ..."""

from __future__ import annotations

import _socket
import socket as _stdlib
from collections.abc import Callable
from select import POLLIN, POLLOUT
from sys import _getframe
from typing import Any

from sockfsm.record.layout import NUMBER
from sockfsm.tracer.finish import failed, finished
from sockfsm.tracer.recorder import begin_wait, clock, end_wait, packed
from sockfsm.tracer.sockets import blocks, ready, tracked_by
from sockfsm.tracer.transfer import Socket, buffer_size, ends

Method = Callable[..., Any]
_base = _socket.socket
_sendfile: Any = _stdlib.socket._sendfile_use_sendfile  # type: ignore[attr-defined]


def message_sender(name: str) -> Method:
    """The traced `sendto` or `sendmsg`."""
    method, original = NUMBER[name], getattr(_base, name)

    def send(self: Socket, *args: Any) -> Any:
        tracked, frame, waited = tracked_by(self), _getframe(1), False
        size, address = _outgoing(name, args)
        begin = clock()
        if blocks(tracked) and not ready(self, POLLOUT):
            waited = True
            begin_wait(tracked, method, size, frame)
        try:
            done = original(self, *args)
        except BaseException as error:
            end = clock()
            failed(tracked, method, error, begin, end, size, waited, frame, _noted(address))
            raise
        finally:
            if waited:
                end_wait()
        finished(tracked, method, "ok", begin, clock(), size, done, waited, frame, _noted(address))
        return done

    return send


def _outgoing(name: str, args: tuple[Any, ...]) -> tuple[int, Any]:
    """(bytes, address) of the arguments of sendto or sendmsg; nonsense is the call's own to refuse."""
    if name == "sendto":
        return buffer_size(args[0]) if args else 0, args[-1] if len(args) > 1 else None
    buffers = args[0] if args and isinstance(args[0], (list, tuple)) else ()
    return sum(map(buffer_size, buffers)), args[3] if len(args) > 3 else None


def _noted(address: Any) -> tuple[int, int, int]:
    """A datagram's address always as a note: `done` has its length."""
    if not address:
        return 0, 0, 0
    return packed((address,) if isinstance(address, tuple) else address)


def message_receiver(name: str) -> Method:
    """The traced `recvfrom`, `recvfrom_into`, `recvmsg` or `recvmsg_into`."""
    method, original = NUMBER[name], getattr(_base, name)

    def receive(self: Socket, *args: Any, **kwargs: Any) -> Any:
        tracked, frame, waited = tracked_by(self), _getframe(1), False
        size = _incoming(args[0] if args else kwargs.get("buffer"), args[1:2])
        begin = clock()
        if blocks(tracked) and not ready(self, POLLIN):
            waited = True
            begin_wait(tracked, method, size, frame)
        try:
            result = original(self, *args, **kwargs)
        except BaseException as error:
            failed(tracked, method, error, begin, clock(), size, waited, frame)
            raise
        finally:
            if waited:
                end_wait()
        end = clock()
        done = result[0] if isinstance(result[0], int) else len(result[0])
        outcome = "ok" if done or not size or not ends(self) else "eof"
        address = result[-1] or None
        finished(tracked, method, outcome, begin, end, size, done, waited, frame, _noted(address))
        return result

    return receive


def _incoming(first: Any, second: tuple[Any, ...]) -> int:
    """Room for how many bytes: the first argument is a size, a buffer or a list of buffers."""
    if isinstance(first, int):
        return max(first, 0)
    if isinstance(first, (list, tuple)):
        return sum(map(buffer_size, first))
    if second and isinstance(second[0], int) and second[0] > 0:
        return second[0]
    return buffer_size(first)


def sendfile(self: Socket, file: Any, offset: int = 0, count: int | None = None) -> int:
    """`socket._sendfile_use_sendfile`; where it gives up, `send` is used and traced."""
    tracked, frame, waited = tracked_by(self), _getframe(1), False
    method, begin = NUMBER["sendfile"], clock()
    if blocks(tracked) and not ready(self, POLLOUT):
        waited = True
        begin_wait(tracked, method, count or 0, frame)
    try:
        done: int = _sendfile(self, file, offset, count)
    except BaseException as error:
        if type(error).__name__ != "_GiveupOnSendfile":
            failed(tracked, method, error, begin, clock(), count or 0, waited, frame)
        raise
    finally:
        if waited:
            end_wait()
    finished(tracked, method, "ok", begin, clock(), count or done, done, waited, frame)
    return done
