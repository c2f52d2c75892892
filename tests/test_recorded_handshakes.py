"""Openings, closings and all TCP states as real kernels made them: recorded, and made now.

The recordings stay what they are; `test_made_now` shows that this machine's kernel still does it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from handshake_verdicts import TRACES, VERDICTS, Verdict, connections
from patience import PATIENCE

from sockfsm.cli.main import main
from sockfsm.tcp_names import STATES
from sockfsm.trace.connections import with_calls
from sockfsm.trace.directory import Directory
from sockfsm.trace.kernel_paths import KernelPaths, difference
from sockfsm.trace.tcp_path import paths, walk
from sockfsm.trace.trace import PACKETS, Trace
from sockfsm.wire.findings import CLOSINGS, OPENINGS, Connection
from sockfsm.wire.handshake import inspect_file
from sockfsm.wire.kernel_record import read
from sockfsm.wire.kernel_states import FILE

every_recording = pytest.mark.parametrize("name", VERDICTS)


def kernel(folder: Path) -> KernelPaths:
    problems: list[str] = []
    states = read(folder / FILE, problems)
    assert problems == []
    return KernelPaths(states)


@every_recording
def test_verdicts(name: str) -> None:
    found = connections(TRACES / name)
    assert len(found) == len(VERDICTS[name])
    wrong = [verdict.differs(c) for verdict, c in zip(VERDICTS[name], found, strict=True)]
    assert wrong == [""] * len(wrong)


def test_every_kind_of_opening_and_closing_is_recorded() -> None:
    """But two: no capture of ours begins in the middle of a connection or ends in an opening."""
    verdicts = [verdict for verdicts in VERDICTS.values() for verdict in verdicts]
    assert set(OPENINGS) - {v.opening for v in verdicts} == {
        "mid-stream",
        "incomplete",
        "unanswered",
    }
    assert {v.closing for v in verdicts} == set(CLOSINGS)


def test_without_the_calls_the_packets_alone_are_told() -> None:
    report = inspect_file(TRACES / "resets" / PACKETS)
    assert with_calls(report, Directory()) == report
    assert [c.opening.kind for c in report.connections] == ["normal"] * 6
    causes = [c.closing.reset_cause for c in report.connections]
    unread = "with received data unread, or with SO_LINGER 0"
    assert causes[0] == f"closed before accept, {unread}"
    assert causes[-1] == f"closed {unread}"
    assert causes[1] == "closed with SO_LINGER 0"
    assert causes[4] == "listening socket closed before accept, or closed with SO_LINGER 0"


@every_recording
def test_segments_and_kernel_agree(name: str) -> None:
    """The kernel has states for each end that is a socket; where more, the verdict says it."""
    known = kernel(TRACES / name)
    for verdict, found in zip(VERDICTS[name], connections(TRACES / name), strict=True):
        theirs = known.of(found)
        assert any(theirs) or found.client[0] == "10.9.0.2", found
        assert difference(found, theirs) == verdict.kernel


def test_all_eleven_states_at_each_end() -> None:
    """By the segments and by the kernel, but for these:

    A client's end, which sends the first SYN, never was in LISTEN. The kernel's event does not tell
    of TIME-WAIT (it moves the connection to a smaller socket, and says CLOSED).
    """
    segments: tuple[set[str], set[str]] = (set(), set())
    theirs: tuple[set[str], set[str]] = (set(), set())
    for name in VERDICTS:
        known = kernel(TRACES / name)
        for found in connections(TRACES / name):
            for end in (0, 1):
                segments[end].update(paths(found)[end])
                theirs[end].update(known.of(found)[end])
    assert set(STATES) - segments[0] == {"LISTEN"}
    assert set(STATES) - segments[1] == set()
    assert set(STATES) - theirs[0] == {"LISTEN", "TIME-WAIT"}
    assert set(STATES) - theirs[1] == {"TIME-WAIT"}


def held(name: str, number: int, end: str, state: str) -> int:
    """How long (ns) an end of the `number`th connection was in a state."""
    found = connections(TRACES / name)[number - 1]
    walked = [(getattr(step, end), step.segment.after) for step in walk(found).steps]
    times = [time for was, time in walked if was == state]
    after = [time for was, time in walked if time > times[-1]]
    return after[0] - times[0]


@pytest.mark.parametrize(
    ("name", "number", "end", "state", "least"),
    [
        ("openings-lost", 2, "server", "SYN-RECEIVED", 900_000_000),
        ("openings-lost", 1, "client", "SYN-SENT", 900_000_000),
        ("closings-lost", 2, "client", "FIN-WAIT-1", 150_000_000),
        ("closings-lost", 3, "server", "FIN-WAIT-1", 150_000_000),
        ("closings-lost", 4, "server", "LAST-ACK", 150_000_000),
        ("closings-lost", 5, "client", "CLOSING", 150_000_000),
        ("closings-lost", 5, "server", "FIN-WAIT-2", 150_000_000),
        ("closings", 3, "client", "FIN-WAIT-2", 90_000_000),
        ("closings", 4, "client", "CLOSE-WAIT", 90_000_000),
    ],
)
def test_a_lost_segment_holds_a_state(
    name: str, number: int, end: str, state: str, least: int
) -> None:
    """A state lasts until what was lost is sent again, and not only until its first copy."""
    assert held(name, number, end, state) >= least


def test_a_reset_or_syn_of_a_wrong_number_changes_nothing() -> None:
    found = connections(TRACES / "hand-made-peer")[4]
    assert [set(s.flags) for s in found.ignored] == list(map(set, ("R", "S", "PA", "", "SFRPUA")))
    assert (found.sent.bytes, found.received.bytes) == (5, 10)
    assert found.received.missing == 0
    assert [step.strange for step in walk(found).steps].count(True) == 5


def test_the_round_trip_is_that_of_the_last_syn() -> None:
    first = connections(TRACES / "openings-lost")[0].opening
    assert first.tries == 2
    assert first.segments[-1].after > 900_000_000
    assert first.round_trip is not None
    assert first.round_trip < 10_000_000


@every_recording
def test_what_the_command_shows(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The verdicts in words, no line too long; and as JSON with the kernel's states beside ours."""
    folder = str(TRACES / name)
    assert main(["handshake", folder]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    told = "\n".join(lines)
    assert main(["handshake", folder, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["connections"]
    for verdict, connection in zip(VERDICTS[name], found, strict=True):
        for words in (verdict.cause, verdict.note, OPENINGS[verdict.opening]):
            assert words in told
        assert connection["opening"]["kind"] == verdict.opening
        assert len(connection["ignored"]) == verdict.ignored
        if connection["client"][0] != "10.9.0.2":
            assert connection["kernel"]["differs"] == verdict.kernel
            assert (
                connection["states"]["client"][0] == connection["kernel"]["client"][0] == "CLOSED"
            )
    causes = [s["cause"] or "" for c in found for s in c["opening"]["segments"]]
    assert any(cause.startswith("by connect") for cause in causes)


LIVE = ("openings", "closings", "closings_lost", "resets", "simultaneous", "hand_made_peer")


def lacking(name: str) -> str:
    """Why a scenario cannot be made here; '' where it can."""
    places = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    if (TRACES / "wires" / f"{name}.nft").exists() and not shutil.which("nft", path=places):
        return "needs nft (Debian: nftables)"
    if (TRACES / "wires" / f"{name}.py").exists() and not os.access("/dev/net/tun", os.W_OK):
        return "/dev/net/tun may not be used by this user"
    return ""


@pytest.fixture(scope="module")
def made_now(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The scenarios, all at once: they mostly wait for the kernel to send something again."""
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]); import record; "
        "record.record(sys.argv[2], Path(sys.argv[3]))"
    )
    folder = tmp_path_factory.mktemp("now")
    running = {
        name: subprocess.Popen(
            [sys.executable, "-c", code, TRACES, name, folder / name],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for name in LIVE
        if not lacking(name)
    }
    said = {name: process.communicate(timeout=PATIENCE)[0] for name, process in running.items()}
    assert {name: p.returncode for name, p in running.items() if p.returncode} == {}, said
    return {name: folder / name for name in running}


@pytest.mark.parametrize("name", LIVE)
def test_made_now(name: str, made_now: dict[str, Path]) -> None:
    """The same verdicts as in the recordings, and the kernel's states where they may be had.

    But two things are a matter of milliseconds: whether the other end closes before its
    acknowledgement is due, and how often a kernel sends something again to a host that is gone.
    """
    if missing := lacking(name):
        pytest.skip(missing)
    folder = made_now[name]
    found = connections(folder)
    expected = VERDICTS[name.replace("_", "-")]
    assert len(found) == len(expected)

    def timeless(verdict: Verdict, connection: Connection) -> Verdict:
        if verdict.segments == 3:
            return replace(verdict, segments=connection.closing.fin_segments)
        if name == "hand_made_peer" and verdict.kernel:
            assert connection.sent.retransmitted >= 1
            return replace(
                verdict,
                retransmitted=(connection.sent.retransmitted, 0),
                tries=connection.opening.tries,
                ignored=len(connection.ignored),
                note=connection.opening.note or connection.closing.note,
            )
        return verdict

    wrong = [timeless(v, c).differs(c) for v, c in zip(expected, found, strict=True)]
    assert wrong == [""] * len(wrong)
    if (folder / FILE).exists() and Trace.open(folder).problems == []:
        known = kernel(folder)
        assert [difference(c, known.of(c)) for c in found] == [v.kernel for v in expected]


def test_numbers_go_on_after_a_syn_that_is_ignored() -> None:
    """Views count from each connection's first number, whatever comes in between."""
    found = connections(TRACES / "hand-made-peer")[4]
    told = [
        (packet.flags, packet.relative)
        for packet in Trace.open(TRACES / "hand-made-peer").packets()
        if {packet.source, packet.target} == {found.client, found.server}
    ]
    assert told[-3:] == [("FA", (6, 11)), ("FA", (11, 7)), ("A", (7, 12))]
