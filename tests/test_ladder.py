"""The ladder: ends, spans, waits, arrows, states; filters; width; ASCII."""

import io
import re
from socket import AF_UNIX

import pytest
from synthetic import MS, Story, echo
from test_timeline import hostile

from sockfsm.events import Cause, Packet, Wait
from sockfsm.model.stepping import GONE
from sockfsm.views.activity import NOTHING, OPEN, Activity
from sockfsm.views.glyphs import ASCII, BOX, glyphs_for
from sockfsm.views.ladder import Ladder
from sockfsm.views.lanes import Lanes
from sockfsm.views.selection import Selection
from sockfsm.views.text import Paint, width
from sockfsm.wire.kernel_states import KernelState


def shown(story: Story, columns: int = 100, **chosen: object) -> list[str]:
    ladder = Ladder(story, columns=columns)
    lines = list(ladder.lines(Selection(**chosen)))  # type: ignore[arg-type]
    top = next(n for n, line in enumerate(lines) if line.lstrip().startswith("seconds"))
    return lines[top + 1 : lines.index("", top)]


def row(rows: list[str], *words: str) -> str:
    found = [line for line in rows if all(word in line for word in words)]
    assert len(found) == 1, (words, found)
    return found[0]


def place(rows: list[str], *words: str) -> int:
    return rows.index(row(rows, *words))


def test_who_connects_stands_left_and_who_listens_right() -> None:
    rows = shown(echo())
    assert row(rows, "connect(").index("#2") < 40
    assert re.search(r" bind\(127.0.0.1:7000\) = ok ┫ #1 +BOUND$", row(rows, "bind("))
    assert re.search(r" accept\(\) ┓ #1$", row(rows, "Thread-1"))


def test_a_call_with_packets_within_is_a_span() -> None:
    rows = shown(echo())
    begin, end = place(rows, "connect("), place(rows, "connect = ok")
    assert "┏" in rows[begin]
    assert "┗" in rows[end]
    inside = rows[begin + 1 : end]
    assert [re.search(r"(SYN-ACK|SYN|ACK) seq", line)[1] for line in inside] == [  # type: ignore[index]
        *("SYN", "SYN-ACK", "ACK")
    ]
    assert all("#2 ┃" in line for line in inside)


def test_a_call_with_nothing_between_is_one_row() -> None:
    rows = shown(echo())
    assert re.search(r" #2 ┣ socket\(tcp\) = ok ", row(rows, "#2", "socket("))
    assert row(rows, "bind(")


def test_a_wait_is_shaded_from_its_begin_to_its_end() -> None:
    rows = shown(echo())
    begin, end = place(rows, "accept()", "Thread-1"), place(rows, "accept = #3")
    assert "blocked 3 ms" in rows[end]
    assert "┛ #1" in rows[end]
    assert begin < place(rows, "SYN seq 0", ">") < end
    assert "▒ #1" in row(rows, " SYN seq 0")


def test_an_arrow_names_the_call_at_its_tail_and_the_wait_at_its_head() -> None:
    rows = shown(echo())
    assert re.search(r"#2 ┃ connect ─+ SYN seq 0 ─+> accept ▒ #1", row(rows, " SYN seq"))
    assert re.search(r"┃ sendall ─+ PSH-ACK seq 1 ack 1 len 5 ─+> recv ▒ #3", row(rows, "PSH-ACK"))
    back = row(rows, "SYN-ACK")
    assert re.search(r"#2 ┃<─+ SYN-ACK seq 0 ack 1 ─+", back)


@pytest.mark.parametrize(
    ("cause", "tail"),
    [
        (Cause("kernel", "acknowledgement"), ""),
        (Cause("kernel", "retransmission"), " retransmission "),
        (Cause("unknown", "no call fits"), " ? no call fits "),
    ],
)
def test_what_no_call_causes_says_so(cause: Cause, tail: str) -> None:
    story = echo()
    story.joined[3] = {"cause": cause}
    (line,) = (line for line in shown(story) if "PSH-ACK" in line)
    assert re.search(rf"[┃│]{re.escape(tail)}─+ PSH-ACK", line)


def test_several_calls_in_one_segment_are_counted() -> None:
    story = echo()
    (call,) = (call for call in story.told if call.method == "sendall")
    story.joined[3] = {"cause": Cause("call", "queued", (call, call, call)), "ended": None}
    assert "sendall +2, queued ─" in row(shown(story, 140), "PSH-ACK")
    narrow = shown(story)
    assert "sendall +2, queued ─" in row(narrow, "PSH-ACK seq 1 len 5")
    story.joined[3] |= {"length": 10**9, "window": 0}
    narrow = shown(story)
    at = place(narrow, "PSH-ACK seq 1 ack 1 len 1000000000 win 0")
    assert "by sendall +2, queued" in narrow[at + 1]


