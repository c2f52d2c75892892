"""The other methods of a socket, traced: naming, options, shutting down, closing.

Each gives the original the very arguments that the program gave, and looks at them only afterwards or
by their exact types: what the program's classes do is the program's business, once.
"""

from __future__ import annotations

import _socket
import os
import socket as _stdlib
from collections.abc import Callable
from typing import Any

from sockfsm.record.layout import NUMBER
from sockfsm.record.writer import UNWATCHED
from sockfsm.tracer import current
from sockfsm.tracer.adapters import adapt
from sockfsm.tracer.begun import begun
from sockfsm.tracer.buffers import UNKNOWN, integer
from sockfsm.tracer.connecting import accept, connector, in_accept, name_of
from sockfsm.tracer.current import Session
from sockfsm.tracer.likeness import invoke, like, own
from sockfsm.tracer.messages import message_receiver, message_sender, sendfile
from sockfsm.tracer.ongoing import OURS, Ongoing, foreign
from sockfsm.tracer.places import caller
from sockfsm.tracer.rows import Model, Tracked, step
from sockfsm.tracer.sockets import (
    UNBORN,
    Birth,
    adjust,
    begin_birth,
    born,
    bury,
    claim,
    described,
    forget,
    gives_away,
    is_socket,
    note_names,
    note_path,
    objects,
    register,
    released,
    stillborn,
    tracked_by,
)
from sockfsm.tracer.transfer import filler, receiver, sender

Method = Callable[..., Any]
Socket = _stdlib.socket
_Socket = _stdlib.socket
_base = _socket.socket
_fileno = _base.fileno
# As the standard library has them: a class of the program's may look at each look at an attribute.
_io_refs = _Socket.__dict__["_io_refs"].__get__
_closed = _Socket.__dict__["_closed"].__get__
_fsencode = os.fsencode
_ABSTRACT = "abstract"
_AUTO = "auto"
_SOL_SOCKET, _SO_ERROR, _SO_RCVLOWAT = _stdlib.SOL_SOCKET, _stdlib.SO_ERROR, _stdlib.SO_RCVLOWAT
SHUTDOWN = {
    int(_stdlib.SHUT_RD): NUMBER["shutdown(SHUT_RD)"],
    int(_stdlib.SHUT_WR): NUMBER["shutdown(SHUT_WR)"],
    int(_stdlib.SHUT_RDWR): NUMBER["shutdown(SHUT_RDWR)"],
}
CLOSE = NUMBER["close"]


_plain: dict[str, Any] = {
    name: own(name)
    for name in (
        *("__init__", "_real_close", "bind", "close", "detach"),
        *("dup", "getsockopt", "listen", "setblocking", "setsockopt", "settimeout", "shutdown"),
    )
}
_plain_init = _plain["__init__"]
_plain_close, _plain_real_close = _plain["close"], _plain["_real_close"]


def init(
    self: Socket, family: Any = -1, type: Any = -1, proto: Any = -1, fileno: Any = None
) -> None:
    birth = begin_birth(current.session)
    try:
        _plain_init(self, family, type, proto, fileno)
    except OSError as error:
        if fileno is None and birth is not None:
            stillborn(birth, error, (family, type, proto))
        raise
    if birth is None:
        return
    try:
        _made(birth, self, fileno)
    except BaseException as error:
        if birth.watch == UNWATCHED:
            birth.session.log.untold.append(None)
        if foreign(error):
            raise


def _made(birth: Birth, self: Socket, fileno: Any) -> None:
    session, frame = birth.session, birth.frame
    birth.ended()
    if fileno is None:
        session.unclaimed.pop(_fileno(self), None)
        birth.method = NUMBER["socket"]
        born(birth, self)
        return
    # ssl and multiprocessing may have been imported since tracing began.
    adapt()
    if in_accept(frame, _fileno(self)):
        bury(session)
        # Its record follows that of the accept().
        model = Model(UNBORN, described(session, self)[0].initial, session.shared)
        register(session, self, model)
        birth.watch = None
    else:
        claim(birth, self)


def bind(self: Socket, *args: Any, **named: Any) -> Any:
    plain = _plain["bind"]
    call = begun(self, NUMBER["bind"])
    if call is None:
        return plain(self, *args, **named)
    address = args[0] if args else None
    try:
        invoke(plain, args, named, call.frame, self)
    except BaseException as error:
        call.failed(error, lambda: call.session.addresses.packed(address))
        raise
    try:
        _bound(self, call, address)
    except BaseException as error:
        if call.watch == UNWATCHED:
            call.session.log.untold.append(None)
        if foreign(error):
            raise
    return None


