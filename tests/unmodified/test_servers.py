"""ssl, asyncio, socketserver and multiprocessing.connection, as their documentation uses them."""

from pathlib import Path

import pytest
from traced import (
    assert_handshakes,
    calls_of,
    made_by,
    packets_of,
    program,
    run,
    sockets_of,
    states_of,
)


def test_ssl(tmp_path: Path, certificate: tuple[str, str]) -> None:
    trace = run(tmp_path / "trace", program("ssl_echo"), *certificate)
    calls = calls_of(trace)
    methods = [call.method for call in calls]
    assert methods.count("ssl.do_handshake") >= 2
    assert "ssl.read" in methods
    assert "ssl.write" in methods
    ends = sockets_of(calls, "tcp")
    assert sum("LISTENING" in states_of(own) for own in ends.values()) == 1
    assert sum("CONNECTED" in states_of(own) for own in ends.values()) == 2
    moved = {call.method: call.done for call in calls if call.method in ("ssl.read", "ssl.write")}
    assert moved == {"ssl.read": 14, "ssl.write": 14}
    assert_handshakes(trace, 1)


def test_asyncio_streams(tmp_path: Path) -> None:
    trace = run(tmp_path / "trace", program("asyncio_echo"))
    calls = calls_of(trace)
    data = made_by(calls, "accepted")
    assert len(data) == 3
    under_way = [call for call in calls if call.outcome == "EINPROGRESS"]
    assert [call.after for call in under_way] == ["CONNECTING"] * len(under_way)
    assert len(under_way) == 3
    paths = [states_of(own) for own in sockets_of(calls, "tcp").values()]
    assert sum(path[-3:-1] == ["CONNECTING", "ESTABLISHED"] for path in paths) == 3
    assert all(path[-1] == "CLOSED" for path in paths)
    assert_handshakes(trace, 3)


@pytest.mark.parametrize("how", ["threading", "forking"])
def test_socketserver(tmp_path: Path, how: str) -> None:
    trace = run(tmp_path / "trace", program("socketserver_echo"), how)
    calls = calls_of(trace)
    processes = {call.process.pid for call in calls}
    assert len(processes) == (1 if how == "threading" else 3)
    data = made_by(calls, "accepted")
    assert len(data) == 2
    for socket in data:
        own = [call for call in calls if call.socket and call.socket.identity == socket.identity]
        workers = {(c.process.pid, c.thread.number) for c in own if c.call in ("recv", "send")}
        accepting = {(c.process.pid, c.thread.number) for c in own if c.call == "accepted"}
        assert len(workers) == 1
        assert workers != accepting
        assert own[-1].after == "CLOSED"
    assert_handshakes(trace, 2)


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_multiprocessing_connection(tmp_path: Path, start_method: str) -> None:
    path = str(tmp_path / "s")
    trace = run(tmp_path / "trace", program("connection_echo"), path, start_method)
    calls = calls_of(trace)
    listening = [call for call in calls if call.method == "listen"]
    assert [(call.before, call.after) for call in listening] == [("BOUND", "LISTENING")]
    bound = next(call for call in calls if call.method == "bind")
    assert bound.address == path
    assert len(made_by(calls, "accepted")) == 1
    assert any(call.method == "unlink" and call.outcome == "ok" for call in calls)
    connected = [call for call in calls if call.call == "connect" and call.outcome == "ok"]
    assert len(connected) == 1
    assert connected[0].process.pid != bound.process.pid
    spoken = [call for call in calls if call.method == "Connection.send"]
    assert {call.process.pid for call in spoken} == {bound.process.pid, connected[0].process.pid}
    assert sum(call.done for call in spoken) > 0
    report = packets_of(trace)
    assert report is None or report.connections == ()
