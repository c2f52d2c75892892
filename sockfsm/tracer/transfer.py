"""send, sendall, recv and recv_into: the calls where every nanosecond counts.

Each tries first with MSG_DONTWAIT where the socket blocks. What cannot be had at once is a wait, and
only then the blocking call is made. The fast path takes plain arguments that succeed at once and leave
the state as it is; it does nothing else than the log needs: one lookup of the socket, of its row and of
the caller's place, two clocks and one packed record. It is written out in each of them: calling a
function for it would cost a tenth of the whole. Everything else goes through `Ongoing`.
"""

from __future__ import annotations

import _socket
import socket as _stdlib
from collections import deque
from collections.abc import Callable
from select import POLLIN, POLLOUT
from struct import error as StructError  # noqa: N812
from sys import _getframe
from types import FrameType
from typing import Any

from sockfsm.record.clocks import Clocks
from sockfsm.record.layout import CALL, NUMBER
from sockfsm.record.writer import UNWATCHED, Log, programs
from sockfsm.tracer import current
from sockfsm.tracer.begun import begun, will_wait
from sockfsm.tracer.buffers import UNKNOWN, integer, octets
from sockfsm.tracer.current import Session
from sockfsm.tracer.flags import flags_of
from sockfsm.tracer.graves import Grave
from sockfsm.tracer.handlers import from_handler
from sockfsm.tracer.likeness import invoke, like
from sockfsm.tracer.ongoing import OURS, Ongoing, foreign
from sockfsm.tracer.places import STRIDE, caller
from sockfsm.tracer.rows import QUICK, Row, Tracked
from sockfsm.tracer.sending import send_rest
from sockfsm.tracer.sockets import bury, is_stream
from sockfsm.tracer.threads import Me

Socket = _stdlib.socket
Method = Callable[..., Any]
_fileno = _socket.socket.fileno
_NONE: Any = object()
gone: deque[Grave]
records: dict[int, Tracked]
sites: dict[int, int]
log: Log
me: Me
_NOT_READY = (KeyError, ValueError, StructError, *OURS)
"""What keeps the fast path from writing its record: no row, no place, no frame, no slot, no memory."""


def use(session: Session) -> None:
    """Take the fast path's tables from this session.

    They are globals of this module, as nothing is looked up faster. A call may find its socket in one
    session and the log of the next: a session that ends gives each of its models another row, so that
    such a call goes through `Ongoing`, which knows whose it is.
    """
    global gone, records, sites, log, me
    gone, records, sites = session.gone, session.records, session.sites
    log, me = session.log, session.me


use(current.session)


def interrupts(error: BaseException) -> bool:
    """Whether what came out of the fast path is the program's: its signal handler, another thread of
    it or Ctrl-C raised it. Audit hooks do not count."""
    traceback = error.__traceback__
    if traceback is not None and traceback.tb_next is not None:
        return programs(error)
    return not isinstance(error, _NOT_READY)


def given(first: Any, second: Any, rest: tuple[Any, ...]) -> tuple[Any, ...]:
    """The positional arguments as the program gave them."""
    if first is _NONE:
        return ()
    return (first, *rest) if second is _NONE else (first, second, *rest)


