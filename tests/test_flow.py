"""The annotated stream: each packet's sockets by name, time and family; numbers, states, waits."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from synthetic import Story

from sockfsm.events import Packet, Socket
from sockfsm.trace.join import LOOKAHEAD
from sockfsm.views import jsonlines
from sockfsm.views.ladder import Ladder
from sockfsm.views.selection import Selection
from sockfsm.wire.flows import Flows
from sockfsm.wire.sequence import Seq
from sockfsm.wire.side import MOST_GAPS, Side, Span

SERVER, CLIENT = ("127.0.0.1", 7000), ("127.0.0.1", 50123)
NUMBERS = st.integers(0, 2**32 - 1)


@given(NUMBERS, st.integers(-(2**31), 2**31 - 1))
def test_sequence_numbers_wrap_around(number: int, count: int) -> None:
    following = Seq(number) + count
    assert 0 <= following < 2**32
    assert following - number == count
    assert Seq(number) - following == (-count if count != -(2**31) else count)


def connection(story: Story, at: float, listening: Socket, isn: int) -> tuple[Socket, Socket]:
    """A whole connection with five bytes, always on the same ports: its sockets, the client's first."""
    client = story.socket(local=CLIENT, remote=SERVER)
    story.call(at, client, "connect", states="CREATED -> CONNECTED", took=0.5, address=SERVER)
    story.packet(at + 0.1, client, listening, "S", seq=isn)
    story.packet(at + 0.2, listening, client, "SA", seq=isn + 9, ack=isn + 1)
    story.packet(at + 0.3, client, listening, "A", seq=isn + 1, ack=isn + 10)
    story.call(at + 1, client, "send", states="CONNECTED", asked=5, done=5)
    data = {"seq": isn + 1, "ack": isn + 10, "length": 5}
    story.packet(at + 1.001, client, listening, "PA", **data)
    taken = story.socket(made_by="accepted", parent=listening.identity, local=SERVER, remote=CLIENT)
    # The bytes came before accept gave the socket.
    story.call(at + 2, listening, "accept", states="LISTENING", address=CLIENT)
    story.call(at + 2.01, taken, "accepted", states=" -> CONNECTED", took=0)
    story.call(at + 3, client, "close", states="CONNECTED -> CLOSED")
    story.packet(at + 3.001, client, listening, "FA", seq=isn + 6, ack=isn + 10)
    story.packet(at + 3.1, listening, client, "A", seq=isn + 10, ack=isn + 7)
    story.call(at + 4, taken, "close", states="CONNECTED -> CLOSED")
    story.packet(at + 4.001, listening, client, "FA", seq=isn + 10, ack=isn + 7)
    story.packet(at + 4.1, client, listening, "A", seq=isn + 7, ack=isn + 11)
    return client, taken


def twice() -> tuple[Story, list[tuple[Socket, Socket]]]:
    """Two connections, the second on the ports of the first."""
    story = Story()
    story.process()
    listening = story.socket(local=SERVER)
    story.call(1, listening, "listen", states="BOUND -> LISTENING")
    return story, [connection(story, at, listening, isn) for at, isn in ((10, 1000), (20, 5000))]


def test_ports_that_are_used_again_belong_to_the_sockets_of_their_time() -> None:
    story, pairs = twice()
    packets = list(story.packets())
    listening = story.made[0]
    for part, (client, taken) in zip((packets[:8], packets[8:]), pairs, strict=True):
        syn, *others = part
        assert (syn.socket, syn.receiver) == (client, listening)
        for packet in others:
            ends = (client, taken) if packet.source == CLIENT else (taken, client)
            assert (packet.socket, packet.receiver) == ends
        assert [packet.relative for packet in part[:4]] == [(0, None), (0, 1), (1, 1), (1, 1)]
        assert [packet.states for packet in part if "F" in packet.flags] == [
            ("FIN-WAIT-1", "CLOSE-WAIT"), ("LAST-ACK", "TIME-WAIT"),
        ]  # fmt: skip
    assert len(story.report().connections) == 2


