"""TLS: which calls waited, and where an end of TLS leaves the socket."""

import subprocess
import sys
from pathlib import Path

from patience import PATIENCE
from traced import calls_of, program, run


def test_waits_and_ends(tmp_path: Path, certificate: tuple[str, str]) -> None:
    calls = calls_of(run(tmp_path / "trace", program("tls_ends"), *certificate))
    reads = [call for call in calls if call.method == "ssl.read"]
    assert [(c.outcome, c.done, c.waited, c.after) for c in reads[:4]] == [
        ("ok", 7, True, "CONNECTED"),
        ("ok", 5, False, "CONNECTED"),
        ("timeout", 0, True, "CONNECTED"),
        ("EAGAIN", 0, False, "CONNECTED"),
    ]
    # The close_notify is no FIN: plain text comes after it.
    assert [(c.outcome, c.done, c.after) for c in reads[4:5]] == [("ok", 0, "CONNECTED")]
    assert [c.after for c in calls if c.method == "recv" and c.done == 5] == ["CONNECTED"]
    # A FIN without a close_notify, hidden by `ssl` or told by it, is the end.
    assert [(c.outcome, c.after) for c in reads[5:]] == [("eof", "PEER_CLOSED")] * 2
    handshakes = [call for call in calls if call.method == "ssl.do_handshake"]
    assert [(c.outcome, c.after) for c in handshakes[:6]] == [("ok", "CONNECTED")] * 6
    assert [(c.outcome, c.after) for c in handshakes[6:]] == [("raised", "CONNECTED")]


def test_the_program_sees_the_same(tmp_path: Path, certificate: tuple[str, str]) -> None:
    command = [sys.executable, program("tls_ends"), *certificate]
    traced = [sys.executable, "-m", "sockfsm", "run", "--no-capture", "-o", str(tmp_path / "t")]
    plain, seen = (
        subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout
        for words in (command, [*traced, *command])
    )
    assert plain == seen
