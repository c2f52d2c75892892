"""What the views tell of real calls is what happened: names, receivers, reasons, ends of waits."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest
from synthetic import MS, Story

import sockfsm
from sockfsm.events import Endpoint, Message, Socket
from sockfsm.trace.directory import Directory
from sockfsm.trace.source import TraceSource
from sockfsm.trace.stream import events
from sockfsm.views.phrases import answered, reason


def receivers(trace: TraceSource) -> list[tuple[str, str]]:
    """(sender, receiver) of each AF_UNIX message, by the sockets' numbers."""
    found = [mark.event for mark in events(trace) if isinstance(mark.event, Message)]
    ends = [(message.socket, message.receiver) for message in found]
    return [
        (sender.identity.partition(".")[2], receiver.identity.partition(".")[2])
        for sender, receiver in ends
        if receiver is not None
    ]


def test_a_message_goes_to_who_has_the_name_then_not_to_who_gets_it_later(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with sockfsm.tracing() as trace:
        first, client, second = (socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in "123")
        first.bind(path)
        client.sendto(b"1", path)
        client.connect(path)
        client.send(b"2")
        os.unlink(path)
        second.bind(path)
        client.send(b"3")  # the connection is to the socket, not to the name
        client.connect(path)
        client.send(b"4")
        for sock in (first, client, second):
            sock.close()
    assert receivers(trace) == [("2", "1"), ("2", "1"), ("2", "1"), ("2", "3")]


def test_a_bind_that_failed_gives_no_name(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with sockfsm.tracing() as trace:
        holder, late, wordy = (socket.socket(socket.AF_UNIX) for _ in "123")
        holder.bind(path)
        with pytest.raises(OSError, match="in use"):
            late.bind(path)
        with pytest.raises(OSError, match="path too long"):
            wordy.bind("x" * 200)
        for sock in (holder, late, wordy):
            sock.close()
    assert [found.local for found in trace.sockets.values()] == [path, None, None]


class _AlarmError(Exception):
    """What a signal handler raises, as Python's own for Ctrl-C does."""


def test_an_exception_that_ended_a_wait_came_not_before_the_kernel() -> None:
    def ring(*_: object) -> None:
        raise _AlarmError

    before = signal.signal(signal.SIGALRM, ring)
    try:
        with sockfsm.tracing() as trace, socket.create_server(("127.0.0.1", 0)) as server:
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(_AlarmError):
                server.accept()
            with pytest.raises(TypeError):
                server.send("text")  # type: ignore[arg-type]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    told = {call.call: answered(call) for call in trace.calls()}
    assert told["accept"] == "interrupted by an exception"
    assert told["send"] == "raised before the kernel"


@pytest.mark.parametrize("paired", [True, False])
def test_an_accepted_peer_that_closed_is_not_called_unaccepted(
    tmp_path: Path, paired: bool
) -> None:
    with sockfsm.tracing() as trace:
        if paired:
            near, far = socket.socketpair()
        else:
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(str(tmp_path / "s"))
                server.listen()
                near = socket.socket(socket.AF_UNIX)
                near.connect(str(tmp_path / "s"))
                far, _ = server.accept()
        far.close()
        with pytest.raises(BrokenPipeError):
            near.send(b"x")
        near.close()
    (told,) = (reason(call) for call in trace.calls() if call.call == "send")
    assert told == "The peer has closed, or shut its reading side."


def test_who_connects_to_a_name_is_known_by_the_kernels_states_and_the_packets() -> None:
    """The log may have no more than the name: `localhost`, where a packet has an address."""
    here, there = ("127.0.0.1", 40000), ("127.0.0.1", 7000)
    story = Story()
    story.process()
    client, refused = story.socket(local=here, remote=("localhost", 7000)), story.socket()
    story.call(1, client, "connect", address=("localhost", 7000), states="CREATED -> CONNECTED")
    story.call(
        5, refused, "connect", "ECONNREFUSED", took=1, address=("localhost", 9), states="CREATED"
    )
    directory = Directory(story.told)

    def owner(at: float, near: Endpoint, far: Endpoint, **how: bool) -> Socket | None:
        return directory.owner("tcp", near, far, 1_000 * MS + round(at * MS), **how)

    assert owner(2, here, there, connected=True) is client
    assert owner(2, here, ("127.0.0.1", 7001), connected=True) is None
    assert owner(5.5, ("127.0.0.1", 40001), ("127.0.0.1", 9), opens=True, asks=True) is refused
