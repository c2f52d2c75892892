"""Scenarios on the virtual kernel: those that ship, what is expected of one, what cannot be read."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sockfsm.cli.main import main
from sockfsm.model.rfc9293 import TABLE
from sockfsm.sim import tcp
from sockfsm.sim.run import Simulation
from sockfsm.sim.scenario import Actor, Scenario, ScenarioError, Step, parse
from sockfsm.sim.shipped import load, names
from sockfsm.trace.encode import save
from sockfsm.trace.trace import PACKETS, Trace


def simulated(text: str, seed: int = 0) -> Simulation:
    """A scenario that was played."""
    simulation = Simulation(parse(text), seed)
    simulation.run()
    return simulation


@pytest.mark.parametrize("name", names())
def test_a_shipped_scenario_goes_as_it_says(name: str) -> None:
    scenario = load(name)
    assert scenario.title
    simulation = Simulation(scenario)
    simulation.run()
    assert simulation.unmet == []


def test_twelve_ship() -> None:
    assert len(names()) >= 12


@pytest.mark.parametrize("name", names())
def test_its_trace_is_an_ordinary_one(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    simulation = Simulation(load(name))
    folder = str(save(simulation.run(), tmp_path / "trace"))
    trace = Trace.open(folder)
    assert list(trace.calls())
    assert trace.problems == []
    assert all(call.explained for call in trace.calls())
    assert len(list(trace.packets())) == len(simulation.kernel.network.packets)
    assert main(["show", folder, "--no-pager"]) == 0
    assert "Traceback" not in capsys.readouterr().err
    if (tmp_path / "trace" / PACKETS).exists():
        assert main(["handshake", folder]) in (0, 1)
    main(["lint", folder])
    kinds = sorted({socket.kind for socket in trace.sockets.values()})
    for kind in kinds:
        assert main(["diagram", folder, "--kind", kind, "-o", str(tmp_path / f"{kind}.dot")]) == 0
    assert main(["export", folder, "--perfetto", str(tmp_path / "p.json")]) in (0, 2)


@pytest.mark.parametrize("name", names())
def test_tshark_finds_nothing_malformed(name: str, tmp_path: Path) -> None:
    save(Simulation(load(name)).run(), tmp_path / "trace")
    capture = tmp_path / "trace" / PACKETS
    if name.startswith("unix"):
        assert not capture.exists()
        return
    command = ["tshark", "-n", "-r", str(capture)]
    for option in ("ip.check_checksum", "tcp.check_checksum", "udp.check_checksum"):
        command += ["-o", f"{option}:TRUE"]
    wrong = "_ws.malformed || ip.checksum.status == 0 || tcp.checksum.status == 0 || "
    wrong += "udp.checksum.status == 0"
    done = subprocess.run([*command, "-Y", wrong], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    done = subprocess.run(
        [*command, "-Y", "tcp.checksum.status == 1 || udp.checksum.status == 1"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert len(done.stdout.splitlines()) == len(list(Trace.open(tmp_path / "trace").captured()))


_DIGEST = """
import hashlib, sys, pathlib
from sockfsm.sim.run import Simulation
from sockfsm.sim.shipped import load, names
from sockfsm.trace.encode import save
whole = hashlib.sha256()
for name in names():
    folder = save(Simulation(load(name), 7).run(), pathlib.Path(sys.argv[1]) / name)
    for file in sorted(folder.iterdir()):
        whole.update(file.read_bytes())
print(whole.hexdigest())
"""


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    digests = set()
    for seed in ("0", "1", "4711"):
        done = subprocess.run(
            [sys.executable, "-c", _DIGEST, str(tmp_path / seed)],
            env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        digests.add(done.stdout)
    assert len(digests) == 1
    assert len(digests.pop().strip()) == len(hashlib.sha256().hexdigest())


def test_another_seed_gives_other_sequence_numbers() -> None:
    first, second = (
        [packet.seq for packet in Simulation(load("tcp-echo"), seed).run().captured()]
        for seed in (1, 2)
    )
    assert first != second


ECHO = """
server:
    s = socket tcp
    s.bind 7000
    s.listen
    mark listening
    s.accept -> conn
    conn.recv = "hi"
client:
    after listening
    c = socket tcp
    c.connect 7000
    c.send "hi"
