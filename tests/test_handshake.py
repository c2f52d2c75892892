"""The handshake inspector on connections that real sockets made, captured here."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import wire_cases
from hypothesis import given
from hypothesis import strategies as st
from patience import PATIENCE
from wire_cases import End, Ends

from sockfsm.cli.main import main
from sockfsm.events import Packet
from sockfsm.trace.tcp_path import paths, walk
from sockfsm.views import handshake as view
from sockfsm.views.text import Paint
from sockfsm.wire.capture import Capture
from sockfsm.wire.findings import CLOSINGS, OPENINGS, Connection
from sockfsm.wire.handshake import inspect
from sockfsm.wire.headers import packets

ACTIVE = ("CLOSED", "SYN-SENT", "ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT")
PASSIVE = ("LISTEN", "SYN-RECEIVED", "ESTABLISHED", "CLOSE-WAIT", "LAST-ACK", "CLOSED")
OPENED = ("CLOSED", "SYN-SENT", "ESTABLISHED")
ACCEPTED = ("LISTEN", "SYN-RECEIVED", "ESTABLISHED")


def captured(path: Path, case: Callable[[], Ends]) -> Connection:
    """The one connection of `case`, captured into `path`."""
    with Capture.start(path) as capture:
        client, server = case()
        summary = capture.stop()
    assert summary.dropped == 0
    assert summary.problem == ""
    return of(path, client, server)


def of(path: Path, client: End, server: End) -> Connection:
    problems: list[str] = []
    found = inspect(packets(path, None, problems)).connections
    assert problems == []
    (connection,) = [c for c in found if (c.client, c.server) == (client, server)]
    return connection


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "packets.pcapng"


def test_normal_connection(path: Path) -> None:
    connection = captured(path, wire_cases.normal)
    opening, closing = connection.opening, connection.closing
    assert opening.kind == "normal"
    assert [s.flags for s in opening.segments] == ["S", "SA", "A"]
    assert [s.sender for s in opening.segments] == ["client", "server", "client"]
    assert [(s.relative_seq, s.relative_ack) for s in opening.segments] == [
        (0, None),
        (0, 1),
        (1, 1),
    ]
    syn = opening.segments[0]
    assert syn.offered is not None
    assert syn.offered.mss == 65495
    assert syn.offered.sack
    assert syn.offered.scale is not None
    assert syn.offered.timestamps is not None
    assert opening.round_trip is not None
    assert 0 < opening.round_trip < 1_000_000_000
    assert (connection.sent.bytes, connection.sent.segments) == (100, 1)
    assert (connection.received.bytes, connection.received.segments) == (50, 1)
    assert closing.kind == "orderly"
    assert closing.first == "client"
    assert closing.order == ("client", "server")
    assert closing.time_wait == ("client",)
    assert closing.complete
    assert closing.half_close is not None
    assert closing.fin_segments in (3, 4)
    assert paths(connection) == (ACTIVE, PASSIVE)


def test_ipv6(path: Path) -> None:
    connection = captured(path, lambda: wire_cases.normal("::1", socket.AF_INET6))
    assert connection.opening.kind == "normal"
    assert connection.client[0] == "::1"
    assert (connection.sent.bytes, connection.received.bytes) == (100, 50)


def test_the_server_closes_first_and_owes_time_wait(path: Path) -> None:
    connection = captured(path, wire_cases.server_closes_first)
    assert connection.closing.first == "server"
    assert connection.closing.time_wait == ("server",)
    client, server = paths(connection)
    assert client == (*OPENED, "CLOSE-WAIT", "LAST-ACK", "CLOSED")
    assert server == (*ACCEPTED, "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT")


def kernel_states(connection: Connection) -> tuple[str, str]:
    """What /proc/net/tcp says now of (client, server): '06' is TIME_WAIT, '' gone (proc_net_tcp)."""
    found = {}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, state, *_ = line.split()
        found[int(local.partition(":")[2], 16), int(remote.partition(":")[2], 16)] = state
    here, there = connection.client[1], connection.server[1]
    return found.get((here, there), ""), found.get((there, here), "")


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (wire_cases.normal, ("06", "")),
        (wire_cases.server_closes_first, ("", "06")),
        (wire_cases.half_close, ("06", "")),
        (wire_cases.linger_reset, ("", "")),
        (wire_cases.unread_reset, ("", "")),
    ],
)
def test_time_wait_is_owed_by_whom_the_kernel_makes_wait(
    path: Path, case: Callable[[], Ends], expected: tuple[str, str]
) -> None:
    connection = captured(path, case)
    assert kernel_states(connection) == expected
    owed = tuple(
        "06" if end in connection.closing.time_wait else "" for end in ("client", "server")
    )
    assert owed == expected


def test_refused(path: Path) -> None:
    connection = captured(path, wire_cases.refused)
    assert connection.opening.kind == "refused"
    assert connection.closing.reset_by == "server"
    assert "nothing listens" in connection.closing.reset_cause
    assert paths(connection) == (("CLOSED", "SYN-SENT", "CLOSED"), ("CLOSED",))


def test_half_close(path: Path) -> None:
    connection = captured(path, wire_cases.half_close)
    closing = connection.closing
    assert (closing.kind, closing.first, closing.fin_segments) == ("orderly", "client", 4)
    assert closing.half_close_bytes == 30
    assert paths(connection) == (ACTIVE, PASSIVE)


@pytest.mark.parametrize(
    ("case", "by", "cause"),
    [
        (wire_cases.linger_reset, "client", "SO_LINGER 0"),
        (wire_cases.unread_reset, "server", "received data unread"),
        (wire_cases.data_after_close, "server", "data came after this end had closed"),
        (wire_cases.never_accepted, "server", "listening socket closed before accept"),
    ],
)
def test_resets(path: Path, case: Callable[[], Ends], by: str, cause: str) -> None:
    connection = captured(path, case)
    assert connection.opening.kind == "normal"
    assert connection.closing.kind == "reset"
    assert connection.closing.reset_by == by
    assert cause in connection.closing.reset_cause
    assert connection.closing.time_wait == ()
    assert [path[-1] for path in paths(connection)] == ["CLOSED", "CLOSED"]


def test_full_backlog_times_out(path: Path) -> None:
    connection = captured(path, wire_cases.full_backlog)
    assert connection.opening.kind == "timed out"
    assert connection.opening.tries == 2
    assert connection.sent.retransmitted == 1
    assert paths(connection) == (("CLOSED", "SYN-SENT"), ("LISTEN",))


def test_self_connect(path: Path) -> None:
    connection = captured(path, wire_cases.self_connect)
    assert connection.opening.kind == "self-connect"
    assert connection.closing.kind == "simultaneous"
    assert connection.sent.bytes == 2
    assert connection.sent.retransmitted == 0
    client, server = paths(connection)
    assert client == server
    assert client == (
        "CLOSED",
        "SYN-SENT",
        "SYN-RECEIVED",
        "ESTABLISHED",
        "FIN-WAIT-1",
        "CLOSING",
        "TIME-WAIT",
    )


def test_still_open(path: Path) -> None:
    with Capture.start(path) as capture:
        (client, server), sockets = wire_cases.still_open()
        capture.stop()
    for sock in sockets:
        sock.close()
    connection = of(path, client, server)
    assert connection.closing.kind == "open"
    assert paths(connection) == (OPENED, ACCEPTED)


def test_capture_that_begins_in_the_middle(path: Path) -> None:
    (client, server), sockets = wire_cases.still_open()
    with Capture.start(path) as capture:
        sockets[0].sendall(b"late")
        assert sockets[1].recv(9) == b"late"
        for sock in sockets:
            sock.close()
        capture.stop()
    connection = of(path, client, server)
    assert connection.opening.kind == "mid-stream"
    assert connection.sent.bytes == 4
    assert connection.closing.kind == "orderly"
    assert connection.closing.time_wait == ("client",)


def test_zero_window(path: Path) -> None:
    connection = captured(path, wire_cases.zero_window)
    assert connection.received.zero_windows >= 1
    assert connection.sent.zero_windows == 0
    assert connection.sent.missing == 0


def test_udp_conversation(path: Path) -> None:
    with Capture.start(path):
        client, server = wire_cases.datagrams()
    found = inspect(packets(path)).conversations
    (talk,) = [c for c in found if c.client == client]
    assert (talk.server, talk.sent, talk.received) == (server, (1, 8), (1, 10))


@pytest.fixture(scope="module")
def mirror_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Connections over a wire that delays and loses segments, in a namespace of their own."""
    if not os.access("/dev/net/tun", os.W_OK):
        pytest.skip("/dev/net/tun may not be used by this user: no wire that loses segments")
    path = tmp_path_factory.mktemp("mirror") / "mirror.pcapng"
    script = Path(__file__).with_name("mirror.py")
    subprocess.run([sys.executable, script, path], check=True, timeout=PATIENCE)
    return path