def test_a_state_stands_at_the_side_once_when_it_changes() -> None:
    rows = shown(echo())
    states = [line.split()[1] for line in rows if re.match(r" +\d\.\d{6} [A-Z]", line)]
    assert states == ["CREATED", "SYN-SENT", "ESTABLISHED", "CONNECTED", "CLOSED"]
    assert row(rows, "bind(").endswith("BOUND")


def test_a_state_with_a_long_name_is_written_out() -> None:
    story = Story()
    story.process()
    states = "LISTENING -> LISTENING_READ_SHUT_UNLINKED"
    story.call(1, story.socket(), "shutdown", states=states)
    rows = shown(story)
    assert "LISTENING_.." in rows[0]
    assert "now LISTENING_READ_SHUT_UNLINKED" in " ".join(rows)


def test_a_refusal_is_explained_below() -> None:
    rows = shown(echo())
    at = place(rows, "REFUSED EINVAL")
    assert "listening socket" in " ".join(rows[at + 1 : at + 4])


def test_a_call_that_never_returned_stays_open() -> None:
    story = echo()
    rows = shown(story)
    assert "accept()" in rows[-1]
    assert rows[-1].split()[0] == "0.020000"


def test_a_pause_is_told() -> None:
    story = Story()
    story.process()
    story.call(1, story.socket(), "socket", states=" -> CREATED")
    story.call(2001, story.socket(), "socket", states=" -> CREATED")
    assert row(shown(story), "2 s later")


def test_a_wait_in_which_nothing_came_is_one_row_and_no_pause() -> None:
    story = Story()
    story.process()
    one = story.socket()
    story.call(1, one, "socket", states=" -> CREATED")
    story.call(2, one, "recv", "ETIMEDOUT", "CREATED", took=500, waited=True)
    rows = shown(story)
    assert place(rows, "0.002000", "recv") == 1
    assert "ETIMEDOUT, blocked 500 ms" in rows[1]
    assert [line for line in rows if "later" in line] == []


def test_a_kernel_state_stands_at_its_end() -> None:
    story = echo()
    server, client = ("127.0.0.1", 7000), ("127.0.0.1", 50123)
    states = [
        KernelState(1_000 * MS + 6_050_000, 1, 100, "CLOSED", "SYN-SENT", client, server),
        KernelState(1_000 * MS + 6_300_000, 2, 100, "SYN-RECEIVED", "ESTABLISHED", server, client),
    ]
    rows = list(Ladder(story).lines(kernel=states))
    assert "#2 ┃ kernel: CLOSED > SYN-SENT" in row(rows, "> SYN-SENT")
    assert re.search(r"kernel: SYN-RECEIVED > ESTABLISHED . #3", row(rows, "kernel: SYN-RECEIVED"))


def test_unix_messages_are_dotted_and_end_waits() -> None:
    story = Story()
    story.process()
    one = story.socket("unix-stream", made_by="socketpair", family=AF_UNIX)
    two = story.socket("unix-stream", made_by="socketpair", family=AF_UNIX)
    story.call(1, one, "socketpair", states=" -> CONNECTED")
    story.call(1, two, "socketpair", states=" -> CONNECTED")
    story.call(3, one, "send", states="CONNECTED", asked=3, done=3)
    story.call(2, two, "recv", states="CONNECTED", took=2, waited=True, done=3)
    line = row(shown(story), "message")
    assert re.search(r"#1 ┃ send ╌+ message len 3 ╌+> recv ▒ #2", line)


def test_a_refused_connect_has_its_packets_between_its_begin_and_its_end() -> None:
    story = Story()
    story.process()
    client, there = story.socket(), ("127.0.0.1", 9)
    story.call(*(1, client, "connect", "ECONNREFUSED", "CREATED"), took=1, errno=111, address=there)
    here = ("127.0.0.1", 40)
    out = story.packet(1.2, client, client, "S")
    out, back = (
        out._replace(source=here, target=there),
        out._replace(time=out.time + 9, source=there, target=here, flags="RA", ack=1),
    )
    story.seen[:] = [out, back]
    rows = shown(story)
    begin, end = place(rows, "connect(", "┏"), place(rows, "connect = FAILED ECONNREFUSED")
    assert [bool(re.search("SYN|RST", line)) for line in rows[begin + 1 : end]] == [True, True]
    assert re.search(r"#1 ┃.*<─.* RST-ACK .*:9$", rows[begin + 2])


def test_an_end_that_is_not_traced_has_its_port() -> None:
    story = echo()
    outside = ("192.0.2.7", 80)
    packet = story.seen[0]._replace(target=outside, time=1_000 * MS + 9_500_000)
    story.seen.append(packet)
    assert re.search(r"> +:80 +LISTEN$", row(shown(story), "SYN seq", ":80"))