def test_every_view_draws_them_so() -> None:
    story, _ = twice()
    rows = [line for line in Ladder(story).lines() if "PSH-ACK" in line]
    assert [re.findall(r"#\d", row) for row in rows] == [["#2", "#3"], ["#4", "#5"]]
    rows = [
        line for line in Ladder(story).lines(Selection(frozenset({"100.5"}))) if "len 5" in line
    ]
    assert len(rows) == 1
    told = [
        o for o in jsonlines.objects(story, Selection()) if o["type"] == "packet" and o["length"]
    ]
    assert [(o["socket"], o["receiver"]) for o in told] == [("100.2", "100.3"), ("100.4", "100.5")]


def test_a_listener_of_another_family_does_not_get_a_syn() -> None:
    story = Story()
    story.process()
    listening = story.socket(local=("0.0.0.0", 9))
    client = story.socket(local=("::1", 40), remote=("::1", 9))
    story.call(1, listening, "listen", states="BOUND -> LISTENING")
    story.call(2, client, "connect", "ECONNREFUSED", took=1, errno=111, address=("::1", 9))
    story.packet(2.1, client, client, "S", seq=7)
    story.seen[-1] = story.seen[-1]._replace(source=("::1", 40), target=("::1", 9))
    (syn,) = story.packets()
    assert (syn.socket, syn.receiver) == (client, None)
    four = syn._replace(source=("127.0.0.1", 40), target=("127.0.0.1", 9))
    story.seen[:] = [four]
    (syn,) = story.packets()
    assert syn.receiver is listening


def test_a_segment_that_its_receiver_ignores_ends_no_wait() -> None:
    story, ((client, _), _) = twice()
    story.call(11, client, "recv", states="CONNECTED", took=1, waited=True, done=5)
    stray = story.seen[3]._replace(
        time=story.seen[3].time + 100, source=SERVER, target=CLIENT, seq=2**31, length=5
    )
    story.seen.append(stray)
    (found,) = (packet for packet in story.packets() if packet.seq == 2**31)
    assert found.ignored
    assert found.ended is None


def test_the_stream_holds_back_a_bounded_number_of_packets() -> None:
    story, _ = twice()
    pulled = 0

    def endless(packets: list[Packet]) -> object:
        nonlocal pulled
        for _ in range(LOOKAHEAD):
            for packet in packets:
                pulled += 1
                yield packet

    assert next(story.join().packets(endless(story.seen)))  # type: ignore[arg-type]
    assert pulled <= LOOKAHEAD + 1


def test_a_late_segment_fills_its_gap_wherever_it_is_cut() -> None:
    """Three segments lost and sent again as two, across their bounds: nothing is missing any more."""
    first = Packet(0, 0, "tcp", CLIENT, SERVER, "PA", 100, 1, 9, 10, b"", 1)
    flows = Flows()
    flows.add(first)
    flows.add(first._replace(time=1, seq=140))
    for time, seq, length in ((2, 110, 20), (3, 125, 15)):
        *_, meaning = flows.add(first._replace(time=time, seq=seq, length=length))
        assert meaning.span is not None
        assert meaning.span.fills
        assert not meaning.again
    side = flows.flows[0].sides[0]
    assert (side.missing, side.bytes, side.late) == (0, 50, 2)


def sent(side: Side, *pieces: tuple[int, int], at: int = 0) -> list[Span]:
    """Segments of (number, length), one ns apart."""
    return [
        side.take(Packet(time, time, "tcp", CLIENT, SERVER, "A", seq, 0, 100, length, b"", 1))
        for time, (seq, length) in enumerate(pieces, at)
    ]


def test_the_first_data_and_the_last() -> None:
    side = Side(CLIENT)
    sent(side, (0, 5), (5, 5), (10, 5), at=7)
    assert (side.first_data, side.last_data) == (7, 9)


def test_what_is_sent_again_with_new_bytes_counts_for_those() -> None:
    side = Side(CLIENT)
    assert sent(side, (0, 10), (5, 10))[1] == Span(10, 15)
    assert sent(side, (25, 10), (15, 25))[1] == Span(15, 40, fills=True)  # the gap's, and new ones
    assert (side.bytes, side.missing, side.retransmitted, side.late) == (40, 0, 1, 1)


def test_gaps_that_are_filled_leave_room_for_others() -> None:
    side = Side(CLIENT)
    for place in range(0, 20 * 2 * MOST_GAPS, 20):
        sent(side, (place, 10), (place + 20, 10), (place + 10, 10))
    assert (side.missing, side.gaps) == (0, [])
    sent(side, (20 * 2 * MOST_GAPS + 90, 10))
    assert side.missing == 80
