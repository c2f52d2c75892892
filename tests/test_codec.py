"""What the encoder writes, the decoder reads: every recorded trace comes back."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic import Story, echo

from sockfsm.errors import UsageError
from sockfsm.events import Call, Packet
from sockfsm.trace.encode import save
from sockfsm.trace.source import TraceSource
from sockfsm.trace.trace import Trace
from sockfsm.views.ladder import Ladder

TRACES = Path(__file__).parent.parent / "traces"
RECORDED = sorted(path.parent for path in TRACES.glob("*/trace.json"))


def plain(call: Call) -> tuple[object, ...]:
    """All that a call says, without the identity of objects."""
    socket, thread, process = call.socket, call.thread, call.process
    return (
        call._replace(socket=None, thread=None, process=None),  # type: ignore[arg-type]
        (thread.number, thread.ident, thread.name),
        (process.pid, process.parent, process.log, process.command, process.clock, process.name),
        socket
        and (
            *(socket.identity, socket.number, socket.kind, socket.family, socket.type),
            *(socket.proto, socket.descriptor, socket.made_by, socket.parent),
            *(socket.local, socket.remote),
        ),
    )


def wire(packet: Packet) -> tuple[object, ...]:
    return packet[:12]


def same(one: TraceSource, other: TraceSource) -> None:
    assert list(map(plain, list(one.calls()))) == list(map(plain, list(other.calls())))
    assert list(map(wire, one.captured())) == list(map(wire, other.captured()))
    assert [w._replace(thread=None, socket=None) for w in one.blocked()] == [  # type: ignore[arg-type]
        w._replace(thread=None, socket=None)  # type: ignore[arg-type]
        for w in other.blocked()
    ]
    assert [(p.started, p.ended) for p in one.processes] == [
        (p.started, p.ended) for p in other.processes
    ]
    assert one.facts == other.facts


@pytest.mark.parametrize("folder", RECORDED, ids=lambda folder: folder.name)
def test_every_recorded_trace_comes_back(folder: Path, tmp_path: Path) -> None:
    original = Trace.open(folder)
    again = Trace.open(save(original, tmp_path / "again"))
    same(original, again)
    again.name = original.name
    assert list(Ladder(original).lines()) == list(Ladder(again).lines())
    assert again.problems == original.problems


def test_a_trace_that_was_made_up(tmp_path: Path) -> None:
    story = echo()
    story.seen.clear()
    same(story, Trace.open(save(story, tmp_path / "trace")))


def test_what_a_simulator_or_an_importer_may_give(tmp_path: Path) -> None:
    """IPv6, abstract and odd names, methods of other programs, sockets of a parent, errors, flags."""
    story = Story()
    parent = story.process()
    child = story.process(101, ("./server",))
    six = ("::1", 7, 0, 0)
    stream = story.socket(local=six, family=10)
    local = story.socket("unix-dgram", local=b"\0abstract\xff", remote="/tmp/a\udcffb", family=1)
    for socket in (stream, local):
        story.call(0, socket, "socket", states="START -> CREATED")
    story.call(1, stream, "bind", states="CREATED -> BOUND", address=six)
    story.call(2, stream, "listen", "EOPNOTSUPP", "BOUND", asked=5, predicted="EOPNOTSUPP")
    story.call(3, stream, "readv", "ok", "CONNECTED", call="recv", done=2**31, explained=False)
    story.call(4, local, "bind", states="CREATED -> BOUND", address=b"\0abstract\xff")
    story.call(5, local, "connect", states="BOUND -> CONNECTED", address="/tmp/a\udcffb")
    story.call(
        6, local, "sendto", "timeout", "BOUND", address="/tmp/a\udcffb", asked=9, waited=True
    )
    story.call(7, None, "getaddrinfo", "gaierror", "", call="resolve", address=("host.test", 80))
    story.told.append(
        story.told[2]._replace(process=child, thread=child.threads[1], enforced=True, end=2**40)
    )
    assert parent is not child
    child.ended = 2**41
    again = Trace.open(save(story, tmp_path / "trace"))
    same(story, again)
    assert again.problems == []


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    with pytest.raises(UsageError, match="not empty"):
        save(echo(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