"""


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("s.listen", "s.listen ! EINVAL", "s.listen was to give EINVAL, and gave ok"),
        ('= "hi"', '= "ho"', "conn.recv was to give b'ho', and gave b'hi'"),
        ("s.bind 7000", "s.bind 7000 blocks", "s.bind was to block, and did not"),
        ("s.accept", "s.accept blocks 20ms", ""),
        ("c.connect 7000", "c.connect 7001", "c.connect gave ECONNREFUSED"),
    ],
)
def test_an_expectation_that_is_not_met_is_named(old: str, new: str, text: str) -> None:
    if old == "s.accept":
        new, old = "s.accept -> conn blocks 20ms", "s.accept -> conn"
        text = "s.accept was to block 20ms, and did"
    failures = simulated(ECHO.replace(old, new)).failures
    assert any(text in str(failure) for failure in failures), failures


def test_it_goes_as_expected_otherwise() -> None:
    assert simulated(ECHO).failures == []


def test_objects_are_as_good_as_text() -> None:
    steps = [Step("socket", "s", "create", kind="tcp"), Step("recv", "s", "recv", size=1)]
    simulation = Simulation(Scenario([Actor("one", steps)]))
    simulation.run()
    assert [result.outcome for result in simulation.results] == ["ok", "ENOTCONN"]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "1:1"),
        ("    s.listen", "1:5"),
        ("a:\n    s.listen", "2:5"),
        ("a:\n    s = socket tpc", "2:16"),
        ("a:\n    s = socket tcp\n    s.lissten", "3:7"),
        ("a:\n    s = socket tcp\n    s.bind", "3:11"),
        ("a:\n    s = socket tcp\n    s.bind 70000", "3:12"),
        ("a:\n    s = socket tcp\n    s.listen ! EINVALID", "3:16"),
        ("a:\n    s = socket tcp\n    s.send hello", "3:12"),
        ('a:\n    s = socket tcp\n    s.send "hello', "3:12"),
        ("a:\n    s = socket tcp\n    s.listen 5 6", "3:16"),
        ("a:\n    wait 20", "2:10"),
        ("a:\n    after never", "2:11"),
        ("a:\na:", "2:1"),
        ("network lag 20ms\na:", "1:9"),
        ("network drop syn\na:", "1:17"),
        ("network drop sin 1\na:", "1:14"),
        ("a:\n    s = socket tcp\n    s.shutdown all", "3:16"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_place(text: str, place: str) -> None:
    with pytest.raises(ScenarioError, match=rf"^scenario:{re.escape(place)}: \S"):
        parse(text)


def test_the_command_shows_keeps_and_judges(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", "tcp-echo", "-o", str(tmp_path / "trace")]) == 0
    assert "SYN-ACK" in capsys.readouterr().out
    assert main(["show", str(tmp_path / "trace"), "--no-pager"]) == 0
    file = tmp_path / "mine.txt"
    file.write_text(ECHO.replace("s.listen", "s.listen ! EINVAL"))
    assert main(["simulate", str(file)]) == 1
    assert f"{file}:5: s.listen was to give EINVAL" in capsys.readouterr().err
    file.write_text("a:\n    s.listen")
    assert main(["simulate", str(file)]) == 2
    assert "2:5" in capsys.readouterr().err
    assert main(["simulate", "no-such-scenario"]) == 2
    assert "tcp-echo" in capsys.readouterr().err
    assert main(["simulate", "both-receive"]) == 0
    assert "blocked for ever in conn.recv" in capsys.readouterr().err
    file.write_text(load("both-receive").title + ":")
    assert main(["simulate", "--list"]) == 0


def test_a_deadlock_that_nobody_expects_is_a_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.txt"
    file.write_text(ECHO + "    c.recv\n" + "third:\n    wait 1ms\n")
    assert main(["simulate", str(file)]) == 0  # the server's end closes its socket
    capsys.readouterr()
    file.write_text("a:\n    s = socket udp\n    s.bind 7000\n    s.recv\n")
    assert main(["simulate", str(file)]) == 1
    assert "a is blocked for ever in s.recv (BOUND)" in capsys.readouterr().err


NOT_TAKEN = {
    ("snd_syn", "LISTEN"): "Linux has no SEND or active OPEN on a listening socket",
    ("listen", "CLOSED"): "listen() is the socket's, no connection's",
    ("snd_fin", "SYN-RECEIVED"): "a socket in SYN-RECEIVED is in no program's hands yet",
    (
        "rcv_fin",
        "SYN-RECEIVED",
    ): "the FIN's own acknowledgement comes first: then it is ESTABLISHED",
}
"""(event, state) -> why no scenario can take it."""


def test_the_scenarios_take_the_arrows_of_figure_5(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = set()
    known = tcp.after

    def after(state: str, event: str) -> str:
        taken.add((event, state))
        return known(state, event)

    monkeypatch.setattr(tcp, "after", after)
    for name in names():
        Simulation(load(name)).run()
    arrows = {
        (entry.call, next(iter(entry.when[0].values)))
        for entry in TABLE.rules
        if entry.then and len(entry.when[0].values) == 1 and not entry.when[0].negated
    }
    assert sorted(arrows - taken - set(NOT_TAKEN)) == []


def test_a_call_is_predicted_as_a_tracer_does() -> None:
    text = 'a:\n    s = socket udp\n    s.send "x" ?\n    s.listen ?\n    s.sendto 7000 "x"\n'
    calls = [call for call in Simulation(parse(text)).run().calls() if call.method != "exit"]
    assert [call.predicted for call in calls] == ["", "EDESTADDRREQ", "EOPNOTSUPP", ""]


LOSSY = """
network latency 5ms, jitter 20ms, loss 10%, duplication 10%
server at 10.0.0.1:
    s = socket tcp
    s.bind 10.0.0.1:7000
    s.listen
    mark listening
    s.accept -> conn
    conn.sendall "0123456789" * 2000
    conn.shutdown wr
    conn.recv = end
    conn.close
client at 10.0.0.2:
    after listening
    c = socket tcp
    c.connect 10.0.0.1:7000
    wait 10min
    c.recv 20000 = "0123456789" * 2000
    c.recv = end
    c.close
"""


@pytest.mark.parametrize("seed", range(20))
def test_tcp_delivers_all_in_order_over_a_bad_network(seed: int) -> None:
    simulation = simulated(LOSSY, seed)
    assert simulation.failures == []
    packets = simulation.kernel.network.packets
    assert len(packets) > len({(p.source, p.seq, p.flags, p.length) for p in packets})


def test_a_shut_window_opens_again() -> None:
    text = ECHO.replace(
        'conn.recv = "hi"', "wait 1min\n    conn.recv 300000 ?" + "\n    conn.recv ?" * 9
    )
    text = text.replace('c.send "hi"', 'c.sendall "x" * 300000 blocks 1min')
    assert simulated(text).failures == []


def test_a_lost_rst_is_made_up_for() -> None:
    text = "network drop rst 1\n" + ECHO.replace(
        "c.connect 7000", "c.connect 7001 ! ECONNREFUSED blocks 1s"
    )
    found = [str(f) for f in simulated(text).failures]
    assert not any("connect" in text for text in found), found
