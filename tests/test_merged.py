"""A server and a client, traced apart, shown as one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from synthetic import echo

from sockfsm.errors import TraceError
from sockfsm.trace.merged import MergedTrace
from sockfsm.trace.trace import Trace
from sockfsm.views.ladder import Ladder

PATIENCE = 60
SERVER = """
import socket
with socket.create_server(("127.0.0.1", 0)) as listening:
    print(listening.getsockname()[1], flush=True)
    data, _ = listening.accept()
    with data:
        data.sendall(data.recv(100))
"""
CLIENT = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as end:
    end.sendall(b"hello")
    end.recv(100)
"""


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trace, Trace]:
    folder = tmp_path_factory.mktemp("merged")
    for name, text in (("server", SERVER), ("client", CLIENT)):
        (folder / f"{name}.py").write_text(text)
    run = [sys.executable, "-m", "sockfsm", "run", "--no-capture"]
    with subprocess.Popen(
        [*run, "-o", "s", "server.py"], cwd=folder, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        client = [*run, "-o", "c", "client.py", port]
        subprocess.run(client, cwd=folder, check=True, timeout=PATIENCE)
        assert server.wait(PATIENCE) == 0
    return Trace.open(folder / "s"), Trace.open(folder / "c")


def test_both_programs_on_one_line_of_time(traces: tuple[Trace, Trace]) -> None:
    merged = MergedTrace(traces)
    ends = [call.end for call in merged.calls()]
    assert ends == sorted(ends)
    assert len(ends) == sum(1 for trace in traces for _ in trace.calls())
    assert len(merged.processes) == 2
    text = "\n".join(Ladder(merged).lines())
    # They are the ends of one connection: each stands at its side.
    assert re.search(r"#\d+ [┏┣] connect\(127", text)
    assert re.search(r"accept.*[┓┫] #\d+", text)
    assert merged.name == ", ".join(trace.name for trace in traces)


def test_a_packet_that_both_captured_counts_once() -> None:
    recorded = Path(__file__).parent.parent / "traces" / "tcp-echo"
    one = Trace.open(recorded)
    merged = MergedTrace([one])
    merged.sources.append(Trace.open(recorded))
    assert len(list(merged.captured())) == len(list(one.captured()))


def test_the_same_process_twice_is_refused(traces: tuple[Trace, Trace]) -> None:
    with pytest.raises(TraceError, match="has the process"):
        MergedTrace([traces[0], traces[0]])


def test_a_summary_is_cached_once_all_parts_are_complete(
    traces: tuple[Trace, Trace], monkeypatch: pytest.MonkeyPatch
) -> None:
    merged = MergedTrace(traces)
    assert merged.summary(index=True) is merged.summary() is merged.summary(index=True)
    with monkeypatch.context() as patched:
        patched.setattr("sockfsm.trace.trace.alive", lambda process: True)
        running = MergedTrace([Trace(trace.path) for trace in traces])
        assert running.summary() is not running.summary()


def test_a_trace_in_memory_that_still_grows_is_summarized_anew() -> None:
    story = echo()
    before = story.summary()
    assert story.summary() is before
    sock = story.socket()
    story.call(25, sock, "socket", states=" -> CREATED")
    assert sock.identity in story.summary().sockets
