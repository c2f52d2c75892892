"""A trace made by hand, with the same face as a recorded one."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Any, cast

from sockfsm.events import Call, Packet, Process, Site, Socket, Thread, Wait
from sockfsm.trace.source import MemoryTrace
from sockfsm.trace.summary import Summary

MS = 1_000_000


class Story(MemoryTrace):
    """Tell calls and packets in order; then it is a trace like any other. Times in ms."""

    def __init__(self) -> None:
        super().__init__(name="synthetic")
        self.made: list[Socket] = []
        self.joined: dict[int, dict[str, Any]] = {}
        self.told, self.seen, self.waiting = self._calls, self._packets, self._blocked

    def process(self, pid: int = 100, command: tuple[str, ...] = ("python", "echo.py")) -> Process:
        process = Process(pid, 1, f"{pid}.calls", command, 10**18, 1_000 * MS, name=str(pid))
        self._processes.append(process)
        self.thread(process)
        return process

    def thread(self, process: Process, name: str = "MainThread") -> Thread:
        number = len(process.threads) + 1
        thread = Thread(number, process.pid * 10 + number, name)
        process.threads[number] = thread
        return thread

    def socket(self, kind: str = "tcp", made_by: str = "create", **fields: Any) -> Socket:
        process = self._processes[0] if self._processes else self.process()
        number = len(self.made) + 1
        socket = Socket(f"{process.pid}.{number}", number, process, kind, 2, 1, 0, number, made_by)
        for name, value in fields.items():
            setattr(socket, name, value)
        self.made.append(socket)
        return socket

    def call(
        self,
        at: float,
        socket: Socket | None,
        method: str,
        outcome: str = "ok",
        states: str = "CREATED",
        took: float = 0.01,
        **fields: Any,
    ) -> Call:
        process = self._processes[0]
        begin = 1_000 * MS + round(at * MS)
        before, _, after = states.partition(" -> ")
        words = {"sendall": "send", "sendto": "send", "recvfrom": "recv", "socket": "create"}
        call = Call(
            begin,
            begin + round(took * MS),
            process,
            process.threads[1],
            socket,
            method,
            words.get(method, method),
            outcome,
            getattr(errno, outcome, 0),
            0,
            0,
            None,
            Site("/home/ada/echo.py", 12, "serve"),
            before or ("START" if socket is not None else ""),
            after or before,
            False,
            True,
            False,
            "",
        )._replace(**fields)
        self.told.append(call)
        return call

    def packet(
        self,
        at: float,
        source: Socket,
        target: Socket,
        flags: str,
        **fields: Any,
    ) -> Packet:
        time = 1_000 * MS + round(at * MS)
        packet = Packet(
            time,
            time,
            "tcp",
            cast("tuple[str, int]", source.local),
            cast("tuple[str, int]", target.local),
            flags,
            0,
            0,
            65535,
            0,
            b"",
            1,
        )._replace(**fields)
        self.seen.append(packet)
        return packet

    def packets(self, summary: Summary | None = None) -> Iterator[Packet]:
        """As joined; `joined`: what to say of the n-th in place of that."""
        for number, packet in enumerate(super().packets(summary)):
            yield packet._replace(**self.joined.get(number, {}))


def echo() -> Story:
    """One echo over TCP: listener #1, client #2, data socket #3, and a refused listen."""
    story = Story()
    story.process()
    server, client = ("127.0.0.1", 7000), ("127.0.0.1", 50123)
    one = story.socket(local=server)
    two = story.socket(local=client, remote=server)
    three = story.socket(made_by="accepted", parent=one.identity, local=server, remote=client)
    helper = story.thread(story.processes[0], "Thread-1 (serve)")
    story.call(1, one, "socket", states=" -> CREATED")
    story.call(2, one, "bind", states="CREATED -> BOUND", address=server)
    story.call(3, one, "listen", states="BOUND -> LISTENING", asked=5)
    story.call(5, two, "socket", states=" -> CREATED")
    story.call(6, two, "connect", states="CREATED -> CONNECTED", took=1, address=server)
    story.packet(6.1, two, one, "S", seq=1000)
    story.packet(6.2, one, two, "SA", seq=9000, ack=1001)
    story.packet(6.3, two, one, "A", seq=1001, ack=9001)
    story.call(
        4, one, "accept", states="LISTENING", took=3, waited=True, address=client, thread=helper
    )
    story.call(7.01, three, "accepted", states=" -> CONNECTED", took=0, thread=helper)
    story.call(8, two, "sendall", states="CONNECTED", asked=5, done=5)
    story.packet(8.005, two, three, "PA", seq=1001, ack=9001, length=5)
    story.call(7.5, three, "recv", states="CONNECTED", took=1, waited=True, asked=1024, done=5)
    story.call(9, three, "listen", "EINVAL", states="CONNECTED", asked=1, predicted="EINVAL")
    story.call(10, two, "close", states="CONNECTED -> CLOSED")
    story.call(11, three, "recv", "eof", states="CONNECTED", asked=1024)
    story.call(12, three, "close", states="CONNECTED -> CLOSED")
    story.waiting.append(
        Wait(1_020 * MS, None, helper, one, "accept", Site("echo.py", 20, "serve"))
    )
    story.processes[0].ended = 1_030 * MS
    return story
