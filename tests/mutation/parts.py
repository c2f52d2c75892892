"""The parts that are mutated, and the tests that know most of each, the quickest first."""

from __future__ import annotations

from typing import NamedTuple

MACHINES = "sockfsm/model/machines.tsv"
RULES = frozenset(
    f"sockfsm/model/{name}.py"
    for name in (
        *("tcp", "tcp_doubts", "tcp_ending", "tcp_transfer", "udp", "unix_stream", "unix_dgram"),
        *("lifecycle", "rfc9293"),
    )
)
IN_STEP = "tests/test_machines.py::test_the_shipped_machines_are_in_step_with_the_rules"


class Part(NamedTuple):
    example: str
    """A module of the part."""
    tests: str


_MODEL = """
machines predict traps errnos oracles lint_command machine_command rows illegal enforce
recorded_traces rules_proved shown conform watching
"""
_WATCHED = """
rows process_notes same_socket waits_exact traced_sockets enforce illegal sinks notes errnos unix_wakes
replaced released hostile_arguments join pytest_plugin unmodified records watching overlapping_calls
interrupted flags audit_hooks codec
"""
PARTS = {
    "rules": Part("sockfsm/model/tcp.py", _MODEL),
    "model": Part("sockfsm/model/flat.py", _MODEL),
    "tracer": Part("sockfsm/tracer/rows.py", _WATCHED),
    "trace": Part("sockfsm/trace/join.py", """
        verdict trace_lints summary packet_filter unix_wakes join_problems notes records causes join
        flow codec merged whole shared
        recorded_traces recorded_handshakes incomplete damaged_trace show text timeline ladder
        handshake capture_bounds export run traced_sockets
        """),
    "wire": Part("sockfsm/wire/pcapng.py", """
        flow snap pcapng packet_filter tshark_verdicts recorded_handshakes handshake kernel_states
        tracing_capture capture capture_bounds join_problems damaged_trace run_network export
        """),
}  # fmt: skip


KINDS = ("tcp", "udp", "unix-stream", "unix-dgram")
_OF_A_KIND = {
    "tcp": "tcp", "tcp_doubts": "tcp", "tcp_ending": "tcp", "tcp_transfer": "tcp", "udp": "udp",
    "unix_stream": "unix-stream", "unix_dgram": "unix-dgram",
}  # fmt: skip


def of_another_kind(path: str, test: str) -> bool:
    """Whether the rules of this module are none of the test's, which names another kind."""
    own = _OF_A_KIND.get(path.rpartition("/")[2].removesuffix(".py"), "")
    named = test.partition("[")[2]
    return bool(own) and own not in named and any(kind in named for kind in KINDS)


def tests_for(path: str) -> tuple[str, list[str]]:
    """(part, test files) of a module; ("", []) when it is of none."""
    part = "rules" if path in RULES else path.split("/")[1]
    if part not in PARTS:
        return "", []
    names = PARTS[part].tests.split()
    files = [f"tests/{'' if name == 'unmodified' else 'test_'}{name}" for name in names]
    return part, [name if "unmodified" in name else f"{name}.py" for name in files]
