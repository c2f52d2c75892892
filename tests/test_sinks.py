"""Calls told while the program runs: the `sockfsm` logger, sinks of one's own, sinks that fail."""

from __future__ import annotations

import logging
import socket

import pytest

import sockfsm


def pair():
    a, b = socket.socketpair()
    a.send(b"x")
    a.close()
    b.close()


def test_the_logger_tells_calls_transitions_and_refusals(caplog):
    caplog.set_level(logging.DEBUG, "sockfsm")
    with sockfsm.tracing():
        pair()
        sock = socket.socket()
        with pytest.raises(OSError, match="Invalid argument"):
            sock.accept()
        sock.close()
    levels = {record.sockfsm_call.method: record.levelname for record in caplog.records}
    assert levels == {
        "socketpair": "INFO",
        "send": "DEBUG",
        "close": "INFO",
        "socket": "INFO",
        "accept": "WARNING",
    }
    (accept,) = [r for r in caplog.records if r.sockfsm_call.method == "accept"]
    assert "EINVAL in CREATED" in accept.getMessage()
    assert f"{__file__}:" in accept.getMessage()


def test_nothing_is_logged_that_nobody_asked_for(caplog):
    with sockfsm.tracing():
        sock = socket.socket()
        with pytest.raises(OSError, match="Invalid argument"):
            sock.accept()
        sock.close()
    assert caplog.records == []


def test_a_sink_gets_every_call_in_order_and_the_log_too():
    seen = []
    with sockfsm.tracing(sinks=[seen.append]) as trace:
        pair()
    assert [c.method for c in seen] == ["socketpair", "socketpair", "send", "close", "close"]
    assert [c.method for c in trace.calls()] == [c.method for c in seen]
    assert seen[2].socket.kind == "unix-stream"
    assert seen[2].site.function == "pair"


def test_a_sink_that_fails_is_switched_off_and_reported(capfd):
    calls, others = [], []

    def failing(call):
        calls.append(call)
        raise RuntimeError("no more")

    with sockfsm.tracing(sinks=[failing, others.append]) as trace:
        pair()
    assert len(calls) == 1
    assert len(others) == len(list(trace.calls())) == 5
    error = capfd.readouterr().err
    assert error.count("\n") == 1
    assert "failing is switched off: RuntimeError: no more" in error


def test_a_sink_may_use_sockets_itself():
    def chatty(call):
        pair()

    with sockfsm.tracing(sinks=[chatty]) as trace:
        socket.socket().close()
    assert len(list(trace.calls())) == 12


def test_a_closed_socket_is_forgotten_by_the_live_decoder():
    import gc

    from sockfsm.trace.events import Socket

    def living():
        gc.collect()
        return sum(isinstance(thing, Socket) for thing in gc.get_objects())

    with sockfsm.tracing(sinks=[lambda call: None]):
        pair()
        before = living()
        for _ in range(50):
            pair()
        assert living() <= before + 2
