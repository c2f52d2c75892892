"""send, sendall, recv and recv_into: the calls where every nanosecond counts.

Each tries first with MSG_DONTWAIT where the socket blocks. What cannot be had at once is a wait, and
only then the blocking call is made. The straight path does nothing else than the log needs: one
lookup of the socket, of its next row and of the caller's place, two clocks and one packed record.
Its end is written out in each of them: calling a function for it would cost a tenth of the whole.
"""

from __future__ import annotations

import _socket
import socket as _stdlib
from collections.abc import Callable
from select import POLLIN, POLLOUT
from struct import error as StructError  # noqa: N812
from sys import _getframe
from typing import Any

from sockfsm.record.layout import CALL, MOST, NUMBER, WAITED
from sockfsm.tracer.finish import failed, finished
from sockfsm.tracer.recorder import (
    STRIDE,
    begin_wait,
    clock,
    end_wait,
    log,
    me,
    site_of,
    sites,
    waiting,
)
from sockfsm.tracer.rows import Tracked, step
from sockfsm.tracer.sockets import adopt, ready, records

Socket = _stdlib.socket
Sender = Callable[..., Any]
_send = _socket.socket.send
_pack = CALL.pack_into


def sender(name: str) -> Sender:
    """The traced `send` or `sendall`."""
    method = NUMBER[name]
    original = getattr(_socket.socket, name)
    whole = name == "sendall"

    def send(self: Socket, data: Any, flags: int = 0, /) -> Any:
        try:
            tracked = records[id(self)]
        except KeyError:
            tracked = adopt(self)
        if flags or tracked.first_try <= 0:
            return plain_send(self, tracked, data, flags)
        try:
            size = len(data)
        except TypeError:
            return plain_send(self, tracked, data, flags)
        begin = clock()
        try:
            done = _send(self, data, tracked.first_try)
        except BlockingIOError:
            done = -1
        except BaseException as error:
            failed(tracked, method, error, begin, clock(), size, False, _getframe(1))
            raise
        if done != size:
            return rest(self, tracked, data, begin, done)
        end = clock()
        try:
            head, tracked.row = tracked.row[method]
        except KeyError:
            head = step(tracked, method, "ok")
        frame = _getframe(1)
        try:
            site = sites[id(frame.f_code) + frame.f_lasti * STRIDE] or site_of(frame)
        except KeyError:
            site = site_of(frame)
        memory, slots = log.window
        number, thread = tracked.number, me.number
        try:
            _pack(memory, next(slots), begin, end, head, number, site, thread, size, done)
        except (StopIteration, StructError):
            log.write(begin, end, head, number, site, thread, min(size, MOST), done)
        return None if whole else done

    def plain_send(self: Socket, tracked: Tracked, data: Any, flags: int) -> Any:
        """Unusual flags, a timeout, a socket that never blocks, or data without a length."""
        frame, size, waited = _getframe(2), buffer_size(data), False
        begin = clock()
        if tracked.first_try < 0 and not ready(self, POLLOUT):
            waited = True
            begin_wait(tracked, method, size, frame)
        try:
            done = original(self, data, flags)
        except BaseException as error:
            failed(tracked, method, error, begin, clock(), size, waited, frame)
            raise
        finally:
            if waited:
                end_wait()
        moved = size if whole else done
        finished(tracked, method, "ok", begin, clock(), size, moved, waited, frame)
        return done

    def rest(self: Socket, tracked: Tracked, data: Any, begin: int, done: int) -> Any:
        """Nothing or only a part went out at once: send the rest as a blocking call does."""
        frame = _getframe(2)
        with memoryview(data) as view, view.cast("B") as octets:
            size = len(octets)
            if done == size:
                finished(tracked, method, "ok", begin, clock(), size, size, False, frame)
                return None if whole else size
            begin_wait(tracked, method, size, frame)
            done = max(done, 0)
            try:
                more = original(self, octets[done:])
            except BaseException as error:
                # A blocking send that is cut short after a part tells of the part.
                if whole or not done or not isinstance(error, OSError):
                    failed(tracked, method, error, begin, clock(), size, True, frame)
                    raise
                more = 0
            finally:
                end_wait()
        moved = size if whole else done + more
        finished(tracked, method, "ok", begin, clock(), size, moved, True, frame)
        return None if whole else moved

    return send


def buffer_size(data: Any) -> int:
    """Bytes in a buffer; 0 for what is none, the call itself will say so."""
    try:
        with memoryview(data) as view:
            return view.nbytes
    except TypeError:
        return 0


