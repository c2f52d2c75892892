"""Datagrams and messages with addresses, ancillary data, and files: sendto, recvmsg, sendfile, ..."""

from __future__ import annotations

import _socket
import socket as _stdlib
from collections.abc import Callable
from select import POLLIN, POLLOUT
from typing import Any

from sockfsm.record.layout import NUMBER
from sockfsm.record.writer import UNWATCHED
from sockfsm.tracer.buffers import UNKNOWN, all_octets, integer, octets
from sockfsm.tracer.elsewhere import has_descriptors, share
from sockfsm.tracer.flags import flags_of, words_of
from sockfsm.tracer.handlers import from_handler
from sockfsm.tracer.likeness import invoke, like
from sockfsm.tracer.ongoing import OURS, Ongoing
from sockfsm.tracer.places import caller
from sockfsm.tracer.sockets import is_socket, is_stream, tracked_by, will_wait

Method = Callable[..., Any]
Socket = _stdlib.socket
_base = _socket.socket
_sendfile: Any = _stdlib.socket._sendfile_use_sendfile  # type: ignore[attr-defined]


def message_sender(name: str) -> Method:
    """The traced `sendto` or `sendmsg`."""
    method, original = NUMBER[name], getattr(_base, name)

    def send(self: Socket, *args: Any, **named: Any) -> Any:
        if not is_socket(self):
            return original(self, *args, **named)
        size, address = _outgoing(name, args)
        call = Ongoing(tracked_by(self), method, caller(), size)
        flags = flags_of(method, args)
        words = words_of(flags, size, address)
        if name == "sendmsg" and len(args) > 1 and has_descriptors(args[1]):
            share()
        if will_wait(call, self, POLLOUT, flags):
            call.waits()
        try:
            done = invoke(original, args, named, call.frame, self)
        except BaseException as error:
            call.failed(error, lambda: call.session.addresses.noted(address), words)
            raise
        try:
            call.ok(done, lambda: call.session.addresses.noted(address), words=words)
        except BaseException as error:
            if call.watch == UNWATCHED:
                call.session.log.untold.append(None)
            if not isinstance(error, OURS) or from_handler(error):
                raise
        return done

    return like(send, original)


def _outgoing(name: str, args: tuple[Any, ...]) -> tuple[int, Any]:
    """(bytes, address) of the arguments of sendto or sendmsg."""
    if not args:
        return UNKNOWN, None
    if name == "sendto":
        return octets(args[0]), args[-1] if len(args) > 1 else None
    return all_octets(args[0]), args[3] if len(args) > 3 else None


def message_receiver(name: str) -> Method:
    """The traced `recvfrom`, `recvfrom_into`, `recvmsg` or `recvmsg_into`."""
    method, original = NUMBER[name], getattr(_base, name)

    def receive(self: Socket, *args: Any, **named: Any) -> Any:
        if not is_socket(self):
            return original(self, *args, **named)
        size = _incoming(args[0] if args else named.get("buffer"), args[1:2])
        call = Ongoing(tracked_by(self), method, caller(), size)
        flags = flags_of(method, args, named)
        words = words_of(flags, size)
        if will_wait(call, self, POLLIN, flags):
            call.waits()
        try:
            result = invoke(original, args, named, call.frame, self)
        except BaseException as error:
            call.failed(error, words=words)
            raise
        try:
            first = result[0]
            done = first if type(first) is int else len(first)
            outcome = "ok" if done or not size or not is_stream(self) else "eof"
            call.ok(done, lambda: call.session.addresses.noted(result[-1]), outcome, words)
        except BaseException as error:
            if call.watch == UNWATCHED:
                call.session.log.untold.append(None)
            if not isinstance(error, OURS) or from_handler(error):
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
    call = Ongoing(tracked_by(self), NUMBER["sendfile"], caller(), integer(count))
    if will_wait(call, self, POLLOUT):
        call.waits()
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
        if not isinstance(error, OURS) or from_handler(error):
            raise
    return done


like(sendfile, _sendfile)
