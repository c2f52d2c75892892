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
from sockfsm.sim import run, tcp
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
        ("a at nowhere:", "1:6"),
        ("a:\n    s = socket tcp\n    s.bind there:7000", "3:12"),
        ("a:\n    s = socket tcp\n    s.bind [::1]:7000", "3:12"),
        ("a:\n    s = socket tcp\n    s.bind server.sock", "3:12"),
        ("a:\n    s = socket unix-dgram\n    s.bind 7000", "3:12"),
        ("a:\n    s = socket unix-dgram\n    s.bind " + "x" * 108, "3:12"),
        ('a:\n    s = socket tcp\n    s.send "x" * 99999999999999999999', "3:18"),
        ('a:\n    s = socket tcp\n    s.send "x" * 67108865', "3:18"),
        ("a:\n    s = socket tcp\n    s.recv 99999999999", "3:12"),
        ("a:\n    s = socket tcp\n    s.listen 9999999999", "3:14"),
        ("a:\n    s = socket udp\n    s.set nodelay", "3:11"),
        ("a:\n    s = socket tcp\n    s.set everything", "3:11"),
        ("a:\n    b.recv", "2:5"),
        ("network bandwidth fast\na:", "1:19"),
        ("network partition 2s 1s\na:", "1:9"),
        ("network partition 2s\na:", "1:21"),
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


def test_an_endless_run_is_stopped_and_what_there_is_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = ECHO + "    wait 999999999min\n    c.recv\n"
    simulation = Simulation(parse(text))
    trace = simulation.run()
    assert [call.method for call in trace.calls()].count("connect") == 1
    assert [str(failure) for failure in simulation.failures] == [
        "scenario:14: client was here when the run was stopped, after 3,600 simulated seconds"
    ]
    monkeypatch.setattr(run, "MOST_EVENTS", 10)
    simulation = simulated(ECHO)
    assert "after 10 events" in str(simulation.failures[0])
    assert list(simulation.recorder.trace([]).calls())
    monkeypatch.setattr(run, "MOST_EVENTS", 10_000)
    monkeypatch.setattr(run, "MOST_BYTES", 100)
    assert "after 100 bytes of packets" in str(simulated(ECHO).failures[0])


DELAYED = """
server at 10.0.0.1:
    s = socket udp
    s.bind 10.0.0.1:7000
    mark bound
    {}
client at 10.0.0.2:
    after bound
    c = socket udp
    c.connect 10.0.0.1:7000
    {}
"""


@pytest.mark.parametrize(
    ("network", "server", "client"),
    [
        # 1,000 bytes and 28 of headers at 1 Mbit/s.
        ("bandwidth 1Mbit", "s.recv blocks 8224us", 'c.send "x" * 1000'),
        (
            "latency 5ms, bandwidth 1Mbit",
            "s.recv blocks 13224us; s.recv blocks 8224us",
            'c.send "x" * 1000; c.send "y" * 1000',
        ),
        (
            "partition 100ms 200ms",
            's.recv = "a"; s.recv = "c" blocks 250ms',
            'c.send "a"; wait 150ms; c.send "b"; wait 100ms; c.send "c"',
        ),
        ("latency 20ms, reorder 100%", "s.recv", 'c.send "x"'),
        ("latency 1ms, duplication 100%", 's.recv = "x"; s.recv = "x"', 'c.send "x"'),
        ("drop data 2", 's.recv = "1"; s.recv = "3"', 'c.send "1"; c.send "2"; c.send "3"'),
    ],
)
def test_the_network_does_as_it_is_told(network: str, server: str, client: str) -> None:
    lines = ("\n    ".join(text.split("; ")) for text in (server, client))
    simulation = simulated(f"network {network}" + DELAYED.format(*lines))
    assert simulation.failures == []


def test_an_end_that_does_not_answer_is_given_up_by_keep_alive() -> None:
    text = """
network partition 1s 59min
server at 10.0.0.1:
    s = socket tcp
    s.bind 10.0.0.1:7000
    s.listen
    mark listening
    s.accept -> conn
    conn.set keepalive 60
    conn.recv ! ETIMEDOUT blocks 600s
client at 10.0.0.2:
    after listening
    c = socket tcp
    c.connect 10.0.0.1:7000
    wait 20min
"""
    assert simulated(text).failures == []


def test_lingering_for_no_time_resets() -> None:
    text = ECHO.replace('conn.recv = "hi"', "conn.set linger 0\n    conn.close\n    mark closed")
    text = text.replace('c.send "hi"', "wait 1ms")
    simulation = simulated(text + "    after closed\n    c.recv ! ECONNRESET\n")
    assert simulation.failures == []
    assert "RA" in [packet.flags for packet in simulation.kernel.network.packets]


def test_lingering_waits_for_the_other_end_s_acknowledgement() -> None:
    text = """
network latency 50ms, drop fin 1
server at 10.0.0.1:
    s = socket tcp
    s.bind 10.0.0.1:7000
    s.listen
    mark listening
    s.accept -> conn
    conn.set linger {}
    conn.timeout 1ms
    conn.close blocks {}
client at 10.0.0.2:
    after listening
    c = socket tcp
    c.connect 10.0.0.1:7000
    c.recv = end
    c.close
"""
    # The FIN is sent again after the round trip and 200 ms; its acknowledgement takes another 100 ms.
    assert simulated(text.format("5", "440ms")).failures == []
    assert simulated(text.format("5", "10ms")).failures != []
    assert simulated(text.replace("fin 1", "fin 1, drop fin 2").format("1", "1s")).failures == []
