"""The program's audit hooks hear of what we call. What they raise then is for us alone."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from patience import PATIENCE

from sockfsm.trace.trace import Trace

PROGRAM = """
    import os, socket, sys

    class Denied(Exception):
        pass

    error, traced = eval(sys.argv[1]), sys.argv[2:]
    # What the program's own calls tell of; and `id`, which nobody can do without.
    own = {"import", "builtins.id", "sys.unraisablehook", "os.remove"}
    listening = []

    class Hook:
        def __call__(self, event, args):
            if error and listening and event not in own and not event.startswith("socket."):
                raise error(f"no {event}")

    if sys.argv[3] == "a function":
        def hook(event, args, me=Hook()):
            me(event, args)
    elif sys.argv[3] == "any arguments":
        hook = lambda *args: Hook()(*args)
    else:
        hook = Hook()
    sys.addaudithook(hook)
    socket.getaddrinfo("127.0.0.1", 80)  # loads a codec
    if sys.argv[2]:
        import sockfsm
        sockfsm.install(sys.argv[2])

    said = []

    def tried(call, *args):
        try:
            found = call(*args)
        except BaseException as error:
            said.append((call.__name__, repr(error)))
        else:
            said.append((call.__name__, type(found).__name__))
            return found

    listening.append(True)
    server = tried(socket.socket)
    tried(server.bind, ("127.0.0.1", 0))
    tried(server.listen)
    client = tried(socket.socket)
    tried(client.connect, server.getsockname())
    data, _ = tried(server.accept)
    for _ in range(5_000):
        client.send(b"x"), data.recv(1)
    tried(client.sendall, b"xy")
    tried(data.recv_into, bytearray(9))
    client.settimeout(0.01)
    tried(client.recv, 1)
    client.setblocking(False)
    tried(client.recv, 1)
    tried(client.sendmsg, [b"a", b"b"])
    tried(data.recvfrom, 5)
    tried(client.dup().close)
    tried(socket.socketpair)[0].close()
    tried(data.makefile, "rb").close()
    tried(os.unlink, "/nothing/there")
    tried(socket.getaddrinfo, "127.0.0.1", 80)
    tried(client.shutdown, socket.SHUT_WR)
    tried(data.recv, 1)
    for each in (server, client, data):
        tried(each.close)
    listening.clear()
    print(said)
"""


def run(folder: Path | str, error: str, form: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), error, folder, form],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many calls there are."""
    folder = tmp_path_factory.mktemp("whole") / "trace"
    run(folder, "None", "an object")
    return len(list(Trace.open(folder).calls()))


@pytest.mark.parametrize("form", ["an object", "a function", "any arguments"])
@pytest.mark.parametrize(
    "error",
    ["Denied", "KeyError", "StopIteration", "PermissionError", "MemoryError", "SystemExit"],
)
def test_what_a_hook_raises_for_us_changes_no_call(
    error: str, form: str, whole: int, tmp_path: Path
) -> None:
    plain, traced = (run(folder, error, form) for folder in ("", tmp_path / "trace"))
    assert (traced.returncode, traced.stdout) == (plain.returncode, plain.stdout), traced.stderr
    assert "'NoneType'" in plain.stdout
    trace = Trace.open(tmp_path / "trace")
    calls = list(trace.calls())
    # There is no second window; what is in the first one has its states, and no place.
    assert {call.explained for call in calls} == {True}
    assert 1_000 < len(calls) < 9_000
    (lost,) = trace.losses
    assert (lost.what, lost.why) in [
        ("calls", "Operation not permitted"),
        ("calls", "Permission denied"),
        ("calls", "Cannot allocate memory"),
    ]
    assert len(calls) + lost.count == whole


def test_what_a_signal_handler_raises_is_not_taken_for_a_hooks(tmp_path: Path) -> None:
    code = """
        import signal, socket, sys
        import sockfsm
        from sockfsm.tracer import places

        def handler(number, frame):
            raise KeyError("the program's")

        signal.signal(signal.SIGALRM, handler)
        sockfsm.install(sys.argv[1])

        def interrupted(*_):
            signal.raise_signal(signal.SIGALRM)

        near, far = socket.socketpair()
        places._getframe = interrupted
        try:
            near.sendmsg([b"x"])
        except KeyError:
            print("raised")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), tmp_path], capture_output=True, text=True
    )
    assert done.stdout == "raised\n", done.stderr
