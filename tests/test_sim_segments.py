"""The segments of simulated scenarios beside the running kernel's: flags, numbers, order, lengths."""

from __future__ import annotations

import pytest

from sockfsm.cli.compare import whole
from sockfsm.sim.run import Simulation
from sockfsm.sim.scenario import parse

_ENDS = """
server at 10.0.0.1:
    listener = socket tcp
    listener.bind 7000
    listener.listen
    mark listening
    listener.accept -> conn
{server}

client at 10.0.0.2:
    after listening
    c = socket tcp
    c.connect 10.0.0.1:7000
{client}
"""


def between(network: str, server: str, client: str) -> str:
    """A scenario of two hosts and one connection: what each does, call after call."""
    lines = ("\n".join(f"    {line}" for line in text.split("; ")) for text in (server, client))
    text = _ENDS.format(server=next(lines), client=next(lines))
    return f"network {network}{text}".replace("bind 7000", "bind 10.0.0.1:7000")


CASES = {
    "Nagle holds the second small segment back": between(
        "latency 20ms",
        'conn.recv = "ab"; wait 200ms; conn.recv = "cdef"; conn.recv = end; conn.close',
        'c.sendall "ab"; c.sendall "cd"; c.sendall "ef"; wait 200ms; c.close',
    ),
    "TCP_NODELAY lets it go": between(
        "latency 20ms",
        'wait 200ms; conn.recv = "abcdef"; conn.recv = end; conn.close',
        'c.set nodelay; c.sendall "ab"; c.sendall "cd"; c.sendall "ef"; wait 100ms; c.close',
    ),
    "a dialogue's acknowledgements go with its answers": between(
        "latency 5ms",
        'conn.recv = "1"; conn.send "one"; conn.recv = "2"; conn.send "two"; conn.recv = "3";'
        ' conn.send "three"; conn.recv = end; conn.close',
        'c.send "1"; c.recv = "one"; c.send "2"; c.recv = "two"; c.send "3"; c.recv = "three"; c.close',
    ),
    "nobody answers: the acknowledgement comes late": between(
        "latency 5ms",
        'conn.recv = "1"; conn.send "one"; conn.recv = "2"; wait 200ms; conn.close',
        'c.send "1"; c.recv = "one"; c.send "2"; wait 100ms; c.recv = end; c.close',
    ),
    "lost data are sent again": between(
        "latency 10ms, drop data 1",
        'conn.recv = "hello"; conn.recv = end; conn.close',
        'c.sendall "hello"; wait 500ms; c.close',
    ),
    "a lost FIN": between(
        "latency 10ms, drop fin 1", "conn.recv = end; conn.close", "wait 100ms; c.close"
    ),
    "SO_LINGER of zero seconds resets": between(
        "latency 5ms", "conn.recv ! ECONNRESET; conn.close", "wait 50ms; c.set linger 0; c.close"
    ),
    "three segments of one write": between(
        "latency 5ms",
        'wait 100ms; conn.recv = "x" * 3000; conn.recv = end; conn.close',
        'c.sendall "x" * 3000; wait 200ms; c.close',
    ),
    "keep-alive asks": between(
        "latency 5ms", "wait 2500ms; conn.close", "c.set keepalive 1; c.recv = end; c.close"
    ),
    "data for who has closed": between(
        "latency 5ms",
        "conn.close; mark closed; listener.close; after sent; wait 50ms",
        'after closed; wait 50ms; c.recv = end; c.send "x"; wait 50ms; c.send "y" ! EPIPE;'
        " c.close; mark sent",
    ),
}


@pytest.mark.parametrize("title", CASES)
def test_segments_are_the_kernel_s(title: str) -> None:
    scenario = parse(CASES[title], title)
    simulation = Simulation(scenario)
    simulation.run()
    assert simulation.unmet == []
    found = list(whole(scenario))
    assert [str(difference) for difference in found if not difference.why] == []
