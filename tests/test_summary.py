"""A trace is read as often as needed and no more; and what `show` draws between the calls."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from patience import PATIENCE

import sockfsm
from sockfsm.cli.main import main
from sockfsm.events import Call, Packet, Process, Socket, Thread
from sockfsm.trace.decode import decode
from sockfsm.trace.join import join
from sockfsm.trace.trace import Trace

ASLEEP = Path(__file__).with_name("asleep.py").read_text()
PROGRAM = """
import socket, threading
def serve():
    data, _ = listening.accept()
    data.recv(9)
    data.close()
listening = socket.create_server(("127.0.0.1", 0))
server = threading.Thread(target=serve, name="server")
server.start()
asleep(server)
client = socket.create_connection(listening.getsockname())
asleep(server)
client.sendall(b"hello")
server.join()
client.close()
listening.close()
one, two = socket.socketpair()
one.sendall(b"across")
two.recv(9)
one.close(); two.close()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("summary")
    (folder / "program.py").write_text(ASLEEP + PROGRAM)
    command = [sys.executable, "-m", "sockfsm", "run", "-o", "trace", "program.py"]
    subprocess.run(command, check=True, timeout=PATIENCE, cwd=folder, capture_output=True)
    return folder / "trace"


def test_show_reads_the_logs_twice(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []

    def counted(*arguments: Any) -> Any:
        opened.append(arguments[0])
        return decode(*arguments)

    monkeypatch.setattr("sockfsm.trace.trace.decode", counted)
    assert main(["show", str(folder), "--socket", "1"]) == 0
    assert len(opened) == 2


def test_a_finished_trace_is_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = Trace.open(folder)
    assert len(trace.sockets) == 5
    monkeypatch.setattr(trace, "_decoders", lambda: pytest.fail("read again"))
    assert len(trace.sockets) == 5
    assert [p.pid for p in trace.processes] == [h.pid for h in trace.heads]
    assert trace.blocked() == []
    assert {w.method for w in trace.waits()} >= {"accept", "recv"}


def test_a_growing_trace_is_read_anew(tmp_path: Path) -> None:
    with sockfsm.tracing(tmp_path / "trace") as trace:
        for number in range(1, 4):
            socket.socket().close()
            assert len(trace.sockets) == number
    assert len(trace.sockets) == 3
    with sockfsm.tracing(tmp_path / "trace"):  # a second log in the same folder
        socket.socket().close()
    assert len(trace.processes) == 2


def shown(folder: Path, capsys: pytest.CaptureFixture[str], *more: str) -> list[str]:
    how = () if "--json" in more else ("--list",)
    assert main(["show", str(folder), *how, *more]) == 0
    return capsys.readouterr().out.splitlines()


def test_which_wait_a_packet_ended(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(folder, capsys)
    (syn,) = [number for number, line in enumerate(lines) if "--SYN-->" in line]
    assert "by connect, ends accept of #1" in lines[syn] + lines[syn + 1]  # where there is room
    assert len([line for line in lines if "by sendall, ends recv of #3" in line]) == 1
    assert all(len(line) <= 100 for line in lines)
    woken = [json.loads(line) for line in shown(folder, capsys, "--json")]
    ended = [w["ends"]["method"] for w in woken if w.get("ends")]
    # Whether connect slept until the SYN-ACK came is the scheduler's choice.
    assert [method for method in ended if method != "connect"] == ["accept", "recv"]


def test_messages_of_unix_sockets(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(folder, capsys)
    (message,) = [number for number, line in enumerate(lines) if "--message-->" in line]
    assert "#4 --message--> #5" in lines[message]
    assert "len 6" in lines[message]
    assert lines[message].endswith("(from the calls)")
    assert "sendall(6 B) = ok" in lines[message - 1]
    items = [json.loads(line) for line in shown(folder, capsys, "--json")]
    (told,) = [item for item in items if item["type"] == "message"]
    assert told["length"] == 6


@pytest.mark.parametrize(("wanted", "number"), [("4", 1), ("5", 1), ("3", 0)])
def test_messages_are_filtered(
    folder: Path, wanted: str, number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "\n".join(shown(folder, capsys, "--socket", wanted))
    assert text.count("--message-->") == number


# -- names of another host -------------------------------------------------------------------------

PROCESS, THREAD = Process(1, 0, "log", (), 0, 0), Thread(0, 1, "one")


@pytest.mark.parametrize(
    ("name", "source", "its"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "::1", False),
        ("127.0.0.1", "127.0.0.2", False),
        ("0.0.0.0", "127.0.0.2", True),
        ("0.0.0.0", "::1", False),
        ("::1", "::1", True),
        ("::", "::1", True),
        ("::", "127.0.0.1", True),
        ("::1", "127.0.0.1", False),
    ],
)
def test_a_port_alone_is_no_name(name: str, source: str, its: bool) -> None:
    bound = Socket("1.1", 1, PROCESS, "tcp", 2, 1, 0, 3, "create")
    bound.local = (name, 80)
    call = Call(
        0, 10, PROCESS, THREAD, bound, "bind", "bind", "ok", 0, 0, 0, (name, 80), None, "A", "B",
        False, True, False, "",
    )  # fmt: skip
    reset = Packet(99, 99, "tcp", (source, 80), (source, 999), "RA", 0, 0, 0, 0, b"", 1)
    (packet,) = join([call], [reset])
    assert packet.socket is (bound if its else None)
