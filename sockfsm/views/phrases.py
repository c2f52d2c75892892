"""Describes calls and packets in a few words, without payload. Words from outside are escaped."""

from __future__ import annotations

from functools import lru_cache

from sockfsm.events import Address, Call, Packet, Site
from sockfsm.model.kinds import KINDS, flat_of
from sockfsm.tcp_names import FLAGS
from sockfsm.trace.verdict import out_of_order
from sockfsm.views.text import address, cut_front, plain

_SPOKEN = "SFRUPECA"  # the order in which flags are named: SYN-ACK, PSH-ACK
_ENDS = {
    "EINPROGRESS": "under way (EINPROGRESS)",
    "EALREADY": "still under way (EALREADY)",
    "EAGAIN": "would block (EAGAIN)",
    "eof": "end of stream",
    "timeout": "timed out",
    "deferred": "deferred, still held",
    "raised": "raised before the kernel",
}


def spoken(call: Call) -> str:
    """The call as in source, with sizes in place of payload: `sendto(12 B, 127.0.0.1:53)`."""
    name = plain(call.method)
    if name.endswith(")"):
        return name
    if call.call == "accepted":
        peer = call.socket.remote if call.socket is not None else None
        return f"new data socket from {address(peer)}" if peer else "new data socket"
    return f"{name}({_arguments(call)})"


def _arguments(call: Call) -> str:
    word, named = call.call, call.address
    if word == "listen":
        return str(call.asked) if call.asked > 0 else ""
    if word == "recv":
        return f"{call.asked} B" if call.asked > 0 else ""
    if word == "create":
        return plain(call.socket.kind) if call.socket is not None else ""
    if word == "send":
        size = f"{call.asked} B" if call.asked >= 0 else ""
        return ", ".join(filter(None, (size, _address(named))))
    if word == "resolve" and isinstance(named, tuple):
        return plain(", ".join(map(str, named[:2])))
    return _address(named) if word in ("bind", "connect", "unlink", "resolve") else ""


def _address(value: Address | None) -> str:
    return address(value) if value is not None else ""


def answered(call: Call, made: str = "") -> str:
    """How the call ended: `ok`, `12 B`, `end of stream`, `REFUSED EINVAL`.

    made: the name of the data socket that an accept made, such as `#3`.
    """
    if call.enforced:
        return f"REFUSED {call.outcome} by sockfsm"
    if call.refused:
        word = "REFUSED" if out_of_order(call) else "FAILED"
        return f"{word} {plain(call.outcome)}"
    if call.outcome == "raised" and call.waited:
        return "interrupted by an exception"  # Ctrl-C, for example: the kernel was asked
    if call.outcome != "ok":
        return _ENDS.get(call.outcome) or plain(call.outcome)
    peer = f" from {address(call.address)}" if call.address else ""
    if call.call == "accept":
        return made or f"ok{peer}"
    if call.call == "recv":
        return f"{call.done} B{peer}"
    # Only a short send is worth a number; the size asked for stands in the call.
    if call.call == "send" and call.done != call.asked and call.done >= 0:
        return f"{call.done} B"
    return "ok"


def states(call: Call) -> str:
    """`CREATED -> BOUND`, or only the state if it did not change."""
    return f"{call.before} -> {call.after}" if call.moved and call.before else call.after


def doubt(call: Call) -> str:
    """What the model expected if the call was not explained; '' if it was."""
    if call.explained:
        return ""
    if call.predicted and call.predicted != call.outcome:
        return f"UNEXPLAINED: in {call.before} the model expects {call.predicted}"
    return f"UNEXPLAINED: no rule of the model gives {plain(call.outcome)} in {call.before}"


def reason(call: Call) -> str:
    """Why the call failed, in the machine's words; '' if it did not fail, or no reason is known."""
    if not call.refused or call.socket is None or call.socket.kind not in KINDS:
        return ""
    return _reason(call.socket.kind, call.before, call.call, call.outcome)


@lru_cache(1024)
def _reason(kind: str, state: str, call: str, outcome: str) -> str:
    flat = flat_of(kind)
    cell = flat.cell(state, call, outcome) if state in flat.states else None
    if cell is None:
        return ""
    parts, table = flat.states[state], flat.table
    expected = table.predict(call, parts, table.reference)
    if expected is not None and expected.outcome == outcome:
        return expected.why
    # The trace does not say in which of several environments it failed: say what is true in all.
    rules = [entry for entry in table.fitting(call, parts) if entry.outcome == outcome]
    return _common([entry.why for entry in rules]) or cell.rule.why


def _common(texts: list[str]) -> str:
    """The sentences that all of `texts` begin with."""
    shared = []
    for sentences in zip(*(text.split(". ") for text in texts), strict=False):
        words = {sentence.rstrip(".") for sentence in sentences}
        if len(words) != 1:
            break
        shared.append(words.pop() + ".")
    return " ".join(shared)


@lru_cache(4096)
def place(site: Site | None, columns: int = 28) -> str:
    """`echo.py:12`, cut at the front to `columns`; '' for None."""
    if site is None:
        return ""
    name = plain(site.file.rpartition("/")[2])
    return cut_front(f"{name}:{site.line}", columns)


def flags(packet: Packet) -> str:
    """A packet's flags in words: `SYN-ACK`; `UDP` for a datagram."""
    if packet.protocol != "tcp":
        return packet.protocol.upper()
    return spelled(packet.flags)


def spelled(letters: str) -> str:
    """TCP flags in words: `SYN-ACK`."""
    return "-".join(FLAGS[letter] for letter in _SPOKEN if letter in letters) or "no flags"


def named(call: Call) -> str:
    """The name of the method alone: `sendall`."""
    return plain(call.method).partition("(")[0].removeprefix("ssl.")


def behind(packet: Packet) -> str:
    """The cause of a packet in a word or two; '' for what goes without saying.

    `sendall +2` means that it has bytes of two more calls, `queued` that the call had returned before.
    """
    cause = packet.cause
    if cause is None:
        return ""
    if cause.who == "call":
        more = f" +{len(cause.calls) - 1}" if len(cause.calls) > 1 else ""
        return f"{named(cause.calls[0])}{more}" + (", queued" if cause.why else "")
    if cause.who == "kernel":
        # These would be named on every second arrow.
        return "" if cause.why in ("acknowledgement", "SYN-ACK") else plain(cause.why)
    return "" if packet.socket is None else f"? {plain(cause.why)}"


def caused(packet: Packet) -> str:
    """The same as a phrase: `by sendall +2, queued`, `window probe`, `cause unknown: ...` or ''."""
    cause, short = packet.cause, behind(packet)
    if cause is None or not short or cause.who == "kernel":
        return short
    return f"by {short}" if cause.who == "call" else f"cause unknown: {plain(cause.why)}"