@pytest.fixture(scope="module")
def mirrored(mirror_file: Path) -> list[Connection]:
    return list(inspect(packets(mirror_file)).connections)


def test_simultaneous_open_and_close(mirrored: list[Connection]) -> None:
    for connection in mirrored[:2]:
        assert connection.opening.kind == "simultaneous"
        assert connection.closing.kind == "simultaneous"
        assert connection.closing.time_wait == ("client", "server")
        assert paths(connection)[0] == (
            "CLOSED",
            "SYN-SENT",
            "SYN-RECEIVED",
            "ESTABLISHED",
            "FIN-WAIT-1",
            "CLOSING",
            "TIME-WAIT",
        )
        assert not any(step.strange for step in walk(connection).steps)


def test_lost_segments_are_sent_again(mirrored: list[Connection]) -> None:
    seen_before_loss, seen_after_loss = mirrored[2:4]
    assert seen_before_loss.opening.tries == 2
    assert seen_before_loss.sent.retransmitted == 3
    assert seen_before_loss.sent.bytes == 500
    assert seen_after_loss.opening.tries == 1
    assert seen_after_loss.sent.retransmitted == 0
    assert paths(seen_before_loss) == paths(seen_after_loss) == (ACTIVE, PASSIVE)


def test_what_is_sent_again_as_tshark_counts_it(
    mirror_file: Path, mirrored: list[Connection]
) -> None:
    """Ours (sent again, or late) against tshark's (retransmission, or out of order), each way.

    Which of its two words tshark takes goes by time (3 ms after a duplicate acknowledgement), ours by
    whether the capture had those bytes already; the sums are equal. One difference: the SYN-ACK of
    a simultaneous opening repeats the SYN's number, so tshark suspects a retransmission, where
    RFC 9293 (figure 8) asks for that very segment.
    """
    fields = "tcp.stream", "ip.src", "tcp.srcport", "tcp.flags"
    kinds = "tcp.analysis.retransmission", "tcp.analysis.out_of_order"
    # The device carries other things, too: a busy machine has time to look for its neighbours.
    command = ["tshark", "-n", "-r", str(mirror_file), "-Y", "tcp", "-T", "fields"]
    for field in fields + kinds:
        command += ["-e", field]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    theirs: dict[tuple[int, tuple[str, int]], int] = {}
    for line in told.splitlines():
        stream, host, port, flags, *again = line.split("\t")
        number = int(stream)
        simultaneous = mirrored[number].opening.kind == "simultaneous"
        if any(again) and not (simultaneous and int(flags, 16) & 0x12 == 0x12):
            end = number, (host, int(port))
            theirs[end] = theirs.get(end, 0) + 1
    ours = {
        (number, end): flow.retransmitted + flow.late
        for number, c in enumerate(mirrored)
        for end, flow in ((c.client, c.sent), (c.server, c.received))
        if flow.retransmitted + flow.late
    }
    assert ours == theirs
    before, after = mirrored[4:6]
    assert before.sent.retransmitted == after.sent.late == sum(ours.values()) - 3 - after.sent.late
    assert before.sent.late == after.sent.retransmitted == 0
    assert before.sent.bytes == after.sent.bytes == 200_000


