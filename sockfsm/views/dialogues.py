"""Prints the dialogues of a protocol: requests, replies, states, and what was out of order."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap
from typing import Any

from sockfsm.events import Socket
from sockfsm.model.rules import ACCEPTED
from sockfsm.protocols.dialogue import Exchange
from sockfsm.protocols.payload import Conversation
from sockfsm.views.lanes import Lanes
from sockfsm.views.phrases import place
from sockfsm.views.text import Paint, address, count, plain

_WIDTH, _INDENT = 80, " " * 12


def lines(found: list[Conversation], lanes: Lanes, zero: int, paint: Paint) -> Iterator[str]:
    """Yield them as lines of at most 80 columns. zero: the trace's start, monotonic ns."""
    for number, talk in enumerate(found):
        if number:
            yield ""
        dialogue = talk.dialogue
        illegal = sum(exchange.illegal for exchange in dialogue.exchanges)
        ends = zip(talk.sockets, (talk.client, talk.server), strict=True)
        names = [_end(lanes, socket, name) for socket, name in ends]
        yield paint(f"{dialogue.protocol.name} {' -> '.join(names)}", "bold")
        said = f"{count(len(dialogue.exchanges), 'request')}, {illegal or 'none'} illegal"
        yield f"  {said}; it ended in {dialogue.state}"
        for exchange in dialogue.exchanges:
            yield from _exchange(exchange, talk, zero, paint)
        if dialogue.broken:
            yield paint(f"  not read to its end: {plain(dialogue.broken)}", "red")


def as_json(talk: Conversation, lanes: Lanes) -> dict[str, Any]:
    """One dialogue as data, times in monotonic ns."""
    return {
        "protocol": talk.dialogue.protocol.name,
        "client": list(talk.client),
        "server": list(talk.server),
        "sockets": [lanes.socket(socket) if socket else None for socket in talk.sockets],
        "state": talk.dialogue.state,
        "broken": talk.dialogue.broken,
        "exchanges": [
            {**each._asdict(), "illegal": each.illegal} for each in talk.dialogue.exchanges
        ],
    }


def _end(lanes: Lanes, socket: Socket | None, name: tuple[str, int]) -> str:
    return f"{lanes.socket(socket)} {address(name)}" if socket is not None else address(name)


def _exchange(each: Exchange, talk: Conversation, zero: int, paint: Paint) -> Iterator[str]:
    states = each.before if each.before == each.after else f"{each.before} -> {each.after}"
    call = talk.causes.get(each.begin)
    where = place(call.site, 24) if call is not None else ""
    wrong = "" if each.outcome in ACCEPTED else "red" if each.illegal else "yellow"
    outcome = each.outcome or "no reply"
    left = f"  {(each.begin - zero) / 1e9:9.6f} {plain(each.request):12} "
    yield f"{left}{paint(f'{outcome:9}', wrong)} {states:21} {where}".rstrip()
    for label, text in _remarks(each, talk):
        for line in wrap(f"{label}: {text}", _WIDTH - len(_INDENT), subsequent_indent="  "):
            yield _INDENT + (paint(line, "red") if label == "ILLEGAL" else line)


def _remarks(each: Exchange, talk: Conversation) -> Iterator[tuple[str, str]]:
    source = f" ({each.source})" if each.source else ""
    if each.illegal:
        taken = ", and the server took it" if each.outcome in ACCEPTED else ""
        yield "ILLEGAL", f"{plain(each.why)}{source}{taken}"
        legal = talk.dialogue.protocol.machine.legal(each.before)
        yield "legal here", ", ".join(legal) or "nothing"
    elif each.why:
        yield "why" if each.explained else "UNEXPLAINED", f"{plain(each.why)}{source}"
