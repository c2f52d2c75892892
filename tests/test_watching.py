"""Who watches hears outcomes alone: all that the rules predict must be explained, and never refused."""

from __future__ import annotations

import errno
import socket
import ssl
import threading
from collections.abc import Mapping
from functools import partial
from typing import cast

import pytest

import sockfsm
from sockfsm.conform import encrypted, overlapping
from sockfsm.conform import ramble as rambling
from sockfsm.conform import watch as watching
from sockfsm.conform.circumstances import reset
from sockfsm.conform.compare import compare
from sockfsm.conform.ramble import drawn, ramble
from sockfsm.conform.runner import run_random
from sockfsm.conform.secure import context
from sockfsm.conform.suites import SUITES, Suite, suites
from sockfsm.conform.traced import Tracer
from sockfsm.conform.watch import Watch
from sockfsm.model.compiled import Compiled
from sockfsm.model.kinds import KINDS, flat_of, machine_of
from sockfsm.model.predict import Predictor
from sockfsm.model.variants import understood
from sockfsm.tracer import enforce as enforcement
from sockfsm.tracer.adapters.tls_ends import TLSEndedError, judged
from sockfsm.tracer.rows import Row
from sockfsm.tracer.witness import can_be, facts


@pytest.mark.parametrize("suite", suites(), ids=lambda s: s.title)
def test_every_prediction_is_explained_however_long_the_sequence(suite: Suite) -> None:
    """The product of what is predicted and what is thought possible, walked to its end."""
    predictor, watch = Predictor(suite.kind, suite.given), Watch(suite.kind, suite.birth)
    born = predictor.born(suite.birth)
    todo = [(born, watch.state)]
    known = {(born.name, watch.state)}
    while todo:
        node, state = todo.pop()
        for call in suite.words:
            outcome, after, _ = predictor.step(node, call)
            watch.state = state
            assert watch.step(call, outcome, suite.variant(call)) == "", (node.name, call)
            assert after.name in watch.states, (node.name, call, watch.state)
            if (after.name, watch.state) not in known:
                known.add((after.name, watch.state))
                todo.append((after, watch.state))
    assert {name for name, _ in known} >= {born.name}


@pytest.mark.parametrize("suite", suites(), ids=lambda s: s.title)
def test_the_tracer_says_what_the_machine_says(suite: Suite) -> None:
    share = compare(suite.title, min(2, len(suite.words)), (), 2, traced=True)
    assert share.disagreements == []
    assert share.outcomes > 0


@pytest.mark.parametrize("kind", KINDS)
def test_random_calls_among_living_peers_are_explained(kind: str) -> None:
    faults = run_random(kind, 1_250, 8, way="traced")
    assert not faults, "\n".join(map(str, faults))


@pytest.mark.parametrize("kind", KINDS)
def test_what_enforce_stops_the_kernel_refuses_alike(kind: str) -> None:
    faults = run_random(kind, 125, 8, way="enforce")
    assert not faults, "\n".join(map(str, faults))


@pytest.mark.parametrize("kind", KINDS)
def test_two_threads_on_one_socket_are_explained_either_way(kind: str) -> None:
    faults = run_random(kind, 300, 8, jobs=1, way="threads")
    assert not faults, "\n".join(map(str, faults))


@pytest.mark.parametrize("kind", ["tcp", "unix-stream"])
def test_random_calls_over_tls_are_explained(kind: str) -> None:
    faults = run_random(kind, 60, 8, jobs=1, way="tls")
    assert not faults, "\n".join(map(str, faults))


@pytest.mark.parametrize("way", ["threads", "tls"])
def test_what_the_kernel_shows_and_the_tracer_does_not_think_possible_is_found(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (overlapping, encrypted):
        monkeypatch.setattr(module, "fits", lambda *_: False)
    (fault, *_) = run_random("tcp", 5, 8, jobs=1, way=way)
    assert "fits none of" in fault.what


def test_a_call_that_enforce_should_not_stop_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Row, "settled", lambda *_: True)
    found = {fault.what for fault in run_random("unix-stream", 40, 5, jobs=1, way="enforce")}
    assert "connect: enforce stops it with EINVAL, the kernel says ENOENT" in found