def test_all_eleven_states_are_seen(mirrored: list[Connection], path: Path) -> None:
    from sockfsm.tcp_names import STATES

    seen = {state for c in mirrored for side in paths(c) for state in side}
    seen |= {state for side in paths(captured(path, wire_cases.normal)) for state in side}
    assert seen == set(STATES)


def test_text_fits_the_terminal_and_names_what_matters(
    path: Path, mirrored: list[Connection]
) -> None:
    with Capture.start(path):
        wire_cases.normal("::1", socket.AF_INET6)
        wire_cases.refused()
        wire_cases.unread_reset()
        wire_cases.datagrams()
    report = inspect(packets(path))
    lines = list(view.lines(report, Paint(False), ["something was cut"]))
    for connection in mirrored:
        lines += view.of_connection(connection, Paint(False))
    assert max(map(len, lines)) <= 100
    text = "\n".join(lines)
    for words in (
        "SYN-ACK seq=0 ack=1",
        "TIME_WAIT is owed by client",
        "[::1]:",
        "RST by the server",
    ):
        assert words in text
    assert "NOTE     something was cut" in text


def test_every_kind_has_its_words() -> None:
    assert all(text for text in (*OPENINGS.values(), *CLOSINGS.values()))


def test_command(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Capture.start(path):
        client, server = wire_cases.normal()
        wire_cases.normal()
    assert main(["handshake", str(path), "--json", "--port", str(client[1])]) == 0
    (found,) = json.loads(capsys.readouterr().out)["connections"]
    assert found["server"] == list(server)
    assert found["opening"]["segments"][1]["flags"] == "SA"
    assert found["states"]["client"] == list(ACTIVE)
    assert main(["handshake", str(path)]) == 0
    assert f"127.0.0.1:{client[1]} -> 127.0.0.1:{server[1]}" in capsys.readouterr().out


def test_command_with_no_capture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, content in (("missing", None), ("text.pcap", b"hello"), ("empty.pcap", b"")):
        file = tmp_path / name
        if content is not None:
            file.write_bytes(content)
        assert main(["handshake", str(file)]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert main(["handshake", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


CLIENT, SERVER = ("10.0.0.1", 1000), ("10.0.0.2", 80)


def told(story: str) -> Connection:
    """`> S 100` is a SYN of the client with that sequence number, `< SA 300 101` the answer."""
    (connection,) = inspect(packets_of(story)).connections
    return connection


def packets_of(story: str) -> list[Packet]:
    """The packets of a story as `told` reads it; `-` is a segment without flags."""
    segments = []
    for time, line in enumerate(story.strip().splitlines()):
        way, flags, *numbers = line.split()
        seq, ack, length = (*map(int, numbers), 0, 0, 0)[:3]
        ends = (CLIENT, SERVER) if way == ">" else (SERVER, CLIENT)
        segment = Packet(time, time, "tcp", *ends, flags.strip("-"), seq, ack, 100, length, b"", 1)
        segments.append(segment)
    return segments


@pytest.mark.parametrize(
    ("story", "kind", "client", "server"),
    [
        ("> S 1", "unanswered", "SYN-SENT", "LISTEN"),
        ("> S 1\n> S 1", "timed out", "SYN-SENT", "LISTEN"),
        ("> S 1\n< SA 7 2", "incomplete", "SYN-SENT", "SYN-RECEIVED"),
        ("> S 1\n< SA 7 2\n> R 2", "reset", "CLOSED", "CLOSED"),
        ("> S 1\n< SA 7 2\n< RA 8 2", "reset", "CLOSED", "CLOSED"),
        ("< SA 7 2\n> A 2 8", "mid-stream", "ESTABLISHED", "ESTABLISHED"),
    ],
)
def test_openings_that_came_to_nothing(story: str, kind: str, client: str, server: str) -> None:
    connection = told(story)
    assert connection.opening.kind == kind
    assert (connection.client, connection.server) == (CLIENT, SERVER)
    assert [path[-1] for path in paths(connection)] == [client, server]


def test_accept_queue_full_is_noticed() -> None:
    connection = told("> S 1\n< SA 7 2\n> A 2 8\n< SA 7 2\n> A 2 8")
    assert connection.opening.kind == "normal"
    assert "accept queue is full" in connection.opening.note


def test_bytes_are_counted_once() -> None:
    connection = told(
        """
        > S 99
        < SA 499 100
        > A 100 500
        > PA 100 500 50
        > PA 100 500 50
        > PA 120 500 50
        > PA 200 500 10
        > PA 170 500 30
        > A 209 500 1
        """
    )
    sent = connection.sent
    assert (sent.bytes, sent.segments, sent.retransmitted, sent.late) == (110, 6, 2, 1)
    assert sent.missing == 0


def test_missing_bytes_are_told() -> None:
    connection = told("> S 99\n< SA 499 100\n> A 100 500\n> PA 100 500 10\n> PA 150 500 10")
    assert (connection.sent.missing, connection.sent.bytes) == (40, 20)


def test_what_no_rule_explains_is_shown() -> None:
    """A FIN after the reset: the state stays, the line is marked."""
    connection = told("> S 1\n< SA 7 2\n> A 2 8\n> RA 2 8\n> FA 2 8")
    assert [step.strange for step in walk(connection).steps] == [False] * 4 + [True]
    assert "?!" in "\n".join(view.of_connection(connection, Paint(False)))


def test_the_calls_behind_the_segments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        """import socket
listening = socket.create_server(("127.0.0.1", 0))
client = socket.socket()
client.connect(listening.getsockname())
data, _ = listening.accept()
client.close()
data.close()
"""
    )
    folder = tmp_path / "trace"
    command = [sys.executable, "-m", "sockfsm", "run", "-o", str(folder), str(program)]
    subprocess.run(command, check=True, timeout=PATIENCE)
    assert main(["handshake", str(folder)]) == 0
    told = capsys.readouterr().out
    for cause in (
        r"by connect\(127\.0\.0\.1:\d+\) at program\.py:4",
        r"by close\(\) at program\.py:6",
    ):
        assert re.search(cause, told)


OPEN = "> S 99\n< SA 499 100\n> A 100 500\n"


@pytest.mark.parametrize(
    ("story", "ignored"),
    [
        ("< R 9000\n> A 100 500\n> FA 100 500", ["R"]),  # RST of a wrong number, and it goes on
        ("> S 7777\n< A 500 100\n> PA 100 500 5", ["S"]),  # SYN on an open connection
        ("< SA 777 100\n> A 100 500", ["SA"]),
        ("< PA 90000 100 5\n> A 100 500", ["PA"]),  # far outside the window
        ("< - 500\n> A 100 500", [""]),  # without ACK
    ],
)
def test_what_the_receiver_must_ignore(story: str, ignored: list[str]) -> None:
    """RFC 9293, 3.10.7, and RFC 5961: the connection is open as before."""
    connection = told(OPEN + story)
    assert [s.flags for s in connection.ignored] == ignored
    assert connection.received.bytes == connection.received.missing == 0
    assert paths(connection)[0][:3] == OPENED
    assert "CLOSED" not in paths(connection)[0][1:]


def test_a_reset_of_a_wrong_number_that_nobody_outlives() -> None:
    """The capture may lack what came before: nothing says that it was not taken."""
    connection = told(OPEN + "< R 9000")
    assert (connection.closing.kind, connection.ignored) == ("reset", ())


def test_ports_used_again_although_no_closing_was_seen() -> None:
    story = OPEN + "> S 7777\n< SA 8888 7778\n> A 7778 8889"
    segments = packets_of(story)
    first, second = inspect(segments).connections
    assert (first.closing.kind, second.opening.kind) == ("open", "normal")
    assert first.ignored == second.ignored == ()


def test_data_behind_a_gap_in_the_capture_are_counted() -> None:
    """Far outside the window, but what follows goes on from there: the capture lacks the rest."""
    connection = told(OPEN + "> PA 900100 500 10\n> PA 900110 500 10\n> PA 900120 500 10")
    assert connection.sent.bytes == 20
    assert connection.sent.missing > 900_000


def test_a_host_that_is_gone() -> None:
    connection = told(OPEN + "> PA 100 500 5\n> PA 100 500 5\n> PA 100 500 5")
    assert connection.closing.kind == "open"
    assert "sent again 2 times and never acknowledged" in connection.closing.note
    answered = told(OPEN + "> PA 100 500 5\n> PA 100 500 5\n< A 500 105")
    assert answered.closing.note == ""


NUMBERS = st.sampled_from([0, 1, 99, 100, 105, 500, 501, 7777, 90_000, 2**31, 2**32 - 1])
Segment = tuple[bool, str, int, int, int, int]
SEGMENTS: st.SearchStrategy[list[Segment]] = st.lists(
    st.tuples(
        st.booleans(),
        st.sampled_from(["S", "SA", "A", "PA", "FA", "R", "RA", "F", "", "SFRPUA"]),
        NUMBERS,
        NUMBERS,
        st.sampled_from([0, 0, 1, 5, 70_000]),
        st.sampled_from([0, 100]),
    ),
    max_size=30,
)


@given(SEGMENTS)
def test_whatever_comes_each_packet_is_counted_once(story: list[Segment]) -> None:
    """Segments of any flags and numbers: none is lost, none counted twice, all of it can be shown."""
    segments = []
    for time, (forth, flags, seq, ack, length, window) in enumerate(story):
        ends = (CLIENT, SERVER) if forth else (SERVER, CLIENT)
        segments.append(Packet(time, time, "tcp", *ends, flags, seq, ack, window, length, b"", 1))
    report = inspect(segments)
    assert sum(c.sent.packets + c.received.packets for c in report.connections) == len(segments)
    for connection in report.connections:
        assert min(connection.sent.bytes, connection.received.bytes, connection.sent.missing) >= 0
        listed = connection.opening.segments + connection.closing.segments + connection.ignored
        assert len(walk(connection).steps) == len(set(listed))
    assert max(map(len, view.lines(report, Paint(False))), default=0) <= 120
