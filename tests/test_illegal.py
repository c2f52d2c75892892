"""`illegal`: passes on the expected refusal alone, in both modes, on every kind of socket object."""

import errno
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

import sockfsm
from sockfsm.errors import UsageError
from sockfsm.testing import illegal


@pytest.fixture(params=["untraced", "observe", "enforce", "drop-in"])
def make(request: pytest.FixtureRequest) -> Iterator[type[socket.socket]]:
    """The class to make sockets of, in a process that is traced in one of the possible ways."""
    if request.param == "drop-in":
        try:
            yield sockfsm.socket
        finally:
            sockfsm.uninstall()
    elif request.param == "untraced":
        yield socket.socket
    else:
        with sockfsm.tracing(mode=request.param):
            yield socket.socket


Pair = tuple[socket.socket, socket.socket, socket.socket]


@pytest.fixture
def pair(make: type[socket.socket]) -> Iterator[Pair]:
    """Listening socket, client, data socket."""
    with make(socket.AF_INET, socket.SOCK_STREAM) as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        with make(socket.AF_INET, socket.SOCK_STREAM) as client:
            client.connect(server.getsockname())
            conn, _ = server.accept()
            with conn:
                yield server, client, conn


def test_the_expected_refusal_passes(pair: Pair) -> None:
    _, _, conn = pair
    with illegal("listen", state="CONNECTED", errno=errno.EINVAL) as caught:
        conn.listen()
    assert caught.refusal is not None
    assert caught.refusal.outcome == "EINVAL"
    assert caught.refusal.before == "CONNECTED"
    assert caught.refusal.site is not None
    assert caught.refusal.site.file == __file__


def test_each_expectation_may_be_left_out(pair: Pair) -> None:
    server, _, conn = pair
    with illegal("listen"):
        conn.listen()
    with illegal("recv", errno="ENOTCONN"):
        server.recv(1)
    with illegal("connect", state="LISTENING"):
        server.connect(("127.0.0.1", 1))
    with illegal("accept", socket=conn):
        conn.accept()
    with illegal("bind", state="CONNECTED", errno=errno.EINVAL):
        conn.bind(("127.0.0.1", 0))


def test_a_method_or_the_machines_word_names_the_call(make: type[socket.socket]) -> None:
    with make(socket.AF_INET, socket.SOCK_STREAM) as sock:
        with illegal("send", errno=errno.EPIPE):
            sock.sendall(b"x")
        with illegal("sendall", errno=errno.EPIPE):
            sock.sendall(b"x")
        with illegal("recv_into", errno=errno.ENOTCONN):
            sock.recv_into(bytearray(1))
        with illegal("shutdown", errno=errno.ENOTCONN):
            sock.shutdown(socket.SHUT_RD)


@pytest.mark.parametrize(
    ("family", "type_", "call", "number"),
    [
        (socket.AF_INET, socket.SOCK_DGRAM, "listen", errno.EOPNOTSUPP),
        (socket.AF_INET, socket.SOCK_DGRAM, "accept", errno.EOPNOTSUPP),
        (socket.AF_INET, socket.SOCK_DGRAM, "send", errno.EDESTADDRREQ),
        (socket.AF_UNIX, socket.SOCK_STREAM, "listen", errno.EINVAL),
        (socket.AF_UNIX, socket.SOCK_STREAM, "accept", errno.EINVAL),
        (socket.AF_UNIX, socket.SOCK_STREAM, "send", errno.ENOTCONN),
        (socket.AF_UNIX, socket.SOCK_STREAM, "recv", errno.EINVAL),
        (socket.AF_UNIX, socket.SOCK_DGRAM, "send", errno.ENOTCONN),
        (socket.AF_UNIX, socket.SOCK_DGRAM, "listen", errno.EOPNOTSUPP),
    ],
)
def test_every_kind_has_its_own(
    make: type[socket.socket], family: int, type_: int, call: str, number: int
) -> None:
    arguments = {"send": (b"x",), "recv": (1,)}.get(call, ())
    with make(family, type_) as sock, illegal(call, state="CREATED", errno=number):
        getattr(sock, call)(*arguments)


def test_a_past_that_nobody_saw(pair: Pair) -> None:
    _, client, _ = pair
    client.shutdown(socket.SHUT_WR)
    with illegal("send", errno=errno.EPIPE):
        client.sendall(b"x")


def test_an_unknown_past_is_pointed_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        unknown = pytest.raises(AssertionError, match="what the socket did before is not known")
        with unknown, illegal("accept", state="BOUND"):
            server.setblocking(False)
            with suppress(BlockingIOError):
                server.accept()


def test_a_closed_socket_refuses_everything(make: type[socket.socket]) -> None:
    sock = make()
    sock.close()
    for call, arguments in (("send", (b"x",)), ("recv", (1,)), ("accept", ()), ("listen", ())):
        with illegal(call, state="CLOSED", errno=errno.EBADF):
            getattr(sock, call)(*arguments)


