"""A homework protocol, declared as a machine of `transitions`: JOIN, then SAY, then LEAVE."""

from transitions import Machine

from sockfsm.protocols.protocol import Message, Protocol, table_of_machine

MACHINE = Machine(
    states=["outside", "in the room", "left"],
    transitions=[
        ["JOIN", "outside", "in the room"],
        ["SAY", "in the room", "="],
        ["LEAVE", "in the room", "left"],
    ],
    initial="outside",
)


def request(data: bytes, _state: str) -> Message | None:
    line, newline, _ = data.partition(b"\n")
    if not line.isascii():
        raise ValueError(f"no line of this protocol: {line[:20]!r}")
    return (line.split()[0].decode(), len(line) + 1) if newline else None


CHAT = Protocol(table_of_machine(MACHINE, name="chat"), request)