def test_an_answer_that_enforce_changes_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enforcement, "errno_number", lambda _: 1)
    found = {fault.what for fault in run_random("udp", 40, 5, jobs=1, way="enforce")}
    assert "accept: enforce stops it with EPERM, the kernel says EOPNOTSUPP" in found


def test_a_sequence_is_drawn_from_its_seed() -> None:
    assert drawn("tcp", 1, 2) == drawn("tcp", 1, 2) != drawn("tcp", 1, 3) != drawn("tcp", 2, 3)
    assert all(10 <= sum(s.counts for s in drawn("udp", 1, n)) <= 25 for n in range(50))


def _broken(monkeypatch: pytest.MonkeyPatch, kind: str) -> Compiled:
    """A machine of its own for whoever watches, to be broken."""
    machine = Compiled.of(machine_of(kind))
    monkeypatch.setattr(watching, "watching", lambda _: machine)
    watching._step.cache_clear()
    monkeypatch.setattr(watching, "_step", watching._step.__wrapped__)
    return machine


def test_a_missing_way_is_found_and_told_by_its_shortest_sequence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = _broken(monkeypatch, "udp")
    ways = cast("dict[str, Mapping[str, str]]", machine.moves)
    ways["BOUND"] = {k: v for k, v in machine.moves["BOUND"].items() if k != "connect_ok"}
    faults = list(ramble("udp", 1, range(30), 5))
    assert faults
    for fault in faults:
        assert fault.what == "ok in BOUND is unexplained"
        assert len([step for step in fault.steps if step.counts]) <= 3
        assert fault.steps[-1].what == "connect"
        assert f"udp, seed 1, sequence {fault.number}: ok in BOUND" in str(fault)


def test_a_refusal_of_what_the_kernel_takes_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = _broken(monkeypatch, "udp")
    stops = cast("dict[str, Mapping[str, str]]", machine.refusals)
    stops["CREATED"] = {**machine.refusals["CREATED"], "connect": "EISCONN"}
    fault = next(ramble("udp", 1, range(30), 5))
    assert fault.what == "ok in CREATED would be refused with EISCONN"


def test_without_the_unseen_ways_a_closed_peer_is_unexplained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """socketserver's own pattern: the peer closes, send ok, recv eof, shutdown ENOTCONN."""
    calls = (("connect", "ok"), ("send", "ok"), ("recv", "eof"), ("shutdown_wr", "ENOTCONN"))
    watch = Watch("tcp")
    assert [watch.step(call, outcome, "blocking") for call, outcome in calls] == [""] * 4
    machine = _broken(monkeypatch, "tcp")
    machine.ways = {state: {} for state in machine.states}
    share = compare("tcp: peer closes", 3, ("connect",), 3)
    assert share.disagreements


def test_a_tracer_that_says_something_else_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tracer, "states", lambda *_: "LISTENING")
    share = compare("udp: reference", 1, (), 3, traced=True)
    assert {d.model for d in share.disagreements} >= {
        "BOUND, while the tracer says LISTENING",
        "CONNECTED, while the tracer says LISTENING",
    }


def test_what_the_kernel_shows_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rambling, "firm", lambda *_: {"listening": frozenset({"no"})})
    assert any("fits none of" in fault.what for fault in ramble("unix-stream", 1, range(5), 5))


def test_flags_as_the_machine_takes_them() -> None:
    assert understood("tcp", "recv", "blocking now") == ("recv", "")
    assert understood("tcp", "send", "blocking zero fastopen") == ("connect", "blocking fastopen")
    assert understood("tcp", "sendto", "timeout fastopen") == ("connect", "timeout fastopen")
    assert understood("udp", "send", "timeout fastopen") == ("send", "timeout")
    assert understood("tcp", "recv", "timeout fastopen") == ("recv", "timeout")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_possible_stays_a_small_number(kind: str) -> None:
    """A row for each: their number is a bound on what a traced process keeps."""
    machine, flat = watching.watching(kind), flat_of(kind)
    outcomes: dict[str, set[str]] = {call: set() for call in flat.calls}
    for cell in (*flat, *flat.unseen()):
        outcomes[cell.call].add(cell.outcome)
    known, todo = {machine.initial}, [machine.initial]
    while todo:
        state = todo.pop()
        for call in flat.calls:
            for outcome in outcomes[call]:
                for mode in ("", "timeout"):
                    after = machine.step(state, call, outcome, mode)
                    if after is not None and after not in known:
                        known.add(after)
                        todo.append(after)
    # Whether ICMP ended an attempt, or TCP goes on trying (network=doubts), shows late in tcp: 2,379
    # without that. What a program meets of them is a row, and a few dozen.
    assert len(known) < {"tcp": 10_000}.get(kind, 100)