def test_connect_ex_is_refused_without_an_exception(pair: Pair) -> None:
    _, client, _ = pair
    with illegal("connect", errno=errno.EISCONN):
        assert client.connect_ex(("127.0.0.1", 1)) == errno.EISCONN


def test_the_block_may_handle_the_refusal_itself(pair: Pair) -> None:
    _, _, conn = pair
    with illegal("listen", errno=errno.EINVAL), pytest.raises(OSError, match=r"."):
        conn.listen()


def test_an_outer_trace_goes_on_and_has_the_call() -> None:
    with sockfsm.tracing() as trace, socket.socket() as sock:
        with illegal("accept"):
            sock.accept()
        sock.bind(("127.0.0.1", 0))
    assert [call.method for call in trace.calls()] == ["socket", "accept", "bind", "close"]


def test_what_was_traced_before_is_traced_after(make: type[socket.socket]) -> None:
    methods = dict(vars(socket.socket))
    with make() as sock, illegal("accept"):
        sock.accept()
    assert dict(vars(socket.socket)) == methods


def test_fails_when_the_call_was_legal(make: type[socket.socket]) -> None:
    with make(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.bind(("127.0.0.1", 0))
        with pytest.raises(AssertionError) as caught, illegal("listen", state="CONNECTED"):
            sock.listen()
    text = str(caught.value)
    assert "expected that listen() is refused in state CONNECTED" in text
    assert "it was legal in BOUND" in text
    assert "BOUND -> LISTENING" in text
    assert "test_illegal.py:" in text


def test_fails_when_another_call_was_refused(pair: Pair) -> None:
    _, _, conn = pair
    another = pytest.raises(AssertionError, match=r"another call was refused: accept\(\)")
    with another as caught, illegal("listen", errno=errno.EINVAL):
        conn.accept()
    assert isinstance(caught.value.__cause__, OSError)


def wrong_twice(conn: socket.socket) -> None:
    with suppress(OSError):
        conn.accept()
    conn.listen()


def test_fails_when_more_than_one_was_refused(pair: Pair) -> None:
    _, _, conn = pair
    with pytest.raises(AssertionError, match="2 calls were refused"), illegal("listen"):
        wrong_twice(conn)


def test_fails_when_nothing_was_refused() -> None:
    with pytest.raises(AssertionError, match="the block made no socket call"), illegal("listen"):
        pass


def test_fails_when_it_was_not_called(pair: Pair) -> None:
    _, client, _ = pair
    with pytest.raises(AssertionError, match="but it was not called"), illegal("listen"):
        client.send(b"x")


def test_fails_in_another_state_with_another_errno_on_another_socket(pair: Pair) -> None:
    server, _, conn = pair
    in_state = pytest.raises(AssertionError, match="in state CONNECTED, not LISTENING")
    with in_state, illegal("listen", state="LISTENING"):
        conn.listen()
    with_errno = pytest.raises(AssertionError, match="with EINVAL, not EISCONN")
    with with_errno, illegal("listen", errno=errno.EISCONN):
        conn.listen()
    with pytest.raises(AssertionError, match="on another socket"), illegal("listen", socket=server):
        conn.listen()


def test_fails_when_a_legal_call_failed_for_another_reason(make: type[socket.socket]) -> None:
    with make(socket.AF_INET, socket.SOCK_STREAM) as first, make() as second:
        first.bind(("127.0.0.1", 0))
        legal = pytest.raises(AssertionError, match="legal in CREATED: it failed with EADDRINUSE")
        with legal, illegal("bind"):
            second.bind(first.getsockname())


def test_an_unknown_state_is_pointed_out(pair: Pair) -> None:
    _, _, conn = pair
    unknown = pytest.raises(
        AssertionError, match="tcp has no state CONECTED: did you mean CONNECTED"
    )
    with unknown, illegal("listen", state="CONECTED"):
        conn.listen()


@pytest.mark.parametrize(
    "error", [ValueError("mine"), FileNotFoundError(2, "mine"), KeyboardInterrupt()]
)
def test_other_exceptions_pass_through(pair: Pair, error: BaseException) -> None:
    _, _, conn = pair

    def block() -> None:
        with suppress(OSError):
            conn.listen()
        raise error

    with pytest.raises(type(error)) as caught, illegal("listen"):
        block()
    assert caught.value is error


def test_calls_of_other_threads_do_not_count(make: type[socket.socket]) -> None:
    def wrong() -> None:
        with make() as other, pytest.raises(OSError, match=r"."):
            other.accept()

    thread = threading.Thread(target=wrong)
    with make() as sock, illegal("accept", socket=sock):
        thread.start()
        thread.join()
        sock.accept()


@pytest.mark.parametrize("word", ["lisen", "", "fly"])
def test_an_unknown_call_is_named(word: str) -> None:
    with pytest.raises(UsageError, match=r"no call .*(listen|there are accept)"):
        illegal(word)


@pytest.mark.parametrize("number", [999999, "EOOPS"])
def test_an_unknown_errno_is_named(number: int | str) -> None:
    with pytest.raises(UsageError, match="no errno"):
        illegal("listen", errno=number)
