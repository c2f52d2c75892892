"""The tracer writes what the encoder makes of its calls, the fast paths what the slow one does.

A program that makes every kind of record is traced; its log is decoded to calls, these are encoded
again, and both logs have to agree slot by slot. Numbers that a writer may choose (of places, addresses,
kinds, states, threads) are first replaced by what they stand for.
"""

from __future__ import annotations

import socket as stdlib
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from patience import PATIENCE

import sockfsm
from sockfsm.record.codec import record
from sockfsm.record.layout import (
    ADDRESS,
    AFTER,
    BEFORE,
    BEGUN,
    METHODS,
    MOST,
    NOTED,
    STANDARD,
)
from sockfsm.record.reader import LogReader
from sockfsm.trace.encode import save
from sockfsm.trace.trace import Trace

_BIRTHS = {"create", "accepted", "socketpair", "adopt"}
_STATE = 0xFFF
_SLOT = struct.Struct(STANDARD)
ELSEWHERE = {
    *("ssl.do_handshake", "ssl.read", "ssl.write", "ssl.unwrap", "sendmsg_afalg"),
    *("Connection.send", "Connection.recv", "exit", "released"),
}
"""Methods that the program below does not come to; they are written by `Log.tell` and `Log.write`."""

PROGRAM = """
import array, contextlib, os, select, socket, sys, tempfile, threading
import sockfsm

folder, paths = sys.argv[1:]
AF_UNIX, DGRAM = socket.AF_UNIX, socket.SOCK_DGRAM

def refused(call, *args):
    with contextlib.suppress(OSError, TypeError):
        call(*args)

def stream(family, name, ending=contextlib.nullcontext):
    with socket.socket(family) as listening, socket.socket(family) as client:
        listening.bind(name)
        listening.listen(5)
        client.connect(listening.getsockname())
        data, _ = listening.accept()
        with data:
            for size in (1, 70_000):
                text = bytes(size)
                sender = threading.Thread(target=client.sendall, args=(text,))
                sender.start()
                left = size
                while left:
                    left -= len(data.recv(left))
                sender.join()
            talk(client, data)
            data.settimeout(0.001)
            refused(data.recv, 1)
            data.setblocking(False)
            refused(data.recv, 1)
            refused(data.recv, 1, socket.MSG_PEEK)
            client.send(bytearray(b"x"))
            select.select([data], [], [])
            data.recv(5)
            data.setblocking(True)
            client.shutdown(socket.SHUT_WR)
            assert data.recv(1) == b""
            refused(client.send, b"x")
            refused(data.shutdown, socket.SHUT_RDWR)
            refused(data.shutdown, socket.SHUT_RD)

def talk(one, two):
    buffer = bytearray(9)
    one.send(b"abc")
    two.recv(3)
    one.sendall(b"abc", 0)
    two.recv_into(buffer)
    one.sendmsg([b"ab", b"c"])
    two.recvmsg(9)
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0]))
    one.sendmsg([b"abc"], [rights] * (one.family == AF_UNIX))
    two.recvmsg(9)
    one.send(b"abc")
    two.recvmsg_into([buffer])
    one.send(b"abc")
    two.recvfrom(9)
    one.send(b"abc")
    two.recvfrom_into(buffer)
    with open(__file__, "rb") as file:
        one.sendfile(file, count=10)
    two.recv(10, socket.MSG_WAITALL)
    one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    with one.makefile("wb") as out, two.makefile("rb") as into:
        out.write(b"line\\n")
        out.flush()
        into.readline()

def datagrams(family, first, second):
    with socket.socket(family, DGRAM) as one, socket.socket(family, DGRAM) as two:
        one.bind(first)
        two.bind(second)
        buffer = bytearray(9)
        one.sendto(b"abc", two.getsockname())
        two.recvfrom(9)
        one.sendto(b"", 0, two.getsockname())
        two.recvfrom_into(buffer)
        one.sendmsg([b"abc"], [], 0, two.getsockname())
        two.recvmsg(9)
        one.connect(two.getsockname())
        one.send(b"abc")
        two.recv(9)
        refused(one.sendto, bytes(100_000), two.getsockname())
        refused(one.connect, ())

with sockfsm.tracing(folder):
    stream(socket.AF_INET, ("127.0.0.1", 0))
    stream(socket.AF_INET6, ("::1", 0))
    stream(AF_UNIX, paths + "/stream")
    stream(AF_UNIX, b"\\0" + os.urandom(8))
    datagrams(socket.AF_INET, ("127.0.0.1", 0), ("127.0.0.1", 0))
    datagrams(socket.AF_INET6, ("::1", 0), ("::1", 0))
    datagrams(AF_UNIX, paths + "/one", (paths + "/two").encode())
    datagrams(AF_UNIX, "", "")
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", 1))
    with socket.socket() as fresh:
        fresh.setblocking(False)
        refused(fresh.connect, ("127.0.0.1", 1))
        fresh.connect_ex(("localhost", 1))
        refused(fresh.recv, 1)
        refused(fresh.accept)
        refused(fresh.bind, ("no such host", 1))
        refused(fresh.bind, ("127.0.0.1", 1), 2)
    refused(socket.socket, socket.AF_INET, 77)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.001)
        refused(server.accept)
        again = server.dup()
        other = socket.fromfd(server.fileno(), server.family, server.type)
        number = other.detach()
        # Without `proto` the object would ask the kernel; a Call tells what the first one was given.
        socket.socket(proto=0, fileno=number).close()
        again.close()
        refused(again.listen)
    one, two = socket.socketpair()
    sys.stdout.flush()
    child = os.fork()
    if not child:
        two.send(b"child")
        two.close()
        with socket.socket():
            os._exit(0)
    one.recv(5)
    os.waitpid(child, 0)
    os.unlink(paths + "/stream")
    refused(os.unlink, paths + "/stream")
    refused(socket.getaddrinfo, "no such host.invalid", 1)
    del one
"""


