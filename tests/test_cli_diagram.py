"""`sockfsm diagram`: kinds, the server, traces; formats; and every bad input as one line."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import synthetic
from patience import PATIENCE

from sockfsm.cli.main import main
from sockfsm.model.kinds import KINDS
from sockfsm.trace.trace import Trace


@pytest.fixture
def trace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The folder of a trace that holds the synthetic echo story."""
    story = synthetic.echo()
    monkeypatch.setattr(Trace, "open", classmethod(lambda cls, path: story))
    (tmp_path / "recorded").mkdir()
    return str(tmp_path / "recorded")


@pytest.mark.parametrize("what", [*KINDS, "server", "tcp-states"])
def test_dot_is_printed_without_a_file(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagram", what]) == 0
    out = capsys.readouterr().out
    assert out.startswith("digraph")
    assert ("ESTABLISHED" if what == "tcp-states" else "CONNECTED") in out


def test_mermaid_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagram", "udp", "--format", "mmd"]) == 0
    assert "\nflowchart TB\n" in capsys.readouterr().out


def test_a_file_gets_the_format_of_its_suffix(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "tcp.svg"
    assert main(["diagram", "tcp", "--refusals", "-o", str(path)]) == 0
    assert capsys.readouterr().out == f"wrote {path}\n"
    text = "".join(ET.parse(path).getroot().itertext())
    assert "LISTENING" in text
    assert "ENOTCONN" in text


def test_full_shows_more_states(capsys: pytest.CaptureFixture[str]) -> None:
    lengths = []
    for options in ([], ["--full"]):
        main(["diagram", "tcp", *options])
        lengths.append(capsys.readouterr().out.count("<b>"))
    assert lengths[0] < lengths[1]


def test_a_trace_is_drawn_over_its_machine(trace: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagram", trace]) == 0
    out = capsys.readouterr().out
    assert "recorded" in out
    assert "1 visit" in out
    assert "this trace" in out


def test_one_socket_of_a_trace(trace: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagram", trace, "--socket", "1"]) == 0
    assert "1 socket," in capsys.readouterr().out


def bad(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["diagram", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


def test_what_is_neither_kind_nor_trace(capsys: pytest.CaptureFixture[str]) -> None:
    assert "no kind and no trace 'sctp': choose one of tcp, udp" in bad(["sctp"], capsys)


def test_a_folder_that_is_no_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "not a trace" in bad([str(tmp_path)], capsys)


def test_options_that_do_not_fit(trace: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "are for a trace" in bad(["tcp", "--socket", "1"], capsys)
    assert "are for a trace" in bad(["server", "--kind", "tcp"], capsys)
    assert "neither --refusals nor --full" in bad(["server", "--full"], capsys)
    assert "--refusals is for a kind" in bad([trace, "--refusals"], capsys)


def test_a_socket_that_is_not_in_the_trace(trace: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no socket 99 in this trace" in bad([trace, "--socket", "99"], capsys)


def test_a_kind_that_is_not_in_the_trace(trace: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "nothing to draw in recorded, udp" in bad([trace, "--kind", "udp"], capsys)


def test_files_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "cannot tell the format" in bad(["tcp", "-o", str(tmp_path / "tcp.jpg")], capsys)
    assert "cannot write" in bad(["tcp", "-o", str(tmp_path / "none" / "tcp.dot")], capsys)


PROGRAM = """
import os, socket
path = "echo.sock"
server = socket.socket(socket.AF_UNIX)
server.bind(path)
server.listen()
client = socket.socket(socket.AF_UNIX)
client.connect(path)
data, _ = server.accept()
client.sendall(b"hello")
data.recv(100)
try:
    data.listen()
except OSError:
    pass
for one in (client, data, server):
    one.close()
os.unlink(path)
"""


def test_a_recorded_trace_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "echo.py").write_text(PROGRAM)
    command = [sys.executable, "-m", "sockfsm", "run", "--no-capture", "-o", "trace", "echo.py"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=PATIENCE)
    assert main(["diagram", str(tmp_path / "trace"), "--format", "mmd"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"s_LISTENING -\.->\|\"accept makes it\"\| s_CONNECTED", out)
    assert re.search(r's_CONNECTED\("CONNECTED<br/>2 visits.*listen: EINVAL', out)
    assert re.search(r's_CLOSED_PATH_LEFT -->\|"unlink"\| s_CLOSED\n', out)


def test_drawing_needs_no_standard_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -m sockfsm diagram udp -o {tmp_path}/udp.svg 2>&-"
    subprocess.run(["sh", "-c", command], check=True, timeout=PATIENCE, stdout=subprocess.DEVNULL)
    assert ET.parse(tmp_path / "udp.svg")