def test_titles_name_one_suite_each() -> None:
    assert len(SUITES) == len(suites())


def test_the_likeliest_state_is_the_one_that_a_reader_expects() -> None:
    """It is what traces show: what is rare must not come before what is usual."""
    watch = Watch("tcp")
    for call, outcome, state in (
        ("connect", "ok", "CONNECTED"),
        ("send", "ok", "CONNECTED"),
        ("recv", "ok", "CONNECTED"),
        ("recv", "eof", "PEER_CLOSED"),
        ("send", "ok", "PEER_CLOSED"),
        ("shutdown_wr", "ok", "FINISHED"),
        ("close", "ok", "CLOSED"),
    ):
        assert watch.step(call, outcome, "blocking") == ""
        assert watch.states[0] == state, (call, watch.state)


def test_an_errno_that_openssl_did_not_meet_is_no_refusal() -> None:
    """`ssl` raises what an earlier call of the thread left in errno."""
    with socket.socket() as sock:
        for number in (errno.EBADF, errno.ENOTCONN):
            assert isinstance(judged(OSError(number, ""), False, sock), TLSEndedError)
    closed = OSError(errno.EBADF, "")
    assert judged(closed, False, sock) is closed


def _secured(
    pair: tuple[socket.socket, socket.socket],
) -> tuple[ssl.SSLSocket, ssl.SSLSocket]:
    """TLS over both ends."""
    ends: list[ssl.SSLSocket] = []
    wrap = partial(context(True).wrap_socket, pair[1], True)
    answering = threading.Thread(target=lambda: ends.append(wrap()))
    answering.start()
    client = context(False).wrap_socket(pair[0])
    answering.join()
    return client, ends[0]


def test_what_openssl_answers_by_itself_tells_nothing_of_the_socket() -> None:
    with sockfsm.tracing() as trace, socket.create_server(("127.0.0.1", 0)) as listening:
        connecting = socket.create_connection(listening.getsockname())
        client, server = _secured((connecting, listening.accept()[0]))
        server.write(b"four")
        assert client.read(2) == b"fo"
        reset(server)
        with pytest.raises(ConnectionResetError):
            client.unwrap()
        client.do_handshake()  # it is done already
        assert (client.read(0), client.read()) == (b"", b"ur")
        client.close()
    calls = [call for call in trace.calls() if call.method.startswith("ssl.")]
    (lost,) = (place for place, call in enumerate(calls) if call.outcome == "ECONNRESET")
    after = calls[lost + 1 :]
    assert [call.method for call in after] == ["ssl.do_handshake", *["ssl.read"] * 2]
    assert [(call.outcome, call.before, call.after) for call in after] == [
        ("ok", "RESET", "RESET")
    ] * 3
    assert [call.asked for call in after] == [0, 0, 1024]
    assert all(call.explained for call in trace.calls())
    assert not any(call.waited for call in after)


def test_into_a_buffer_openssl_reads_all_that_fits_where_no_size_is_given() -> None:
    with sockfsm.tracing() as trace:
        client, server = _secured(socket.socketpair())
        client.write(b"abcd")
        pieces = [server.read(0, bytearray(2)), server.read(len=1), server.read(9, bytearray(3))]
        client.close()
        server.close()
    assert pieces == [2, b"c", 1]
    reads = [call for call in trace.calls() if call.method == "ssl.read"]
    assert [(call.asked, call.done) for call in reads] == [(2, 2), (1, 1), (3, 1)]


def test_a_connection_that_lives_was_not_reset() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        server = listening.accept()[0]
        seen = facts(client)
        assert seen is not None
        assert can_be("CONNECTED", seen)
        assert not any(
            can_be(state, seen) for state in flat_of("tcp").states if state.startswith("RESET")
        )
        reset(server)
        seen = facts(client)
        assert seen is not None
        assert can_be("RESET", seen)
        client.close()
