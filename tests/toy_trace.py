"""Calls of made-up sockets, with times that are given, for the tests of pictures."""

from sockfsm.events import Call, Process, Site, Socket, Thread

MS = 1_000_000
PROCESS = Process(100, 1, "log", ("echo.py",), 0, 0)
THREAD = Thread(0, 100, "main")


def toy_socket(number: int, parent: str | None = None, kind: str = "tcp") -> Socket:
    """A socket with the identity `100.<number>`."""
    made_by = "accept" if parent else "create"
    return Socket(f"100.{number}", number, PROCESS, kind, 2, 1, 0, number + 3, made_by, parent)


def toy_call(
    socket: Socket | None,
    at: int,
    call: str,
    before: str,
    after: str | None = None,
    outcome: str = "ok",
    *,
    lasted: int = 1,
    errno: int = 0,
    waited: bool = False,
    explained: bool = True,
    enforced: bool = False,
) -> Call:
    """A call that begins at `at` ms and lasts `lasted` ms."""
    return Call(
        begin=at * MS,
        end=(at + lasted) * MS,
        process=PROCESS,
        thread=THREAD,
        socket=socket,
        method=call,
        call=call,
        outcome=outcome,
        errno=errno,
        asked=0,
        done=0,
        address=None,
        site=Site("echo.py", 1, "serve"),
        before=before,
        after=after or before,
        waited=waited,
        explained=explained,
        enforced=enforced,
        predicted="",
    )


def echo_server() -> list[Call]:
    """A listener that refuses a second bind, one data socket that echoes three times."""
    listener, data = toy_socket(1), toy_socket(2, parent="100.1")
    calls = [
        toy_call(listener, 0, "bind", "CREATED", "BOUND"),
        toy_call(listener, 2, "bind", "BOUND", None, "EINVAL", errno=22),
        toy_call(listener, 3, "bind", "BOUND", None, "EINVAL", errno=22),
        toy_call(listener, 4, "listen", "BOUND", "LISTENING"),
        toy_call(listener, 10, "accept", "LISTENING", lasted=40, waited=True),
    ]
    calls.append(toy_call(data, 50, "accepted", "START", "CONNECTED", lasted=0))
    for at in (60, 70, 80):
        calls.append(toy_call(data, at, "recv", "CONNECTED", lasted=5, waited=at != 80))
        calls.append(toy_call(data, at + 6, "send", "CONNECTED"))
    return [
        *calls,
        toy_call(data, 90, "recv", "CONNECTED", "PEER_CLOSED", "eof", lasted=8, waited=True),
        toy_call(data, 99, "close", "PEER_CLOSED", "CLOSED"),
        toy_call(listener, 101, "close", "LISTENING", "CLOSED"),
    ]