def _bound(self: Socket, call: Ongoing, address: Any) -> None:
    """A bind() that succeeded."""
    session, model = call.session, call.tracked.model
    packed = session.addresses.packed
    if session.me.missing is not None:
        _missing_before(session, model, address)
    session.me.resolved = False
    if type(address) is tuple:
        # The kernel's answer: the port it chose for 0, the number of a host name.
        name = packed(address, name_of(self))
        call.ok(address=lambda: name)
        if not name[1]:
            note_names(session, self, model)
    elif _abstract(address):
        call.ok(address=lambda: packed(address), words=_ABSTRACT if address else _AUTO)
    else:
        path = _path(address)
        if path is not None:
            note_path(session, path, model)
        call.ok(address=lambda: packed(address))


def _abstract(address: Any) -> bool:
    """Whether a UNIX name is in the kernel alone: it begins with a zero, or the kernel chose it."""
    kind_ = type(address)
    # One type at a time: under `python -b` comparing bytes with text is an error.
    return (kind_ is str and address[:1] in ("", "\0")) or (
        kind_ is bytes and address[:1] in (b"", b"\0")
    )


def _path(address: Any) -> bytes | None:
    """A UNIX path as the file system has it."""
    kind_ = type(address)
    if kind_ is str:
        return _fsencode(address)
    return bytes(address) if kind_ is bytes or kind_ is bytearray else None


def _missing_before(session: Session, model: Model, address: Any) -> None:
    """An unlink that found nothing, just before this bind to the same path, was the removal of a
    stale name: log it now that this is known."""
    missing, session.me.missing = session.me.missing, None
    if missing is None or type(address) is tuple or _fsencode(missing[0]) != _path(address):
        return
    bits, _ = step(model.row.kind.initial, NUMBER["unlink"], "ENOENT", "")
    form, _, done = session.addresses.packed(missing[0])
    thread = session.me.number
    session.log.write(missing[1], missing[2], bits | form, 0, missing[3], thread, 0, done)


def listen(self: Socket, *args: Any, **named: Any) -> Any:
    plain = _plain["listen"]
    call = begun(self, NUMBER["listen"], args)
    if call is None:
        return plain(self, *args, **named)
    unbound = call.row.state == "CREATED"
    try:
        invoke(plain, args, named, call.frame, self)
    except BaseException as error:
        call.failed(error)
        raise
    try:
        call.ok()
        if unbound:
            note_names(call.session, self, call.tracked.model)
    except BaseException as error:
        if call.watch == UNWATCHED:
            call.session.log.untold.append(None)
        if foreign(error):
            raise
    return None


def shutdown(self: Socket, *args: Any, **named: Any) -> Any:
    plain = _plain["shutdown"]
    how = integer(args[0]) if len(args) == 1 else UNKNOWN
    call = begun(self, SHUTDOWN[how], args) if how in SHUTDOWN else None
    if call is None:
        return invoke(plain, args, named, caller(), self)
    try:
        invoke(plain, args, named, call.frame, self)
    except BaseException as error:
        call.failed(error)
        raise
    try:
        call.ok()
    except BaseException as error:
        if call.watch == UNWATCHED:
            call.session.log.untold.append(None)
        if foreign(error):
            raise
    return None


def getsockopt(self: Socket, *args: Any, **named: Any) -> Any:
    """Only SO_ERROR is a call of the machine: it takes the pending error away."""
    plain = _plain["getsockopt"]
    asks = len(args) == 2 and _asks(args, _SO_ERROR)
    call = begun(self, NUMBER["getsockopt(SO_ERROR)"]) if asks else None
    if call is None:
        return invoke(plain, args, named, caller(), self)
    try:
        value = invoke(plain, args, named, call.frame, self)
    except BaseException as error:
        call.failed(error)
        raise
    try:
        if value:
            call.failed(OSError(value, ""))
        else:
            call.ok()
    except BaseException as error:
        if call.watch == UNWATCHED:
            call.session.log.untold.append(None)
        if foreign(error):
            raise
    return value


def setsockopt(self: Socket, *args: Any, **named: Any) -> Any:
    """SO_RCVLOWAT lets a blocking call wait for more than trying without waiting would take."""
    result = invoke(_plain["setsockopt"], args, named, caller(), self)
    try:
        if len(args) > 2 and _asks(args, _SO_RCVLOWAT):
            tracked = tracked_by(self)
            tracked.model.lowat = True
            for each in objects(tracked.session, tracked.model):
                adjust(each, tracked_by(each))
    except OURS:
        current.session.log.marked[0] = 1
    return result


