"""Traces with gaps and wrong clocks: what can be joined is joined, the rest is named."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from patience import PATIENCE

from sockfsm.events import Packet
from sockfsm.trace.trace import ABOUT, PACKETS, Trace
from sockfsm.wire import blocks
from sockfsm.wire.pcapng import CaptureFile, Frame

RECORDED = Path(__file__).parent.parent / "traces" / "closings"
SECOND = 1_000_000_000
Change = Callable[[list[Frame]], list[Frame]]


@pytest.fixture
def changed(tmp_path: Path) -> Callable[[Change], Trace]:
    """A copy of a recorded trace with other frames in its capture."""

    def copy(change: Change) -> Trace:
        folder = tmp_path / "trace"
        shutil.copytree(RECORDED, folder)
        source = CaptureFile(RECORDED / PACKETS)
        frames = change(list(source))
        assert source.clock is not None
        clock = f"clock: wall = monotonic + {source.clock.offset} ns, error 100 ns"
        links = list(dict.fromkeys(frame[1] for frame in frames))
        with open(folder / PACKETS, "wb") as file:
            file.write(blocks.section(f"sockfsm capture; {clock}"))
            file.writelines(blocks.interface(link, 0, "lo") for link in links)
            file.writelines(
                blocks.packet(links.index(link), wall, data, length)
                for wall, link, data, length in frames
            )
            file.write(blocks.statistics(0, frames[0][0], frames[-1][0], len(frames), 0, ""))
        return Trace.open(folder)

    return copy


def causes(trace: Trace) -> list[tuple[str, str, list[str]]]:
    """(flags, who, methods) of each packet."""
    found = []
    for packet in trace.packets():
        assert packet.cause is not None
        methods = [call.method for call in packet.cause.calls]
        found.append((packet.flags, packet.cause.who, methods))
    return found


def test_unchanged(changed: Callable[[Change], Trace]) -> None:
    copy = changed(lambda frames: frames)
    assert causes(copy) == causes(Trace.open(RECORDED))
    assert copy.problems == []


@pytest.mark.parametrize("step", [-3 * SECOND, 3 * SECOND])
def test_a_step_of_the_clock(changed: Callable[[Change], Trace], step: int) -> None:
    """The capture's summary tells that the wall clock was set: bytes decide, times do not."""

    def late(frames: list[Frame]) -> list[Frame]:
        half = len(frames) // 2
        return frames[:half] + [(frame[0] + step, *frame[1:]) for frame in frames[half:]]

    trace = changed(late)
    told = json.loads((trace.path / ABOUT).read_text())
    told["clock_error"] = abs(step)
    (trace.path / ABOUT).write_text(json.dumps(told))
    assert causes(trace) == causes(Trace.open(RECORDED))
    (problem,) = trace.problems
    assert "clock was set" in problem
    assert "3.000 s" in problem
    assert not any(packet.ended for packet in trace.packets())


def test_a_capture_that_begins_in_the_middle(changed: Callable[[Change], Trace]) -> None:
    """Without the SYN nobody can count bytes: the time decides."""
    whole = list(Trace.open(RECORDED).packets())
    opened = next(n for n, packet in enumerate(whole) if packet.flags == "A") + 1
    part = list(changed(lambda frames: frames[opened:]).packets())
    assert len(part) == len(whole) - opened
    for mine, theirs in zip(part, whole[opened:], strict=True):
        assert (mine.flags, names(mine)) == (theirs.flags, names(theirs))


def names(packet: Packet) -> tuple[str, list[str]]:
    assert packet.cause is not None
    socket = packet.socket.identity if packet.socket else ""
    return socket, [call.method for call in packet.cause.calls]


def test_lost_packets(changed: Callable[[Change], Trace]) -> None:
    """Every third one is missing: nobody is blamed for another one's bytes."""
    whole = {(p.wall, p.flags, p.seq): names(p) for p in Trace.open(RECORDED).packets()}
    trace = changed(lambda frames: [f for n, f in enumerate(frames) if n % 3 != 1])
    for packet in trace.packets():
        assert packet.cause is not None
        expected = whole[packet.wall, packet.flags, packet.seq]
        assert packet.cause.who == "unknown" or names(packet) == expected


def test_no_capture(tmp_path: Path) -> None:
    folder = tmp_path / "trace"
    shutil.copytree(RECORDED, folder)
    (folder / PACKETS).unlink()
    trace = Trace.open(folder)
    assert list(trace.packets()) == []
    assert trace.summary(index=True).directory is None
    assert any(trace.calls())


def test_packets_of_other_programs(tmp_path: Path) -> None:
    """With --all-packets theirs are there, and nobody's."""
    (tmp_path / "program.py").write_text(
        """
import socket, subprocess, sys
pair = '''
import socket
listening = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listening.getsockname())
client.close()
print(listening.getsockname()[1])
'''
done = subprocess.run([sys.executable, "-I", "-c", pair], check=True, capture_output=True)
listening = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listening.getsockname())
client.close()
print(int(done.stdout), listening.getsockname()[1])
"""
    )
    command = [sys.executable, "-m", "sockfsm", "run", "--all-packets", "-o", "trace", "program.py"]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=PATIENCE, cwd=tmp_path
    )
    theirs, ours = map(int, done.stdout.split())
    seen = list(Trace.open(tmp_path / "trace").packets())
    strangers = [p for p in seen if theirs in (p.source[1], p.target[1])]
    assert len(strangers) > 3
    for packet in strangers:
        assert packet.socket is None
        assert packet.cause is not None
        assert packet.cause.who != "call"
    assert {p.cause.why for p in strangers if p.flags == "S" and p.cause} == {"sender not traced"}
    mine = [p for p in seen if ours in (p.source[1], p.target[1])]
    assert [p.call.method for p in mine if p.call] == ["connect", "close"]


def test_segments_that_their_receiver_must_ignore() -> None:
    """A peer made by hand sends void resets and acknowledges what was never sent."""
    trace = Trace.open(RECORDED.with_name("hand-made-peer"))
    ended = [(p, p.ended) for p in trace.packets()]
    resets = [(p, call) for p, call in ended if "R" in p.flags]
    assert {call.outcome for _, call in resets if call} <= {"ECONNRESET", "ECONNREFUSED"}
    assert any(call is None and p.socket is None for p, call in resets)
    why = [p.cause.why for p, _ in resets if p.cause and p.socket is not None]
    assert why.count("bad acknowledgement") == 2