def receiver() -> Callable[..., Any]:
    """The traced `recv`."""
    method = NUMBER["recv"]
    original = _socket.socket.recv

    def recv(self: Socket, size: int, flags: int = 0, /) -> Any:
        try:
            tracked = records[id(self)]
        except KeyError:
            tracked = adopt(self)
        if flags or tracked.first_try < 0:
            return plain_receive(self, tracked, method, original, size, (size, flags))
        begin = clock()
        try:
            data = original(self, size, tracked.first_try)
        except BlockingIOError as error:
            if not tracked.first_try:
                failed(tracked, method, error, begin, clock(), size, False, _getframe(1))
                raise
            data = None
        except BaseException as error:
            asked = size if isinstance(size, int) else 0
            failed(tracked, method, error, begin, clock(), asked, False, _getframe(1))
            raise
        if data is None:
            return wait(self, tracked, method, original, begin, size, (size,))
        done = len(data)
        end = clock()
        try:
            if done:
                head, tracked.row = tracked.row[method]
            else:
                head = step(tracked, method, "eof" if size and ends(self) else "ok")
        except KeyError:
            head = step(tracked, method, "ok")
        frame = _getframe(1)
        try:
            site = sites[id(frame.f_code) + frame.f_lasti * STRIDE] or site_of(frame)
        except KeyError:
            site = site_of(frame)
        memory, slots = log.window
        number, thread = tracked.number, me.number
        try:
            _pack(memory, next(slots), begin, end, head, number, site, thread, size, done)
        except (StopIteration, StructError):
            log.write(begin, end, head, number, site, thread, min(size, MOST), done)
        return data

    return recv


def filler() -> Callable[..., Any]:
    """The traced `recv_into`; `makefile` reads by it."""
    method = NUMBER["recv_into"]
    original = _socket.socket.recv_into

    def recv_into(self: Socket, buffer: Any, nbytes: int = 0, flags: int = 0) -> Any:
        try:
            tracked = records[id(self)]
        except KeyError:
            tracked = adopt(self)
        if flags or tracked.first_try <= 0:
            size = nbytes or buffer_size(buffer)
            return plain_receive(self, tracked, method, original, size, (buffer, nbytes, flags))
        begin = clock()
        try:
            done = original(self, buffer, nbytes, tracked.first_try)
        except BlockingIOError:
            done = -1
        except BaseException as error:
            failed(tracked, method, error, begin, clock(), 0, False, _getframe(1))
            raise
        end = clock()
        size = nbytes or buffer_size(buffer)
        if done < 0:
            return wait(self, tracked, method, original, begin, size, (buffer, nbytes))
        try:
            if done:
                head, tracked.row = tracked.row[method]
            else:
                head = step(tracked, method, "eof" if size and ends(self) else "ok")
        except KeyError:
            head = step(tracked, method, "ok")
        frame = _getframe(1)
        try:
            site = sites[id(frame.f_code) + frame.f_lasti * STRIDE] or site_of(frame)
        except KeyError:
            site = site_of(frame)
        memory, slots = log.window
        number, thread = tracked.number, me.number
        try:
            _pack(memory, next(slots), begin, end, head, number, site, thread, size, done)
        except (StopIteration, StructError):
            log.write(begin, end, head, number, site, thread, min(size, MOST), done)
        return done

    return recv_into


def wait(
    self: Socket,
    tracked: Tracked,
    method: int,
    original: Callable[..., Any],
    begin: int,
    size: int,
    arguments: tuple[Any, ...],
) -> Any:
    """Nothing had come at the first try: receive as a blocking call does.

    Between waking up and returning lies what delays the program's answer: it is kept short.
    """
    frame = _getframe(2)
    site = begin_wait(tracked, method, size, frame)
    number, thread = tracked.number, me.number
    try:
        result = original(self, *arguments)
    except BaseException as error:
        end_wait()
        failed(tracked, method, error, begin, clock(), size, True, frame)
        raise
    end = clock()
    waiting.pop(thread, None)
    done = result if isinstance(result, int) else len(result)
    try:
        if done:
            head, tracked.row = tracked.row[method]
        else:
            head = step(tracked, method, "eof" if size and ends(self) else "ok")
    except KeyError:
        head = step(tracked, method, "ok")
    memory, slots = log.window
    try:
        _pack(memory, next(slots), begin, end, head | WAITED, number, site, thread, size, done)
    except (StopIteration, StructError):
        log.write(begin, end, head | WAITED, number, site, thread, min(size, MOST), done)
    return result


_type = _socket.socket.type.__get__
_STREAM = int(_stdlib.SOCK_STREAM)


def ends(sock: Socket) -> bool:
    """Whether receiving nothing means the end: on streams; a datagram may be empty."""
    return bool(_type(sock) & 0xF == _STREAM)


def plain_receive(
    self: Socket,
    tracked: Tracked,
    method: int,
    original: Callable[..., Any],
    size: int,
    arguments: tuple[Any, ...],
) -> Any:
    """Unusual flags, or a timeout: whether it has to wait is asked with poll(2)."""
    frame, waited = _getframe(2), False
    begin = clock()
    if tracked.first_try and not ready(self, POLLIN):
        waited = True
        begin_wait(tracked, method, size, frame)
    try:
        result = original(self, *arguments)
    except BaseException as error:
        failed(tracked, method, error, begin, clock(), size, waited, frame)
        raise
    finally:
        if waited:
            end_wait()
    done = result if isinstance(result, int) else len(result)
    outcome = "ok" if done or not size or not ends(self) else "eof"
    finished(tracked, method, outcome, begin, clock(), size, done, waited, frame)
    return result
