"""Calls told while the program runs: the `sockfsm` logger, sinks of one's own, sinks that fail."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

import sockfsm
from sockfsm.events import Call
from sockfsm.record.writer import Fields


def call_of(record: logging.LogRecord) -> Call:
    call: Call = vars(record)["sockfsm_call"]
    return call


def pair() -> None:
    a, b = socket.socketpair()
    a.send(b"x")
    a.close()
    b.close()


def test_the_logger_tells_calls_transitions_and_refusals(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "sockfsm")
    with sockfsm.tracing():
        pair()
        sock = socket.socket()
        with pytest.raises(OSError, match="Invalid argument"):
            sock.accept()
        sock.close()
    levels = {call_of(record).method: record.levelname for record in caplog.records}
    assert levels == {
        "socketpair": "INFO",
        "send": "DEBUG",
        "close": "INFO",
        "socket": "INFO",
        "accept": "WARNING",
    }
    (accept,) = [r for r in caplog.records if call_of(r).method == "accept"]
    assert "EINVAL in CREATED" in accept.getMessage()
    assert f"{__file__}:" in accept.getMessage()


def test_nothing_is_logged_that_nobody_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    with sockfsm.tracing():
        sock = socket.socket()
        with pytest.raises(OSError, match="Invalid argument"):
            sock.accept()
        sock.close()
    assert caplog.records == []


def test_a_sink_gets_every_call_in_order_and_the_log_too() -> None:
    seen: list[Call] = []
    with sockfsm.tracing(sinks=[seen.append]) as trace:
        pair()
    assert [c.method for c in seen] == ["socketpair", "socketpair", "send", "close", "close"]
    assert [c.method for c in trace.calls()] == [c.method for c in seen]
    assert seen[2].socket is not None
    assert seen[2].site is not None
    assert seen[2].socket.kind == "unix-stream"
    assert seen[2].site.function == "pair"


def test_a_sink_that_fails_is_switched_off_and_reported(capfd: pytest.CaptureFixture[str]) -> None:
    calls: list[Call] = []
    others: list[Call] = []

    def failing(call: Call) -> None:
        calls.append(call)
        raise RuntimeError("no more")

    with sockfsm.tracing(sinks=[failing, others.append]) as trace:
        pair()
    assert len(calls) == 1
    assert len(others) == len(list(trace.calls())) == 5
    error = capfd.readouterr().err
    assert error.count("\n") == 1
    assert "failing is switched off: RuntimeError: no more" in error


def test_a_sink_may_use_sockets_itself() -> None:
    def chatty(call: Call) -> None:
        pair()

    with sockfsm.tracing(sinks=[chatty]) as trace:
        socket.socket().close()
    assert len(list(trace.calls())) == 12


def test_a_closed_socket_is_forgotten_by_the_live_decoder(tmp_path: Path) -> None:
    import gc

    from sockfsm.events import Socket

    def living() -> int:
        gc.collect()
        return sum(isinstance(thing, Socket) for thing in gc.get_objects())

    def path_left() -> None:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(path))
        path.rename(tmp_path / "left")

    def detached() -> None:
        os.close(socket.socket().detach())

    def in_use(use: Callable[[], None]) -> int:
        for _ in range(100):
            use()
        return living()

    path = tmp_path / "path"
    with sockfsm.tracing(sinks=[lambda call: None]):
        before = in_use(pair)
        for use in (pair, path_left, detached):
            assert in_use(use) <= before + 2


def test_a_sink_is_told_which_closed_socket_is_used_once_more(tmp_path: Path) -> None:
    path = tmp_path / "path"
    seen: list[Call] = []
    with sockfsm.tracing(sinks=[seen.append]) as trace:
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(path))
        sock.close()
        with pytest.raises(OSError, match="Bad file"):
            sock.listen()
        path.unlink()
    live = [(call.method, call.socket and call.socket.number, call.after) for call in seen]
    assert live == [(c.method, c.socket and c.socket.number, c.after) for c in trace.calls()]
    assert all(number for _, number, _ in live)


def test_a_sink_is_told_what_happens_while_a_call_is_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A signal handler or a finalizer comes between and makes calls itself."""
    from sockfsm.trace.decode import Decoder

    seen: list[Call] = []
    left = [10]
    decode = Decoder.record

    def interrupted(self: Decoder, fields: Fields) -> Call | None:
        if left:
            left.pop()
            mine.send(b"from the handler")
        return decode(self, fields)

    mine, theirs = socket.socketpair()
    with sockfsm.tracing(sinks=[seen.append]) as trace:
        monkeypatch.setattr(Decoder, "record", interrupted)
        pair()
    for sock in (mine, theirs):
        sock.close()
    told = sorted((call.end, call.method) for call in seen)
    monkeypatch.undo()
    assert told == sorted((call.end, call.method) for call in trace.calls())
    assert (16, "send") in [(call.done, call.method) for call in seen]


def test_the_live_decoder_forgets_threads_that_have_ended() -> None:
    import threading

    from sockfsm.events import Thread

    def living() -> int:
        import gc

        gc.collect()
        return sum(isinstance(thing, Thread) for thing in gc.get_objects())

    names = set()
    with sockfsm.tracing(sinks=[lambda call: names.add(call.thread.name)]):
        for number in range(400):
            thread = threading.Thread(target=pair, name=f"pair-{number}")
            thread.start()
            thread.join()
        assert living() < 150
    assert len(names) == 400


def test_the_live_decoder_forgets_places_that_are_used_no_more() -> None:
    from sockfsm.trace.decode import Decoder

    decoder = Decoder("live", {})
    for number in range(200_000):
        decoder.note({"site": number, "file": "f", "line": number, "function": "g"})
        decoder.note({"address": number, "is": ["h", number]})
    assert len(decoder._sites) <= 1 << 16
    assert len(decoder._addresses) <= 1 << 16
    assert decoder._sites[199_999].line == 199_999


def test_a_failing_sink_is_told_of_without_being_looked_at(
    capfd: pytest.CaptureFixture[str],
) -> None:
    class Odd:
        def __call__(self, call: Call) -> None:
            raise ValueError

        def __repr__(self) -> str:
            raise AssertionError

    with sockfsm.tracing(sinks=[Odd()]):
        pair()
    assert capfd.readouterr().err == "sockfsm: sink Odd is switched off: ValueError: \n"