def sender(name: str) -> Method:
    """The traced `send` or `sendall`."""
    method = NUMBER[name]
    original, once = getattr(_socket.socket, name), _socket.socket.send
    whole = name == "sendall"
    now, pack, octet, array, key_of = Clocks.monotonic, CALL.pack_into, bytes, bytearray, id

    def send(
        self: Socket, data: Any = _NONE, flags: Any = _NONE, /, *rest: Any, **named: Any
    ) -> Any:
        if gone:
            bury(current.session)
        try:
            tracked = records[key_of(self)]
        except KeyError:
            tracked = None
        kind = type(data)
        if (
            tracked is None
            or tracked.first_try <= 0
            or flags is not _NONE
            or named
            or (kind is not octet and kind is not array)
        ):
            return slowly(self, given(data, flags, rest), named, caller())
        model = tracked.model
        row, size = model.row, len(data)
        begin = now()
        try:
            done = once(self, data, tracked.first_try)
        except BaseException as error:
            if type(error) is not BlockingIOError or from_handler(error):
                refused(error, tracked, method, size, begin, row)
                raise
            done = -1
        if done == size:
            slot = -1
            try:
                end = now()
                frame = _getframe(1)
                head, after = row[method]
                site = sites[key_of(frame.f_code) + frame.f_lasti * STRIDE]
                if site and after is row and model.row is row:
                    memory, slots = log.window
                    number, thread = model.number, me.number
                    # No call: no handler comes between the taking of a slot and its use.
                    for slot in slots:
                        pack(memory, slot, begin, end, head, number, site, thread, size, done)
                        return None if whole else done
            except BaseException as error:
                # A row or a place that was not met yet is the common case: nothing is called for it.
                if (
                    type(error) is not KeyError or error.__traceback__.tb_next  # type: ignore[union-attr]
                ) and interrupts(error):
                    if slot < 0:
                        log.untold.append(None)
                    raise
                # Not ready for the fast path: written below.
        if done == size:
            call = None
            try:
                call = Ongoing(tracked, method, caller(), size, begin, row)
                call.ok(done)
            except BaseException as error:
                if call is None or call.watch == UNWATCHED:
                    log.untold.append(None)
                if foreign(error):
                    raise
            return None if whole else done
        return go_on(self, waited(tracked, method, size, begin, row), data, done)

    def slowly(self: Socket, args: tuple[Any, ...], named: Any, frame: FrameType | None) -> Any:
        """Other arguments, another blocking mode, or a socket that nobody has met."""
        plain = len(args) == 1 and not named

        def looks() -> tuple[int, int, object]:
            return octets(args[0]) if args else UNKNOWN, flags_of(method, args, named), None

        call = begun(self, method, looks=looks, frame=frame)
        if call is None:
            return original(self, *args, **named)
        tracked, size = call.tracked, call.asked
        if plain and size >= 0 and tracked.first_try > 0:
            try:
                done = once(self, args[0], tracked.first_try)
            except BaseException as error:
                if type(error) is not BlockingIOError or from_handler(error):
                    call.failed(error)
                    raise
                done = -1
            if done != size:
                call.waits()
                return go_on(self, call, args[0], done)
            result: Any = None if whole else done
        else:
            foresee(self, call, args, named)
            try:
                result = invoke(original, args, named, frame, self)
            except BaseException as error:
                call.failed(error)
                raise
        try:
            call.ok(size if whole else result)
        except BaseException as error:
            if call.watch == UNWATCHED:
                call.session.log.untold.append(None)
            if foreign(error):
                raise
        return result

    def foresee(self: Socket, call: Ongoing, args: tuple[Any, ...], named: Any) -> None:
        """Whether it will wait, as far as that can be told before."""
        try:
            if will_wait(call, self, POLLOUT, flags_of(method, args, named)):
                call.waits()
            elif whole and call.tracked.mode != "nonblocking":
                call.counts()  # what does not fit at once is waited for inside the call
        except OURS as error:
            if foreign(error):
                raise

    def go_on(self: Socket, call: Ongoing | None, data: Any, done: int) -> Any:
        """Nothing or only a part went out at once: send the rest as a blocking call does."""
        try:
            if whole:
                with memoryview(data) as view, view.cast("B") as rest:
                    original(self, rest[max(done, 0) :])
                    done = rest.nbytes
            elif done < 0:
                done = once(self, data)
            else:
                # A blocking send that a signal cuts short after a part tells of the part.
                with memoryview(data) as view, view.cast("B") as rest:
                    done += send_rest(_fileno(self), bytes(rest[done:]))
        except BaseException as error:
            if call is not None:
                call.failed(error)
            raise
        try:
            if call is not None:
                call.ok(done)
        except BaseException as error:
            if call is not None and call.watch == UNWATCHED:
                call.session.log.untold.append(None)
            if foreign(error):
                raise
        return None if whole else done

    return like(send, original)


def receiver() -> Method:
    """The traced `recv`."""
    method = NUMBER["recv"]
    original = _socket.socket.recv
    now, pack, whole, key_of = Clocks.monotonic, CALL.pack_into, int, id
    unblocked = method ^ QUICK["nonblocking"]

    def recv(
        self: Socket, size: Any = _NONE, flags: Any = _NONE, /, *rest: Any, **named: Any
    ) -> Any:
        if gone:
            bury(current.session)
        try:
            tracked = records[key_of(self)]
        except KeyError:
            tracked = None
        if (
            tracked is None
            or tracked.first_try < 0
            or flags is not _NONE
            or named
            or type(size) is not whole
            or size <= 0
        ):
            args = given(size, flags, rest)
            return receive(self, method, original, args, named, caller(), integer(size))
        model = tracked.model
        row = model.row
        begin = now()
        try:
            data = original(self, size, tracked.first_try)
        except BlockingIOError as error:
            if not tracked.first_try or from_handler(error):
                refused(error, tracked, method, size, begin, row)
                raise
            data = None
        except BaseException as error:
            refused(error, tracked, method, size, begin, row)
            raise
        if data:
            slot = -1
            try:
                end = now()
                frame = _getframe(1)
                head, after = row[method if tracked.first_try else unblocked]
                site = sites[key_of(frame.f_code) + frame.f_lasti * STRIDE]
                if site and after is row and model.row is row:
                    memory, slots = log.window
                    number, thread, done = model.number, me.number, len(data)
                    # No call: no handler comes between the taking of a slot and its use.
                    for slot in slots:
                        pack(memory, slot, begin, end, head, number, site, thread, size, done)
                        return data
            except BaseException as error:
                # A row or a place that was not met yet is the common case: nothing is called for it.
                if (
                    type(error) is not KeyError or error.__traceback__.tb_next  # type: ignore[union-attr]
                ) and interrupts(error):
                    if slot < 0:
                        log.untold.append(None)
                    raise
                # Not ready for the fast path: written below.
        if data is None:
            call = waited(tracked, method, size, begin, row)
            return wait(self, call, original, (size,))
        told = None
        try:
            told = Ongoing(tracked, method, caller(), size, begin, row)
            received(self, told, len(data))
        except BaseException as error:
            if told is None or told.watch == UNWATCHED:
                log.untold.append(None)
            if foreign(error):
                raise
        return data

    return like(recv, original)


