"""A trace made by hand, with the same face as a recorded one."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from sockfsm.trace.about import About
from sockfsm.trace.events import Call, Cause, Lost, Packet, Process, Site, Socket, Thread, Wait
from sockfsm.trace.summary import Summary

MS = 1_000_000


class Story:
    """Tell calls and packets in order; then it can be read like a `Trace`. Times in ms."""

    path = "synthetic"

    def __init__(self) -> None:
        self.processes: list[Process] = []
        self.sockets: dict[str, Socket] = {}
        self.problems: list[str] = []
        self.losses: list[Lost] = []
        self.facts = About()
        self.told: list[Call] = []
        self.seen: list[Packet] = []
        self.waiting: list[Wait] = []

    def process(self, pid: int = 100, command: tuple[str, ...] = ("python", "echo.py")) -> Process:
        process = Process(pid, 1, f"{pid}.calls", command, 10**18, 1_000 * MS)
        self.processes.append(process)
        self.thread(process)
        return process

    def thread(self, process: Process, name: str = "MainThread") -> Thread:
        number = len(process.threads) + 1
        thread = Thread(number, process.pid * 10 + number, name)
        process.threads[number] = thread
        return thread

    def socket(self, kind: str = "tcp", made_by: str = "create", **fields: object) -> Socket:
        process = self.processes[0] if self.processes else self.process()
        number = len(self.sockets) + 1
        socket = Socket(f"{process.pid}.{number}", number, process, kind, 2, 1, 0, number, made_by)
        for name, value in fields.items():
            setattr(socket, name, value)
        self.sockets[socket.identity] = socket
        return socket

    def call(
        self,
        at: float,
        socket: Socket | None,
        method: str,
        outcome: str = "ok",
        states: str = "CREATED",
        took: float = 0.01,
        **fields: object,
    ) -> Call:
        process = self.processes[0]
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
            before,
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
        call: Call | None = None,
        **fields: object,
    ) -> Packet:
        time = 1_000 * MS + round(at * MS)
        cause = (
            Cause("call", "", (call,)) if call is not None else Cause("kernel", "acknowledgement")
        )
        packet = Packet(
            time,
            time,
            "tcp",
            source.local,
            target.local,
            flags,
            0,
            0,
            65535,
            0,
            b"",
            1,
            source,
            cause,
        )._replace(**fields)
        self.seen.append(packet)
        return packet

    def calls(self) -> Iterator[Call]:
        yield from sorted(self.told, key=lambda call: call.end)

    def packets(self) -> Iterator[Packet]:
        yield from sorted(self.seen, key=lambda packet: packet.time)

    def summary(self, *, index: bool = False) -> Summary:
        told = Summary(self.calls(), index=index)
        told.processes = told.processes or self.processes
        told.blocked = self.waiting
        return told

    def blocked(self) -> list[Wait]:
        return self.waiting


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
    connect = story.call(6, two, "connect", states="CREATED -> CONNECTED", took=1, address=server)
    story.packet(6.1, two, one, "S", seq=1000, call=connect)
    story.packet(6.2, one, two, "SA", seq=9000, ack=1001)
    story.packet(6.3, two, one, "A", seq=1001, ack=9001)
    story.call(
        4, one, "accept", states="LISTENING", took=3, waited=True, address=client, thread=helper
    )
    sent = story.call(8, two, "sendall", states="CONNECTED", asked=5, done=5)
    story.packet(8.005, two, three, "PA", seq=1001, ack=9001, length=5, call=sent)
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
