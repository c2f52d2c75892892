"""An incomplete trace says so in every view: what is lost, when and why."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import fuzz
import pytest
from damage import blocks_of

import sockfsm
from sockfsm.cli.main import commands, main
from sockfsm.events import Lost
from sockfsm.testing import illegal
from sockfsm.trace.trace import ABOUT, PACKETS, Trace
from sockfsm.tracer import packets
from sockfsm.tracer.about import About
from sockfsm.wire.capture import CaptureSummary

RECORDED = fuzz.TRACES / "tcp-echo"
VIEWS = {"show", "blocked", "handshake", "diagram", "lint", "export"}
"""The commands that show a trace."""


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """A copy of a recorded trace."""
    folder = tmp_path / "trace"
    shutil.copytree(RECORDED, folder)
    return folder


def say(folder: Path, **facts: object) -> None:
    """Change what the trace says about itself."""
    about = json.loads((folder / ABOUT).read_text())
    (folder / ABOUT).write_text(json.dumps({**about, **facts}))


def cut_log(folder: Path) -> str:
    (log,) = folder.glob("*.calls")
    log.write_bytes(log.read_bytes() + b"x" * 7)
    return "no whole record"


def damaged_note(folder: Path) -> str:
    (log,) = folder.glob("*.calls")
    log.write_bytes(log.read_bytes().replace(b'{"thread":1', b'{"thread"!1'))
    return "damaged note"


def lack(folder: Path, summary: CaptureSummary) -> None:
    """Have it say what it says when a capture has ended so."""
    about = About(Trace(folder), print)
    about.add(capture=str(summary))
    about.lack("packets", list(packets._losses(summary)))


def packets_lost(folder: Path) -> str:
    lack(folder, CaptureSummary(folder, 10, 7, 0, 190))
    return "7 lost by the kernel"


def disk_full(folder: Path) -> str:
    lack(folder, CaptureSummary(folder, 10, 0, 0, 1, "No space left on device at 12:00"))
    return "No space left on device at 12:00"


def packets_dropped(folder: Path) -> str:
    lack(folder, CaptureSummary(folder, 10, 0, 0, 1, old=5))
    return "the oldest 5 left out"


def not_captured(folder: Path) -> str:
    lost = Lost("packets", PACKETS, 0, True, 0, 0, "no permission", "no packets: no permission")
    say(folder, capture="no packets: no permission", losses=[asdict(lost)])
    return "no packets: no permission"


def states_lost(folder: Path) -> str:
    lost = Lost("kernel states", "", 30, False, 0, 0, "no room", "30 changes of state lost")
    say(folder, kernel_states="12 changes of state, 30 lost", losses=[asdict(lost)])
    return "30 changes of state lost"


def damaged_about(folder: Path) -> str:
    (folder / ABOUT).write_text('{"clock_error": Infinity}')
    return "trace.json: damaged"


@pytest.mark.parametrize(
    "lose",
    [
        cut_log, damaged_note, packets_lost, disk_full, packets_dropped, not_captured, states_lost,
        damaged_about,
    ],
)  # fmt: skip
@pytest.mark.parametrize("words", fuzz.COMMANDS, ids=" ".join)
def test_no_view_is_silent(
    words: tuple[str, ...],
    lose: Callable[[Path], str],
    trace: Path,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    lost = lose(trace)
    assert main([*words, str(trace)]) in (0, 1)
    out, err = (text.decode(errors="replace") for text in capfdbinary.readouterr())
    joined = " ".join(line.strip() for line in out.split("\n"))
    if words[0] == "export":
        assert f"incomplete: {lost}" in err or lost in err
    if words[0] == "diagram":
        assert lost in err
        return  # the picture breaks its lines
    assert lost.lower() in joined.lower(), joined[-800:]


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (("show", "--json"), "problems"),
        (("handshake", "--json"), "problems"),
        (("lint", "--json"), "problems"),
        (("export", "--form", "jsonl"), "problems"),
        (("export", "--form", "perfetto"), "otherData"),
    ],
)
def test_json_has_a_field(
    words: tuple[str, ...], key: str, trace: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    lost = cut_log(trace)
    main([*words, str(trace)])
    out = capfd.readouterr().out
    whole = words[0] == "handshake" or "perfetto" in words
    said = json.loads(out if whole else out.splitlines()[-1])[key]
    assert lost in str(said)


def test_the_picture_says_it_too(trace: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lost = packets_lost(trace)
    main(["diagram", str(trace)])
    assert lost.split()[0] in capfd.readouterr().out.split("incomplete")[1]


def test_every_command_that_reads_a_trace_is_among_them() -> None:
    assert {words[0] for words in fuzz.COMMANDS} == VIEWS
    others = {
        "demo",
        "run",
        "machine",
        "check",
        "conform",
        "learn",
        "simulate",
        "play",
        "protocol",  # needs a trace with payload: see `test_protocols`
        "compare",
        "explore",
    }
    assert set(commands()) - others == VIEWS


@pytest.mark.parametrize("words", fuzz.COMMANDS, ids=" ".join)
def test_a_whole_trace_says_nothing(
    words: tuple[str, ...], trace: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    main([*words, str(trace)])
    out, err = capfdbinary.readouterr()
    assert b"incomplete:" not in out + err


def test_a_killed_capture(trace: Path, capfd: pytest.CaptureFixture[str]) -> None:
    *all_but_statistics, _ = blocks_of((trace / PACKETS).read_bytes())
    (trace / PACKETS).write_bytes(b"".join(all_but_statistics))
    for words in (("show",), ("show", "--list"), ("show", "--json"), ("handshake",)):
        main([*words, str(trace)])
        out = " ".join(capfd.readouterr().out.split())
        assert out.count("the capture was killed or still runs") == 1


def test_each_is_told_once(trace: Path) -> None:
    found = Trace.open(trace)
    cut_log(trace)
    for _ in range(3):
        list(found.calls()), list(found.packets()), found.kernel_states(), found.facts
    assert len(found.problems) == len(set(found.problems)) == 1


def test_a_failure_text_says_it(tmp_path: Path) -> None:
    def expects_a_refusal(folder: Path) -> None:
        with illegal("listen"):
            (folder / ABOUT).write_text('{"clock_error": -1}')
            socket.socket().close()

    with (
        sockfsm.tracing(tmp_path / "trace") as traced,
        pytest.raises(AssertionError) as caught,
    ):
        expects_a_refusal(traced.path)
    assert "incomplete: trace.json: damaged" in str(caught.value)


def test_closed_by_the_program_or_ended_with_the_process(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "trace"
    script = tmp_path / "leaves.py"
    script.write_text(
        "import socket\n"
        "socket.socket().close()\n"
        "kept = [socket.socket() for _ in range(3)]\n"
        "socket.socket().detach()\n"
    )
    assert main(["run", "--no-capture", "-o", str(folder), str(script)]) == 0
    capfd.readouterr()
    for words in (("show",), ("show", "--list")):
        main([*words, str(folder)])
        lines = [" ".join(line.split()) for line in capfd.readouterr().out.splitlines()]
        assert "closed 1 socket" in lines
        assert "detached 1 socket" in lines
        assert "open 3 sockets when the process ended" in lines
