"""Datagrams and messages with addresses, ancillary data, and files: sendto, recvmsg, sendfile, ..."""

from __future__ import annotations

import _socket
import socket as _stdlib
from collections.abc import Callable
from select import POLLIN, POLLOUT
from typing import Any

from sockfsm.record.layout import NUMBER
from sockfsm.record.writer import UNWATCHED
from sockfsm.tracer.begun import begun
from sockfsm.tracer.buffers import UNKNOWN, all_octets, integer, octets
from sockfsm.tracer.elsewhere import has_descriptors, share
from sockfsm.tracer.flags import flags_of
from sockfsm.tracer.likeness import invoke, like
from sockfsm.tracer.ongoing import foreign
from sockfsm.tracer.sockets import is_stream

Method = Callable[..., Any]
Socket = _stdlib.socket
_base = _socket.socket
_sendfile: Any = _stdlib.socket._sendfile_use_sendfile  # type: ignore[attr-defined]


def message_sender(name: str) -> Method:
    """The traced `sendto` or `sendmsg`."""
    method, original = NUMBER[name], getattr(_base, name)
    at = -1 if name == "sendto" else 3  # the address

    def send(self: Socket, *args: Any, **named: Any) -> Any:
        address = args[at] if 0 < at < len(args) or (at < 0 and len(args) > 1) else None

        def looks() -> tuple[int, int, object]:
            if name == "sendmsg" and len(args) > 1 and has_descriptors(args[1]):
                share()
            return _outgoing(name, args), flags_of(method, args), address

        call = begun(self, method, event=POLLOUT, looks=looks)
        if call is None:
            return original(self, *args, **named)
        try:
            done = invoke(original, args, named, call.frame, self)
        except BaseException as error:
            call.failed(error, lambda: call.session.addresses.noted(address))
            raise
        try:
            call.ok(done, lambda: call.session.addresses.noted(address))
        except BaseException as error:
            if call.watch == UNWATCHED:
                call.session.log.untold.append(None)
            if foreign(error):
                raise
        return done

    return like(send, original)


def _outgoing(name: str, args: tuple[Any, ...]) -> int:
    """Bytes in the arguments of sendto or sendmsg."""
    if not args:
        return UNKNOWN
    return octets(args[0]) if name == "sendto" else all_octets(args[0])


def message_receiver(name: str) -> Method:
    """The traced `recvfrom`, `recvfrom_into`, `recvmsg` or `recvmsg_into`."""
    method, original = NUMBER[name], getattr(_base, name)

    def receive(self: Socket, *args: Any, **named: Any) -> Any:
        def looks() -> tuple[int, int, object]:
            room = _incoming(args[0] if args else named.get("buffer"), args[1:2])
            return room, flags_of(method, args, named), None

        call = begun(self, method, event=POLLIN, looks=looks)
        if call is None:
            return original(self, *args, **named)
        try:
            result = invoke(original, args, named, call.frame, self)
        except BaseException as error:
            call.failed(error)
            raise
        try:
            first = result[0]
            done = first if type(first) is int else len(first)
            outcome = "ok" if done or not call.asked or not is_stream(self) else "eof"
            call.ok(done, lambda: call.session.addresses.noted(result[-1]), outcome)
        except BaseException as error:
            if call.watch == UNWATCHED:
                call.session.log.untold.append(None)
            if foreign(error):
                raise
        return result

    return like(receive, original)


def _incoming(first: Any, second: tuple[Any, ...]) -> int:
    """Room for how many bytes: the first argument is a size, a buffer or a list of buffers."""
    if (size := integer(first)) != UNKNOWN:
        return size
    if type(first) is list or type(first) is tuple:
        return all_octets(first)
    if second and (wanted := integer(second[0])) > 0:
        return wanted
    return octets(first)


def sendfile(self: Socket, file: Any, offset: Any = 0, count: Any = None) -> Any:
    """`socket._sendfile_use_sendfile`; where it gives up, `send` is used and traced."""
    call = begun(self, NUMBER["sendfile"], (count,), POLLOUT)
    if call is None:
        return _sendfile(self, file, offset, count)
    try:
        done = _sendfile(self, file, offset, count)
    except BaseException as error:
        if type(error).__name__ == "_GiveupOnSendfile":
            call.went_on()  # no call of the program's: there is no record of it
        else:
            call.failed(error)
        raise
    try:
        call.asked = max(call.asked, 0) or done
        call.ok(done)
    except BaseException as error:
        if call.watch == UNWATCHED:
            call.session.log.untold.append(None)
        if foreign(error):
            raise
    return done


like(sendfile, _sendfile)
