"""What the model says of a state that can be seen from outside: names, TCP state, pending error.

A fact is a set of values. There are several if timing decides (FIN_WAIT1 until the FIN is
acknowledged). A fact is left out if the kernel does not show it: after TCP has given back a port,
getsockname() still shows the old one.
"""

from __future__ import annotations

import errno

from sockfsm.model.rules import Parts, Table

Facts = dict[str, frozenset[object]]


def expected(table: Table, parts: Parts) -> Facts:
    """What `Bench.seen` must show in this situation."""
    part = dict(zip(table.parts, parts, strict=True))
    if part["fd"] != "open":
        return {"open": _one(False)}
    facts = {"open": _one(True)}
    if table.kind == "tcp":
        return facts | _tcp(part)
    facts["named"] = _one(part["name"] != "no")
    if table.kind == "unix-stream":
        facts["listening"] = _one(part["role"] == "listening")
        facts["connected"] = _one(part["role"] == "connected")
        facts["error"] = _one(0)
        return facts
    facts["connected"] = _one(part["peer"] == "yes")
    facts["error"] = _one(errno.ECONNREFUSED if part.get("err") == "pending" else 0)
    return facts


def firm(table: Table, parts: Parts) -> Facts:
    """The facts that hold whatever a peer has done meanwhile: an end, a reset, an error under way."""
    facts = expected(table, parts)
    facts.pop("error", None)
    part = dict(zip(table.parts, parts, strict=True))
    if table.kind == "tcp" and part["role"] in ("connecting", "established", "connected"):
        return {fact: facts[fact] for fact in ("open", "listening") if fact in facts}
    if table.kind == "unix-stream" and part["role"] == "connected":
        # A data socket shows the name of the listening socket that it came from.
        facts.pop("named", None)
    return facts


def _one(value: object) -> frozenset[object]:
    return frozenset({value})


def _tcp(part: dict[str, str]) -> Facts:
    role, peer = part["role"], part["peer"]
    alive = role in ("connecting", "established", "connected") and peer in ("open", "closed")
    facts = {
        "listening": _one(role == "listening"),
        "connected": _one(alive),
        "tcp": _tcp_states(part, alive),
    }
    if part["name"] == "yes":
        facts["named"] = _one(True)
    errors = {
        "none": {0},
        "pending": {errno.ECONNRESET, errno.ECONNREFUSED, errno.ETIMEDOUT},
        "pipe": {errno.EPIPE},
    }
    facts["error"] = frozenset(errors[part["err"]])
    return facts


def _tcp_states(part: dict[str, str], alive: bool) -> frozenset[object]:
    if part["role"] == "listening":
        return _one("LISTEN")
    if not alive:
        return _one("CLOSE")
    if part["peer"] == "closed":
        return _one("CLOSE_WAIT")
    if part["wr"] == "shut":
        return frozenset({"FIN_WAIT1", "FIN_WAIT2"})
    return _one("ESTABLISHED")
