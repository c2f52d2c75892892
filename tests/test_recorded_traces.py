"""The recorded traces under traces/ stay readable, explained and free of this machine's paths."""

import json
import re
import sys
from pathlib import Path

import pytest
from handshake_verdicts import VERDICTS

from sockfsm.cli.main import main
from sockfsm.diagrams.dot import to_dot
from sockfsm.diagrams.path import path
from sockfsm.diagrams.stamp import digest, stamped
from sockfsm.trace.trace import Trace
from sockfsm.wire.handshake import inspect

TRACES = Path(__file__).parent.parent / "traces"
WITHOUT_TCP = ("udp-echo", "unix-stale-path")
RECORDED = sorted(path.parent.name for path in TRACES.glob("*/trace.json"))
every_trace = pytest.mark.parametrize("name", RECORDED)


def recorded(name: str) -> Trace:
    return Trace.open(TRACES / name)


def test_each_program_has_its_trace() -> None:
    programs = {file.stem for file in (TRACES / "programs").glob("*.py")}
    assert {name.replace("_", "-") for name in programs} == set(RECORDED)
    assert len(RECORDED) >= 14
    wires = {file.stem for file in (TRACES / "wires").iterdir() if file.suffix in (".nft", ".py")}
    assert wires - programs == {"alone", "tun"}


def test_the_recordings_of_connections_are_small_and_have_the_kernels_states() -> None:
    for name in VERDICTS:
        assert sum(file.stat().st_size for file in (TRACES / name).iterdir()) < 30_000
        assert recorded(name).about["kernel_states"].endswith(" 0 lost")


@every_trace
def test_it_opens_without_problems_and_every_call_is_explained(name: str) -> None:
    trace = recorded(name)
    calls = list(trace.calls())
    assert [str(call) for call in calls if not call.explained] == []
    assert trace.problems == []
    assert trace.about["status"] == 0
    assert "none lost" in trace.about["capture"]
    assert {s.kind for s in trace.sockets.values()} <= {"tcp", "udp", "unix-stream"}


@every_trace
def test_each_packet_belongs_to_a_traced_socket(name: str) -> None:
    packets = list(recorded(name).packets())
    assert bool(packets) == (name != "unix-stale-path")
    assert [str(p) for p in packets if p.source is None and p.destination is None] == []


@every_trace
def test_it_names_no_path_of_the_machine_that_recorded_it(name: str) -> None:
    texts = [json.dumps(recorded(name).about)]
    for process in recorded(name).processes:
        texts += process.command
    for call in recorded(name).calls():
        texts += [call.site.file if call.site else "", str(call.address)]
    assert [text for text in texts if re.search(r'(^|["\s(=])/', text)] == []
    for file in (TRACES / name).iterdir():
        for folder in (b"/home/", b"/root", b"/tmp", b"/usr/", b"/opt/"):
            assert folder not in file.read_bytes(), file


@every_trace
def test_it_renders(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(TRACES / name)
    assert main(["show", folder]) == 0
    shown = capsys.readouterr().out
    assert name.replace("-", "_") + ".py" in shown
    assert "closed " in shown
    assert main(["handshake", folder]) == 0
    heading = capsys.readouterr().out.splitlines()[0]
    connections = len(VERDICTS[name]) if name in VERDICTS else name not in WITHOUT_TCP
    assert f"packets.pcapng: {int(connections)} connection" in heading
    for form in ("dot", "mmd", "svg"):
        picture = tmp_path / f"picture.{form}"
        assert main(["diagram", folder, "-o", str(picture)]) == 0
        assert b"CREATED" in picture.read_bytes()


def test_tcp_echo_has_the_servers_steps_in_order() -> None:
    calls = list(recorded("tcp-echo").calls())
    words = [call.call for call in calls if call.socket is None or call.socket.number == 1]
    assert words[:5] == ["resolve", "create", "bind", "listen", "resolve"]
    assert [words.index(word) for word in ("accept", "close")] == [5, 6]
    opening = inspect(recorded("tcp-echo").packets()).connections[0].opening
    assert [segment.flags for segment in opening.segments] == ["S", "SA", "A"]


def test_the_stale_path_is_found_removed_and_bound() -> None:
    calls = list(recorded("unix-stale-path").calls())
    names = [(c.call, c.outcome) for c in calls if c.call in ("bind", "unlink")]
    assert names == [
        ("bind", "ok"),
        ("bind", "EADDRINUSE"),
        ("unlink", "ok"),
        ("bind", "ok"),
        ("unlink", "ok"),
    ]


def test_the_wrong_order_and_the_trap_are_refusals_of_the_kernel() -> None:
    def refused(name: str) -> list[tuple[str, str, str]]:
        return [(c.call, c.before, c.outcome) for c in recorded(name).calls() if c.refused]

    assert refused("wrong-order") == [
        ("accept", "BOUND", "EINVAL"),
        ("recv", "LISTENING", "ENOTCONN"),
        ("listen", "CONNECTED", "EINVAL"),
        ("accept", "CLOSED", "EBADF"),
    ]
    assert refused("shutdown-trap") == [
        ("shutdown_wr", "CREATED", "ENOTCONN"),
        ("send", "CONNECTED_WRITE_SHUT", "EPIPE"),
    ]


def test_http_fetch_joins_two_processes() -> None:
    trace = recorded("http-fetch")
    assert len(trace.processes) == 2
    sockets = trace.sockets.values()
    accepted = next(s for s in sockets if s.made_by == "accepted")
    client = next(s for s in sockets if s.process is not accepted.process)
    assert (client.local, client.remote) == (accepted.remote, accepted.local)


@pytest.mark.parametrize("name", ["tcp-echo", "wrong-order", "shutdown-trap"])
def test_its_picture_is_in_step_with_the_machine(name: str) -> None:
    graph = path(recorded(name).calls(), title=name)
    standing = (TRACES / name / "path.svg").read_bytes()
    assert stamped(standing) == digest(to_dot(graph)), "run `make diagrams`"


def test_recording_takes_this_machines_paths_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sockfsm

    monkeypatch.syspath_prepend(str(TRACES))
    from record import relative  # type: ignore[import-not-found]

    from sockfsm.demo import wrong_order

    folder = tmp_path / "trace"
    with sockfsm.tracing(folder) as trace:
        wrong_order.mistakes()
    before = list(trace.calls())
    relative(trace, {str(Path(wrong_order.__file__).parent) + "/": "", sys.executable: "python3"})
    after = list(trace.calls())
    assert [(c.begin, c.end, c.call, c.outcome) for c in after] == [
        (c.begin, c.end, c.call, c.outcome) for c in before
    ]
    assert {c.site.file for c in after if c.site} == {"wrong_order.py"}
    assert trace.processes[0].command[0] == "python3"
    assert trace.problems == []