@pytest.mark.parametrize("columns", [100, 140])
@pytest.mark.parametrize("make", [echo, hostile])
def test_no_row_is_wider_than_asked_or_acts_on_the_terminal(make: object, columns: int) -> None:
    for line in shown(make(), columns):  # type: ignore[operator]
        assert width(line) <= columns, line
        assert line == "" or line.isprintable(), line


def test_colours_change_no_word() -> None:
    coloured = list(Ladder(echo(), Paint(True)).lines())
    assert any("\x1b[" in line for line in coloured)
    plain = list(Ladder(echo()).lines())
    assert [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in coloured] == plain


def test_ascii_has_the_same_words() -> None:
    drawn = "\n".join(Ladder(echo(), glyphs=ASCII).lines())
    assert drawn.isascii()
    assert re.search(r"#2 \| connect -+ SYN seq 0 -+> accept % #1", drawn)
    assert glyphs_for(io.TextIOWrapper(io.BytesIO(), "latin-1")) is ASCII
    assert glyphs_for(io.TextIOWrapper(io.BytesIO(), "utf-8")) is BOX


def test_filters() -> None:
    story = echo()
    lanes = Lanes(story)
    three = "\n".join(shown(story, sockets=lanes.identities(["#3"])))
    assert "seq 1 ack 1 len 5" in three
    assert "bind(" not in three
    early = shown(story, until=2_500_000)
    assert len(early) == 2
    late = shown(story, since=11_500_000)
    assert [line.split()[0] for line in late] == ["0.012000", "0.020000"]
    helper = shown(story, threads=lanes.threads(["Thread-1"]))
    times = [line.split()[0] for line in helper if line[1] == "0"]
    assert times == ["0.004000", "0.007010", "0.020000"]
    client = "\n".join(shown(story, ports=lanes.ports([50123])))
    assert "connect(" in client
    assert "listen() = ok" not in client


def test_a_wait_that_began_before_the_selection_is_shaded_in_it() -> None:
    rows = shown(echo(), since=6_050_000, until=6_150_000)
    assert "▒ #1" in row(rows, "SYN seq 0")


@pytest.mark.parametrize("state", sorted(GONE))
def test_a_socket_that_is_no_longer_open_has_no_bar(state: str) -> None:
    """Also one that has left its path behind."""
    story, activity = Story(), Activity()
    story.process()
    socket = story.socket("unix-stream")
    bound = story.call(1, socket, "bind", states="CREATED -> BOUND")
    activity.end(bound, now=bound.end)
    assert activity.of(socket, bound.end) == OPEN
    closed = story.call(2, socket, "close", states=f"BOUND -> {state}")
    activity.end(closed, now=closed.begin)
    assert activity.of(socket, closed.end) == NOTHING


def test_packets_alone_make_a_ladder() -> None:
    """A trace may hold packets of ends that are not traced."""
    story = echo()
    story.told.clear()
    story.seen[:] = [
        Packet(*(1_000 * MS, 1, "udp", ("10.0.0.1", 1), ("10.0.0.2", 2), "", 0, 0, 0, 4, b"", 1))
    ]
    story.waiting[:] = [Wait(1_001 * MS, None, story.processes[0].threads[1], None, "select", None)]
    rows = shown(story)
    assert re.search(r":1 .*UDP len 4.* :2$", rows[0])
    assert "select()" in rows[1]


@pytest.mark.parametrize("wildcard", ["0.0.0.0", "::"])
def test_the_ends_of_a_wildcards_connections_are_known(wildcard: str) -> None:
    """What such a listener accepts has its name; IPv4 addresses may come mapped into IPv6."""
    mapped = "::ffff:" if wildcard == "::" else ""
    story = Story()
    story.process()
    here, there = ("127.0.0.1", 40), ("127.0.0.1", 9)
    one = story.socket(local=(wildcard, 9))
    two = story.socket(local=here, remote=there)
    three = story.socket(
        made_by="accepted", parent=one.identity, local=one.local, remote=(f"{mapped}127.0.0.1", 40)
    )
    for at, socket, method in ((1, one, "listen"), (2, two, "connect"), (3, three, "accepted")):
        story.call(at, socket, method, states="CONNECTED")
        story.call(at, socket, "recv", "EAGAIN", "CONNECTED")
    for at, flags in ((4, "S"), (5, "PA")):
        packet = story.packet(at, two, two, flags)
        story.seen[-1] = packet._replace(source=here, target=there)
    rows = shown(story)
    assert re.search(r"#2 │.*─+ SYN seq 0 ─+>│ #1 +LISTEN", row(rows, " SYN "))
    assert re.search(r"#2 │.*─+ PSH-ACK .* ─+>│ #3", row(rows, "PSH-ACK"))
    assert re.search(r"#2 ┣ recv", row(rows, "#2", "recv"))
    assert re.search(r" +│ .* ┫ #3$", row(rows, "#3", "recv"))
