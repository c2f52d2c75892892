"""A trace for other tools, and the wire that AF_UNIX sockets do not have."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from patience import PATIENCE

from sockfsm.cli.main import main
from sockfsm.events import Message
from sockfsm.export import pcapng, perfetto, sequence, table
from sockfsm.trace.stream import events
from sockfsm.trace.trace import Trace
from sockfsm.wire.pcapng import CaptureFile

PROGRAM = """
import os, socket, sys
listening = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listening.getsockname())
data, _ = listening.accept()
client.sendall(b"hello")
data.recv(9)
client.close(); data.close(); listening.close()

path = sys.argv[1]
listening = socket.socket(socket.AF_UNIX)
listening.bind(path); listening.listen()
client = socket.socket(socket.AF_UNIX)
client.connect(path)
data, _ = listening.accept()
client.sendall(b"a" * 10)
client.sendall(b"b" * 20)
data.recv(15); data.recv(99)
data.sendall(b"c" * 3)
client.recv(9)
one, two = socket.socketpair()
one.sendall(b"dd"); two.recv(9)
target = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); target.bind(path + "d")
source = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
source.sendto(b"eeee", path + "d"); target.recv(9)
"""


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    folder = tmp_path_factory.mktemp("export")
    program = folder / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, "-m", "sockfsm", "run", "-o", str(folder / "trace")]
    subprocess.run([*command, str(program), str(folder / "name")], check=True, timeout=PATIENCE)
    return Trace.open(folder / "trace")


def test_comments_that_wireshark_shows(trace: Trace, tmp_path: Path) -> None:
    path = tmp_path / "trace.pcapng"
    path.write_bytes(b"".join(pcapng.pieces(trace)))
    assert list(CaptureFile(path)) == list(CaptureFile(trace.path / "packets.pcapng"))
    command = [
        "tshark",
        "-r",
        str(path),
        "-T",
        "fields",
        "-e",
        "tcp.flags.str",
        "-e",
        "frame.comment",
    ]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(told) == len(list(trace.packets()))
    assert re.search(
        r"main: connect\(127\.0\.0\.1:\d+\) = ok; program\.py:4; state CREATED", told[0]
    )
    assert "the kernel (SYN-ACK), for #" in told[1]
    assert any("sendall(5 B) = ok; program.py:6; state CONNECTED" in line for line in told)
    assert any("close() = ok; program.py:8" in line for line in told)


def test_perfetto(trace: Trace) -> None:
    found = json.loads("\n".join(perfetto.lines(trace)))["traceEvents"]
    calls = [e for e in found if e["ph"] == "X"]
    assert len(calls) == len(list(trace.calls()))
    assert all(event["dur"] >= 0 and event["ts"] >= 0 for event in calls)
    assert sum(e["ph"] == "i" for e in found) == len(list(trace.packets()))
    begun = [(e["id"], e["name"]) for e in found if e["ph"] == "b"]
    ended = [(e["id"], e["name"]) for e in found if e["ph"] == "e"]
    assert sorted(begun) == sorted(ended)
    assert {e["id"] for e in found if e["ph"] == "s"} == {e["id"] for e in found if e["ph"] == "f"}


def test_table(trace: Trace) -> None:
    rows = list(csv.DictReader(table.lines(trace)))
    assert len(rows) == len(list(trace.calls())) + len(list(trace.packets()))
    (connect,) = [r for r in rows if r["what"] == "connect" and r["target"].startswith("127.")]
    assert (connect["before"], connect["after"], connect["outcome"]) == (
        "CREATED",
        "CONNECTED",
        "ok",
    )
    assert connect["line"] == "4"
    (syn,) = [r for r in rows if r["what"] == "SYN"]
    assert syn["cause"] == "by connect"


def test_no_cell_is_a_formula() -> None:
    assert table._cell("=HYPERLINK()") == "'=HYPERLINK()"
    assert table._cell(-1) == -1
    assert table._cell(None) == ""


def test_mermaid(trace: Trace) -> None:
    lines = list(sequence.lines(trace))
    assert lines[0] == "sequenceDiagram"
    known = {line.split()[1] for line in lines if line.startswith("  participant")}
    used = {word for line in lines for word in re.findall(r"(?:over |[->x]|^  )(s\d+)", line)}
    assert used
    assert used <= known
    text = "\n".join(lines)
    assert "SYN seq=0" in text
    assert "10 B (no packet: seen from the calls)" in text
    short = list(sequence.lines(trace, 5))
    assert "more events are not shown" in short[-1]
    assert len(short) == 1 + len(known) + 5 + 1


def test_unix_messages(trace: Trace) -> None:
    found = [mark.event for mark in events(trace) if isinstance(mark.event, Message)]
    assert [m.length for m in found] == [10, 20, 3, 2, 4]
    assert all(m.receiver is not None for m in found)
    first, second, answer, pair, datagram = found
    assert answer.receiver is not None
    assert first.socket.identity == second.socket.identity == answer.receiver.identity
    assert pair.socket is not pair.receiver
    assert datagram.receiver is not None
    assert datagram.receiver.kind == "unix-dgram"


@pytest.mark.parametrize("name", ["a.pcapng", "a.json", "a.csv", "a.jsonl", "a.mmd"])
def test_command(trace: Trace, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    assert main(["export", str(trace.path), "-o", str(path)]) == 0
    assert path.stat().st_size > 500


def test_what_cannot_be_exported(
    trace: Trace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(trace.path), "-o", str(tmp_path / "x.doc")]) == 2
    assert main(["export", str(trace.path), "-o", str(tmp_path / "no" / "x.csv")]) == 2
    assert main(["export", str(tmp_path), "--form", "csv"]) == 2
    assert capsys.readouterr().err.count("\n") == 3