def _asks(args: tuple[Any, ...], option: int) -> bool:
    return integer(args[0]) == _SOL_SOCKET and integer(args[1]) == option


def close(self: Socket) -> None:
    """The logical close; with `makefile` objects open nothing is closed yet."""
    if is_socket(self) and _io_refs(self) > 0 and not _closed(self):
        call = begun(self, CLOSE)
        if call is not None:
            call.ok(outcome="deferred")
    _plain_close(self)


def real_close(self: Socket, *args: Any, **named: Any) -> Any:
    """The real close: the descriptor goes back to the kernel."""
    call = begun(self, CLOSE)
    if call is None:
        return _plain_real_close(self, *args, **named)
    again, tracked = _fileno(self) < 0, call.tracked
    try:
        _plain_real_close(self, *args, **named)
    except BaseException as error:
        call.failed(error)
        raise
    try:
        if again or not tracked.open:
            call.ok()
        else:
            released(tracked, call)
    except BaseException as error:
        if call.watch == UNWATCHED:
            call.session.log.untold.append(None)
        if foreign(error):
            raise
    return None


def detach(self: Socket) -> Any:
    call = begun(self, NUMBER["detach"])
    if call is None:
        return _plain["detach"](self)
    try:
        adapt()
        gives_away(self, call.tracked)
    except OURS as error:
        if foreign(error):
            raise
    descriptor = _plain["detach"](self)
    try:
        _detached(call.tracked, call, descriptor)
    except BaseException as error:
        if call.watch == UNWATCHED:
            call.session.log.untold.append(None)
        if foreign(error):
            raise
    return descriptor


def _detached(tracked: Tracked, call: Ongoing, descriptor: int) -> None:
    """An object that has given its descriptor away."""
    if descriptor < 0 or not tracked.open:
        call.ok()
        return
    model, row = tracked.model, call.row
    tracked.open = False
    twin = call.session.holders.get(descriptor)
    if twin is not None and twin is not tracked and twin.model is model and twin.open:
        # ssl makes its own object on the same descriptor: that one goes on with the model.
        call.ok(outcome="deferred")
        return
    model.descriptors -= 1
    if model.descriptors > 0:
        call.ok(outcome="deferred")
    else:
        forget(call.session, model)
        call.ok()
    call.session.unclaimed[descriptor] = model, row


def dup(self: Socket) -> Any:
    me = current.session.me
    try:
        if is_socket(self):
            tracked = tracked_by(self)
            gives_away(self, tracked)
            me.expected = tracked.model
    except OURS as error:
        # Whose twin the new one is will be found out as if it came from elsewhere.
        if foreign(error):
            raise
    try:
        return _plain["dup"](self)
    finally:
        try:
            me.expected = None
        except OURS as error:  # where greenlets have numbers, Python code runs here
            current.session.log.marked[0] = 1
            if foreign(error):
                raise


def moded(name: str) -> Method:
    """`settimeout` or `setblocking`, followed."""
    plain = _plain[name]

    def change(self: Socket, *args: Any, **named: Any) -> Any:
        result = invoke(plain, args, named, caller(), self)
        try:
            adjust(self, tracked_by(self))
        except OURS:
            current.session.log.marked[0] = 1
        return result

    return change


METHODS_TRACED: dict[str, Method] = {
    "__init__": init,
    "bind": bind,
    "listen": listen,
    "accept": accept,
    "connect": connector("connect"),
    "connect_ex": connector("connect_ex"),
    "send": sender("send"),
    "sendall": sender("sendall"),
    "sendto": message_sender("sendto"),
    "sendmsg": message_sender("sendmsg"),
    "_sendfile_use_sendfile": sendfile,
    "recv": receiver(),
    "recv_into": filler(),
    "recvfrom": message_receiver("recvfrom"),
    "recvfrom_into": message_receiver("recvfrom_into"),
    "recvmsg": message_receiver("recvmsg"),
    "recvmsg_into": message_receiver("recvmsg_into"),
    "shutdown": shutdown,
    "getsockopt": getsockopt,
    "setsockopt": setsockopt,
    "close": close,
    "_real_close": real_close,
    "detach": detach,
    "dup": dup,
    "setblocking": moded("setblocking"),
    "settimeout": moded("settimeout"),
}
"""Attribute of `socket.socket` -> what stands in its place while it is traced."""

for _name, _method in METHODS_TRACED.items():
    like(_method, own(_name))