def filler() -> Method:
    """The traced `recv_into`; `makefile` reads by it."""
    method = NUMBER["recv_into"]
    original = _socket.socket.recv_into
    now, pack, view, array, key_of = Clocks.monotonic, CALL.pack_into, memoryview, bytearray, id

    def recv_into(self: Socket, *args: Any, **named: Any) -> Any:
        if gone:
            bury(current.session)
        try:
            tracked = records[key_of(self)]
        except KeyError:
            tracked = None
        size = 0
        if len(args) == 1 and not named:
            (buffer,) = args
            kind = type(buffer)
            if kind is array:
                size = len(buffer)
            elif kind is view:
                size = octets(buffer)
        if tracked is None or tracked.first_try <= 0 or size <= 0:
            size = octets(args[0]) if args else UNKNOWN
            if len(args) > 1 and (wanted := integer(args[1])) > 0:
                size = wanted
            return receive(self, method, original, args, named, caller(), size)
        model = tracked.model
        row = model.row
        begin = now()
        try:
            done = original(self, buffer, 0, tracked.first_try)
        except BaseException as error:
            if type(error) is not BlockingIOError or from_handler(error):
                refused(error, tracked, method, size, begin, row)
                raise
            done = -1
        if done > 0:
            slot = -1
            try:
                end = now()
                frame = _getframe(1)
                head, after = row[method]
                site = sites[key_of(frame.f_code) + frame.f_lasti * STRIDE]
                if site and after is row and model.row is row:
                    memory, slots = log.window
                    number, thread = model.number, me.number
                    # No call: no handler comes between the taking of a slot and its use.
                    for slot in slots:
                        pack(memory, slot, begin, end, head, number, site, thread, size, done)
                        return done
            except BaseException as error:
                # A row or a place that was not met yet is the common case: nothing is called for it.
                if (
                    type(error) is not KeyError or error.__traceback__.tb_next  # type: ignore[union-attr]
                ) and interrupts(error):
                    if slot < 0:
                        log.untold.append(None)
                    raise
                # Not ready for the fast path: written below.
        if done < 0:
            call = waited(tracked, method, size, begin, row)
            return wait(self, call, original, args)
        told = None
        try:
            told = Ongoing(tracked, method, caller(), size, begin, row)
            received(self, told, done)
        except BaseException as error:
            if told is None or told.watch == UNWATCHED:
                log.untold.append(None)
            if foreign(error):
                raise
        return done

    return like(recv_into, original)


def receive(
    self: Socket,
    method: int,
    original: Method,
    args: tuple[Any, ...],
    named: dict[str, Any],
    frame: FrameType | None,
    size: int,
) -> Any:
    """Receive with other arguments or in another mode: poll(2) is asked whether it has to wait."""

    def looks() -> tuple[int, int, object]:
        return size, flags_of(method, args, named), None

    call = begun(self, method, event=POLLIN if size else 0, looks=looks, frame=frame)
    if call is None:
        return original(self, *args, **named)
    try:
        result = invoke(original, args, named, frame, self)
    except BaseException as error:
        call.failed(error)
        raise
    try:
        received(self, call, result if type(result) is int else len(result))
    except BaseException as error:
        if call.watch == UNWATCHED:
            call.session.log.untold.append(None)
        if foreign(error):
            raise
    return result


def wait(self: Socket, call: Ongoing | None, original: Method, args: tuple[Any, ...]) -> Any:
    """Nothing had come at the first try: receive as a blocking call does."""
    if call is None:
        return original(self, *args)
    try:
        result = original(self, *args)
    except BaseException as error:
        call.failed(error)
        raise
    try:
        received(self, call, result if type(result) is int else len(result))
    except BaseException as error:
        if call.watch == UNWATCHED:
            call.session.log.untold.append(None)
        if foreign(error):
            raise
    return result


def waited(tracked: Tracked, method: int, size: int, begin: int, row: Row) -> Ongoing | None:
    """A call that could not go on at once; None, told as lost, where there is no memory for it."""
    try:
        call = Ongoing(tracked, method, caller(3), size, begin, row)
        call.waits()
    except OURS as error:
        tracked.session.log.marked[0] = 1
        if foreign(error):
            raise
        return None
    return call


def refused(
    error: BaseException, tracked: Tracked, method: int, size: int, begin: int, row: Row
) -> None:
    """Write down that the kernel refused a call of the fast path."""
    try:
        Ongoing(tracked, method, caller(3), size, begin, row).failed(error)
    except OURS as other:
        tracked.session.log.marked[0] = 1
        if foreign(other):
            raise


def received(self: Socket, call: Ongoing, done: int) -> None:
    """A receiving call gave `done` bytes. None, where some were asked for, are the end of a stream."""
    end = not done and call.asked != 0 and is_stream(self)
    call.ok(done, outcome="eof" if end else "ok")
