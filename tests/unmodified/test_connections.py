"""multiprocessing under each way to start a process."""

from pathlib import Path

import pytest
from traced import calls_of, program, run, states_of


@pytest.mark.parametrize("way", ["fork", "spawn", "forkserver"])
def test_connections(tmp_path: Path, way: str) -> None:
    calls = calls_of(run(tmp_path / "trace", program("connections"), way))
    moved = [call for call in calls if call.method.startswith("Connection.")]
    # A queue that is closed may find its reader gone: multiprocessing passes over that.
    assert {call.outcome for call in moved} <= {"ok", "eof", "EPIPE"}
    here = [call for call in moved if call.site and Path(call.site.file).name == "connections.py"]
    # The last message goes through a pipe whose number was a socket's before.
    assert [call for call in here if call.site and call.site.line > 56] == []
    ends = [call for call in here if call.outcome == "eof"]
    assert [(call.before, call.after) for call in ends] == [("CONNECTED", "PEER_CLOSED")]
    # A child waits for its parent's words, however it got the descriptor.
    child = [call for call in here if call.site and call.site.function == "double"]
    assert [call.method for call in child] == ["Connection.recv"] * 2 + ["Connection.send"]
    assert {call.socket.kind for call in child if call.socket} == {"unix-stream"}
    own = [
        call for call in calls if call.socket is ends[0].socket and call.process is ends[0].process
    ]
    assert states_of(own)[-1] == "CLOSED"