def canonical(log: Path, kinds: dict[int, str]) -> Iterator[bytes]:
    """The calls of a log as slots with numbers that depend on nothing but what they stand for.

    kinds: socket -> the kind's name, of the sockets that the process was forked with.
    """
    known: dict[str, dict[int, dict[str, Any]]] = {}
    numbers: dict[str, int] = {}
    items = list(LogReader(log))
    for note in items:
        if isinstance(note, dict):
            for what in ("site", "address", "abstract", "thread", "kind"):
                if what in note:
                    known.setdefault(what, {})[note[what]] = note

    def number(what: object) -> int:
        return numbers.setdefault(repr(what), len(numbers) + 1)

    def named(place: int) -> object:
        if place in known.get("abstract", {}):
            note = known["abstract"][place]
            return ("abstract", note["is"])
        value = known["address"][place]["is"]
        # A datagram's address, and one with the local name beside it, are in a list of their own.
        return (
            value[0] if isinstance(value, list) and value and isinstance(value[0], list) else value
        )

    for item in items:
        if isinstance(item, dict) or item[2] & BEGUN:
            continue
        begin, end, head, socket, site, thread, asked, done = item
        word = METHODS[head & 0xFF][1]
        if word in _BIRTHS:
            kind = known["kind"][asked >> 16 & 0xFF]
            kinds[socket] = kind["name"]
            asked = asked & 0xFFFF | number(("kind", kinds[socket])) << 16
        for place in (BEFORE, AFTER) if socket else ():
            states = next(
                k["states"] for k in known["kind"].values() if k["name"] == kinds.get(socket, "")
            )
            state = states[head >> place & _STATE]
            head = head & ~(_STATE << place) | number(("state", state)) << place
        if head >> ADDRESS & 3 == NOTED:
            done = number(("address", named(done >> 32))) << 32 | done & MOST
        if site:
            where = {**known["site"][site], "site": 0}
            site = number(("site", where))
        note = {**known["thread"][thread], "thread": 0}
        yield record(begin, end, head, socket, site, number(("thread", note)), asked, done)


def test_the_tracer_s_records_are_the_encoder_s(tmp_path: Path) -> None:
    program, paths, folder = tmp_path / "program.py", tmp_path / "paths", tmp_path / "trace"
    program.write_text(PROGRAM)
    paths.mkdir()
    subprocess.run([sys.executable, program, folder, paths], check=True, timeout=PATIENCE)
    again = save(Trace.open(folder), tmp_path / "again")
    logs = [process.log for process in Trace.open(folder).processes]
    assert len(logs) == 2
    ours: dict[int, str] = {}
    theirs: dict[int, str] = {}
    used = set()
    for log in logs:
        first, second = list(canonical(folder / log, ours)), list(canonical(again / log, theirs))
        differing = [
            (*map(_SLOT.unpack, pair),)
            for pair in zip(first, second, strict=True)
            if len({*pair}) > 1
        ]
        assert not differing
        used |= {METHODS[slot[16]][0] for slot in first}
    assert {name for name, _ in METHODS[1:]} - used == ELSEWHERE


def test_the_fast_paths_pack_what_the_slow_ones_do(tmp_path: Path) -> None:
    """Flags, though they are 0, make a call take the slow path; the first of a line does, too."""
    one, two = stdlib.socketpair()
    buffer = bytearray(3)
    with one, two, sockfsm.tracing(tmp_path / "trace"):
        for flags in ((), (0,)):
            for _ in range(3):
                one.send(b"abc", *flags)
                two.recv(3, *flags)
                one.sendall(b"abc", *flags)
                two.recv_into(buffer, *flags, *flags)  # a size of 0: the whole buffer
    (log,) = (tmp_path / "trace").glob("*.calls")
    found: dict[int, set[tuple[int, ...]]] = {}
    for item in LogReader(log):
        if not isinstance(item, dict) and METHODS[item[2] & 0xFF][1] in ("send", "recv"):
            found.setdefault(item[2] & 0xFF, set()).add(item[2:])
    assert [len(each) for each in found.values()] == [1] * 4
