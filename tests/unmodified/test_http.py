"""`python -m http.server`, fetched by urllib and by curl."""

import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from patience import PATIENCE
from traced import (
    assert_handshakes,
    calls_of,
    made_by,
    program,
    run,
    sockets_of,
    start,
    states_of,
)

from sockfsm.trace.trace import Trace

BODY = b"what the server serves\n" * 1000


@pytest.fixture
def page(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "page.txt").write_bytes(BODY)
    return folder


def test_http_server_fetched_by_urllib_and_curl(tmp_path: Path, page: Path) -> None:
    curl = shutil.which("curl")
    assert curl is not None, "curl is missing: apt-get install curl"
    served = ("-m", "http.server", "--bind", "127.0.0.1", "--directory", str(page), "0")
    server = start(tmp_path / "trace", *served)
    try:
        assert server.stdout is not None
        port = re.search(r"port (\d+)", server.stdout.readline())
        assert port is not None, server.communicate(timeout=PATIENCE)
        url = f"http://127.0.0.1:{port[1]}/page.txt"
        client = run(tmp_path / "client", program("fetch"), url)
        fetched = subprocess.run(
            [curl, "-sS", "--noproxy", "*", url], capture_output=True, timeout=PATIENCE, check=True
        )
        assert fetched.stdout == BODY
        wait_for_closes(tmp_path / "trace", 2)
        server.send_signal(signal.SIGINT)
        _, log = server.communicate(timeout=PATIENCE)
    finally:
        server.kill()
        server.wait()
    assert log.count('"GET /page.txt HTTP/1.1" 200') == 2
    assert_server(Trace.open(tmp_path / "trace"))
    assert_urllib(client)


def wait_for_closes(folder: Path, wanted: int) -> None:
    """Wait until the running server has closed so many data sockets; its threads take their time."""
    deadline = time.monotonic() + PATIENCE
    closed = 0
    while closed < wanted and time.monotonic() < deadline:
        calls = Trace.open(folder).calls()
        closed = sum(c.call == "close" and c.outcome == "ok" for c in calls)
        time.sleep(0.01)
    assert closed >= wanted


def assert_server(trace: Trace) -> None:
    calls = calls_of(trace)
    paths = [states_of(own) for own in sockets_of(calls, "tcp").values()]
    assert paths[0][-4:] == ["CREATED", "BOUND", "LISTENING", "CLOSED"] or paths[0][-3:] == [
        "BOUND",
        "LISTENING",
        "CLOSED",
    ]
    data = made_by(calls, "accepted")
    assert len(data) == 2
    listening = next(call.socket for call in calls if call.method == "listen")
    assert {socket.parent for socket in data} == {listening.identity if listening else ""}
    for socket in data:
        own = [call for call in calls if call.socket and call.socket.identity == socket.identity]
        assert own[-1].after == "CLOSED"
        assert sum(call.done for call in own if call.call == "send") > len(BODY)
        assert any(call.call == "recv" and call.done > 0 for call in own)
    assert_handshakes(trace, 2)


def assert_urllib(trace: Trace) -> None:
    calls = calls_of(trace)
    connected = [call for call in calls if call.call == "connect" and call.outcome == "ok"]
    assert len(connected) == 1
    # With a timeout Python waits itself: the kernel has not yet told connect() that it is done.
    assert connected[0].after == "ESTABLISHED"
    assert calls[-1].after == "CLOSED"
    assert sum(call.done for call in calls if call.call == "recv") > len(BODY)
    assert_handshakes(trace, 1)
