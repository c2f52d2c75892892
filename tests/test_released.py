"""close() while another thread blocks on the socket: the connection ends when that lets go."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest
from synthetic import Story

import sockfsm
from sockfsm.events import Cause, Packet
from sockfsm.trace.causes import RELEASED
from sockfsm.trace.join import join

HERE, THERE = ("127.0.0.1", 7000), ("127.0.0.1", 50123)


def asleep(thread: int | None) -> str:
    """The kernel's word for what a thread does."""
    return Path(f"/proc/self/task/{thread}/stat").read_text().rpartition(") ")[2][0]


def told(story: Story, flags: str, at: float) -> Cause:
    """The cause of what the client sends last."""
    client = story.told[0].socket
    assert client is not None
    client.local, client.remote = THERE, HERE
    story.call(1, client, "connect", states="CREATED -> CONNECTED", took=1, address=HERE)
    syn = Packet(0, 0, "tcp", THERE, HERE, "S", 100, 0, 9, 0, b"", 1)
    ack = "A" if "F" in flags else ""
    packets = [
        syn._replace(time=story.told[-1].begin + 1000),
        syn._replace(time=1_000_000_000 + round(at * 1e6), flags=flags + ack, seq=101, ack=1),
    ]
    found = list(join(story.calls(), packets))[-1].cause
    assert found is not None
    return found


def closed(*, released: bool, outcome: str = "deferred") -> Story:
    """close() at 10 ms under a recv that ends at 110 ms."""
    story = Story()
    story.process()
    client = story.socket()
    helper = story.thread(story.processes[0], "reader")
    story.call(5, client, "recv", states="CONNECTED", took=105, waited=True, thread=helper)
    story.call(10, client, "close", outcome, states="CONNECTED")
    if released:
        story.call(110.02, client, RELEASED, states="CONNECTED -> CLOSED", call="close", took=0)
    return story


@pytest.mark.parametrize("flags", ["F", "RA"])
def test_the_close_that_waited_is_the_cause(flags: str) -> None:
    cause = told(closed(released=True), flags, 109.99)
    assert (cause.who, cause.why) == ("call", "queued")
    assert [(call.method, call.outcome) for call in cause.calls] == [("close", "deferred")]


def test_a_log_without_that_record_does_not_accuse_another_process() -> None:
    cause = told(closed(released=False, outcome="ok"), "F", 109.99)
    assert (cause.who, cause.why) == ("call", "queued")
    assert [call.method for call in cause.calls] == ["close"]
    later = told(closed(released=False, outcome="ok"), "F", 200)
    assert later.who != "call"


def test_real_sockets(tmp_path: Path) -> None:
    """The kernel's FIN comes 100 ms and more after close(), when recv() returns."""
    with sockfsm.tracing(tmp_path / "trace", capture=True) as trace:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            client = socket.create_connection(listening.getsockname())
            data, _ = listening.accept()
        ours = client.getsockname()
        reader = threading.Thread(target=client.recv, args=(10,))
        reader.start()
        while not trace.blocked() or asleep(reader.native_id) != "S":
            continue
        client.close()
        data.sendall(b"lets go")
        reader.join()
        assert data.recv(1) == b""
        data.close()
    (fin,) = (p for p in trace.packets() if "F" in p.flags and p.source == ours)
    assert fin.cause is not None
    assert (fin.cause.who, fin.cause.why) == ("call", "queued")
    assert [call.method for call in fin.cause.calls] == ["close"]
