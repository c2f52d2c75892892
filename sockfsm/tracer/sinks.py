"""Somebody who listens while the program runs: callables that get every finished call.

A sink that fails is switched off and reported; it never breaks the program.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from sockfsm.record.writer import Fields, programs
from sockfsm.tracer.current import Session

if TYPE_CHECKING:
    from sockfsm.events import Call

_THREADS = 64
Sink = Callable[["Call"], Any]


def feed(session: Session, sinks: Iterable[Sink] | None) -> list[Sink]:
    """Have `sinks` told of the session's calls (None: the `sockfsm` logger, if somebody listens)."""
    chosen = _default() if sinks is None else list(sinks)
    if not chosen:
        return chosen
    from sockfsm.trace.decode import Decoder

    decoder = Decoder("live", {})
    busy, living = threading.local(), session.threads.living

    def listener(fields: Fields) -> None:
        try:
            call = decoder.record(fields)
        except Exception as error:
            if programs(error):
                raise
            return
        if call is None:
            return
        # A sink's own sockets are not told to it.
        if not getattr(busy, "on", False):
            busy.on = True
            try:
                _tell(call)
            finally:
                busy.on = False
        decoder.forget(call)

    def _tell(call: Call) -> None:
        for sink in list(chosen):
            try:
                sink(call)
            except Exception as error:  # noqa: BLE001 - whatever it is, the program goes on
                # Not `remove`: another thread's call may have had the same fate just now.
                chosen[:] = [each for each in chosen if each is not sink]
                name = getattr(sink, "__qualname__", None) or type(sink).__name__
                session.report(f"sink {name} is switched off: {type(error).__name__}: {error}")

    def note_listener(note: dict[str, object]) -> None:
        try:
            decoder.note(note)
            if "thread" in note and len(decoder.process.threads) > 2 * len(living) + _THREADS:
                decoder.threads_live(living)
        except Exception as error:
            if programs(error):
                raise
            # One note less: the calls that it is about are told without it.

    session.log.listen(listener, note_listener)
    return chosen


def _default() -> list[Sink]:
    # Nobody can have asked for the logger's messages who has not imported logging.
    logging = sys.modules.get("logging")
    if logging is None:
        return []
    logger = logging.getLogger("sockfsm")
    return [to_logger] if logger.isEnabledFor(logging.INFO) else []


def to_logger(call: Call) -> None:
    """Tell the `sockfsm` logger: DEBUG for a call, INFO when the state changed, WARNING when it was
    refused or the model has no explanation."""
    import logging

    logger = logging.getLogger("sockfsm")
    if call.refused or not call.explained:
        level = logging.WARNING
    elif call.moved:
        level = logging.INFO
    else:
        level = logging.DEBUG
    if logger.isEnabledFor(level):
        logger.log(level, "%s", line(call), extra={"sockfsm_call": call})


def line(call: Call) -> str:
    """A call in one line of text."""
    socket = f"{call.socket.kind} {call.socket.identity} " if call.socket else ""
    states = f" {call.before} -> {call.after}" if call.moved else f" in {call.before or '-'}"
    address = f" {call.address!r}" if call.address is not None else ""
    moved = f" {call.done} bytes" if call.call in ("send", "recv") and call.outcome == "ok" else ""
    waited = f" after {(call.end - call.begin) / 1e6:.3f} ms" if call.waited else ""
    marks = "" if call.explained else " UNEXPLAINED by the machine"
    ended = f"{call.outcome}{moved}{waited}{states}"
    return f"{socket}{call.method}{address} = {ended} at {call.site}{marks}"
