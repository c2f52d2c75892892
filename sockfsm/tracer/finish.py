"""The end of a call: its outcome, the machine's step, the record."""

from __future__ import annotations

from errno import EAGAIN, EINPROGRESS
from struct import error as StructError  # noqa: N812
from types import FrameType

from sockfsm.model.errnos import errno_name
from sockfsm.record.layout import CALL, ERRNO, METHODS, OUTCOME, TIMEOUT, WAITED
from sockfsm.tracer.recorder import STRIDE, amount, log, me, site_of, sites
from sockfsm.tracer.rows import Tracked, step

_pack = CALL.pack_into
_CODE_BITS = 0xFFFF << ERRNO | 7 << OUTCOME


def put(
    tracked: Tracked,
    method: int,
    begin: int,
    end: int,
    frame: FrameType | None,
    asked: int = 0,
    done: int = 0,
    marks: int = 0,
) -> None:
    """The straight way of a call that was taken: move the model, write the record.

    marks: further bits of the head word (the address's form, WAITED).
    """
    try:
        head, tracked.row = tracked.row[method]
    except KeyError:
        head = step(tracked, method, "ok")
    site = 0
    if frame is not None:
        site = sites.get(id(frame.f_code) + frame.f_lasti * STRIDE, 0) or site_of(frame)
    memory, slots = log.window
    head, number, thread = head | marks, tracked.number, me.number
    try:
        _pack(memory, next(slots), begin, end, head, number, site, thread, asked, done)
    except (StopIteration, StructError):
        log.write(begin, end, head, number, site, thread, amount(asked), done)


def finished(
    tracked: Tracked,
    method: int,
    outcome: str,
    begin: int,
    end: int,
    asked: int,
    done: int,
    waited: bool,
    frame: FrameType | None,
    address: tuple[int, int, int] = (0, 0, 0),
) -> None:
    """Move the model and write the record. `address` is `recorder.packed`'s."""
    if outcome == "ok":
        marks = address[0] | WAITED if waited else address[0]
        put(tracked, method, begin, end, frame, address[1] or asked, done | address[2], marks)
        return
    bits = step(tracked, method, outcome) | address[0]
    if waited:
        bits |= WAITED
    log.write(
        begin,
        end,
        bits,
        tracked.number,
        site_of(frame),
        me.number,
        address[1] or amount(asked),
        done | address[2],
    )


def failed(
    tracked: Tracked,
    method: int,
    error: BaseException,
    begin: int,
    end: int,
    asked: int,
    waited: bool,
    frame: FrameType | None,
    address: tuple[int, int, int] = (0, 0, 0),
) -> None:
    """The same for a call that raised."""
    outcome, timeout = outcome_of(error, METHODS[method][1])
    bits = step(tracked, method, outcome) | address[0]
    if timeout:
        number = EINPROGRESS if outcome == "EINPROGRESS" else EAGAIN
        bits = bits & ~_CODE_BITS | number << ERRNO | TIMEOUT << OUTCOME
    if waited:
        bits |= WAITED
    log.write(
        begin,
        end,
        bits,
        tracked.number,
        site_of(frame),
        me.number,
        address[1] or amount(asked),
        address[2],
    )


def outcome_of(error: BaseException, word: str) -> tuple[str, bool]:
    """(the outcome's name in the machine, whether Python's own timeout ended the call)."""
    if not isinstance(error, OSError):
        return "raised", False
    kind = type(error).__name__
    if kind in ("SSLWantReadError", "SSLWantWriteError"):
        return "EAGAIN", False
    if kind in ("SSLZeroReturnError", "SSLEOFError"):
        return "eof", False
    if isinstance(error, TimeoutError) and error.errno is None:
        return ("EINPROGRESS" if word == "connect" else "EAGAIN"), True
    if kind == "gaierror":
        return kind, False
    if type(error).__module__ == "ssl" or error.errno is None:
        return "raised", False
    return errno_name(error.errno), False
