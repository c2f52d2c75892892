"""Draws the panes of the stepping view as lines of text: pure functions of a `View` and a width.

The colours mean what they mean in the other views (`views/ladder.py`): red is refused, yellow waits,
green is a state, magenta is lost or uncertain. Signs say the same where there are none.
"""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap
from typing import NamedTuple

from rich.text import Text

from sockfsm.sim.stepping.view import (
    BLOCKED,
    CALL,
    ENDED,
    PACKET,
    RETURN,
    STUCK,
    ActorView,
    Choice,
    Happened,
    PacketView,
    SocketView,
    View,
)
from sockfsm.views.phrases import spelled
from sockfsm.views.text import address, cut, duration, pad, plain

HERE, ARROW = "▶", "→"
_LEAST, _ROOMY, _NARROWEST = 80, 45, 20


class Look(NamedTuple):
    """The style of each meaning, on one background, or without colours."""

    refused: str
    waits: str
    state: str
    lost: str
    packet: str
    faint: str


DARK = Look("bold #ff7b72", "#ffd75f", "#87e58d", "#f29bff", "#79c9ff", "#a5b1bd")
MONO = Look("bold reverse", "bold", "", "bold reverse", "", "")
LIGHT = Look("bold #b3001b", "#7a4b00", "#0f6b2b", "#8a2468", "#005a8e", "#4b5763")


class Heights(NamedTuple):
    """Lines of each pane, with its heading."""

    actors: int
    sockets: int
    middle: int
    last: int


def heights(view: View, rows: int) -> Heights:
    """How the lines between title and footer are shared: the same throughout a run."""
    spare = max(rows - 24, 0)
    longest = max((len(actor.lines) for actor in view.actors), default=0)
    sockets = 1 + min(view.most_sockets, 4 + spare // 3)
    middle = 4 + spare // 4
    left = rows - 2 - sockets - middle
    actors = max(min(2 + longest, left - 6 - spare // 4), 3)
    return Heights(actors, sockets, middle, max(left - actors, 2))


def panes(
    view: View, size: tuple[int, int], chosen: int, look: Look, note: str = ""
) -> dict[str, Text]:
    """The texts of all panes, by name. chosen: the place of the choice that will be taken."""
    width, rows = size
    sizes = heights(view, rows)
    left = halves(width)[0]
    return {
        "title": title(view, width, note),
        "actors": actors(view, width, sizes.actors, look),
        "sockets": sockets(view, width, sizes.sockets, look),
        "packets": packets(view, left, sizes.middle, look),
        "choices": choices(view, halves(width)[1], sizes.middle, chosen, look),
        "last": last(view, width, sizes.last, look),
    }


def halves(width: int) -> tuple[int, int]:
    """The widths of the two panes that stand side by side, one column apart."""
    left = (width - 1) // 2
    return left, width - 1 - left


# Titles


def title(view: View, width: int, note: str = "") -> Text:
    """What is shown, and how far it is."""
    right = f"step {view.steps}   {view.time / 1e9:.6f} s "
    said = note or ("the end" if view.over else "")
    left = f" {said}: {plain(view.title)}" if said else f" {plain(view.title)}"
    line = pad(cut(left, width - len(right) - 1), width - len(right)) + right
    return Text(line, style="bold reverse", no_wrap=True)


def _rule(text: str, width: int) -> Text:
    said = cut(f"── {text} ", width)
    return Text(said + "─" * (width - len(said)), style="bold", no_wrap=True)


# Actors


def actors(view: View, width: int, rows: int, look: Look) -> Text:
    """The actors side by side: what each does, and its lines around the current one.

    Where there are too many: around the one who was last.
    """
    names = [actor.name for actor in view.actors]
    count = min(len(names), max((width + 3) // (_NARROWEST + 3), 1))
    turn = names.index(view.last.choice.who) if view.last and view.last.choice.who in names else 0
    first = max(min(turn - count // 2, len(names) - count), 0)
    each = max((width - 3 * (count - 1)) // count, 1)
    columns = [column(actor, each, rows, look) for actor in view.actors[first : first + count]]
    lines = []
    for line in zip(*columns, strict=True):
        whole = Text(no_wrap=True)
        for place, part in enumerate(line):
            whole.append(" │ " if place else "", look.faint)
            whole.append_text(part)
        lines.append(whole)
    return Text("\n").join(lines)


def column(actor: ActorView, width: int, rows: int, look: Look) -> list[Text]:
    """One actor. What it waits for may take two lines."""
    name = f"{plain(actor.name)} at {plain(actor.host)}"
    doing = _doing(actor, look)
    said = _wrapped(doing.plain, width, str(doing.style))[:2]
    found = [_rule(name, width), *(_padded(line, width) for line in said)][:rows]
    room = rows - len(found)
    first = max(min(actor.at - room // 2, len(actor.lines) - room), 0)
    for place in range(first, first + room):
        line = Text(no_wrap=True)
        if place < len(actor.lines):
            text, comment = plain(actor.lines[place].text), plain(actor.lines[place].comment)
            here = place == actor.at
            style = _tone(actor, look) if here else ("" if place > actor.at else look.faint)
            line.append(f"{HERE if here else ' '} {text}", f"bold {style}" if here else style)
            if comment and here:
                line.append(f"  {comment}", look.faint)
        found.append(_padded(line, width))
    return found


def _doing(actor: ActorView, look: Look) -> Text:
    if actor.doing == ENDED:
        return Text("has ended", look.faint)
    if actor.doing == BLOCKED:
        return Text(f"▒ waits: {plain(actor.awaits)}", look.waits)
    if actor.doing == STUCK:
        return Text(f"▒ for ever: {plain(actor.awaits)}", look.refused)
    return Text("can go on")


def _tone(actor: ActorView, look: Look) -> str:
    return {BLOCKED: look.waits, STUCK: look.refused}.get(actor.doing, "")


def _padded(line: Text, width: int) -> Text:
    line.truncate(width, overflow="ellipsis")
    line.pad_right(width - line.cell_len)
    return line


# Sockets


class _Widths(NamedTuple):
    label: int
    state: int
    kind: int
    name: int
    peer: int
    bytes: int


def _widths(width: int) -> _Widths:
    more = max(min(width - _LEAST, 19), 0)
    return _Widths(
        15 + more // 4, 17 + more // 3, 12, 6 + more // 9, 13 + more // 6, 5 + more // 18
    )


def sockets(view: View, width: int, rows: int, look: Look) -> Text:
    """A line for each socket; where there is no room for all, closed ones are left out."""
    sizes = _widths(width)
    shown = list(view.sockets)
    for gone in [one for one in shown if one.state == "CLOSED" and one.tcp in ("", "CLOSED")]:
        if len(shown) >= rows:
            shown.remove(gone)
    del shown[rows - 1 :]
    left_out = len(view.sockets) - len(shown)
    more = f" (+{left_out})" if left_out else ""
    titles = (f" socket{more}", "state", "kind or TCP", "name", "peer")
    columns = (sizes.label + 1, *sizes[1:5])
    head = " ".join(pad(text, size) for text, size in zip(titles, columns, strict=True))
    head += f" {'recvQ':>{sizes.bytes}} {'sendQ':>{sizes.bytes}}"
    lines = [Text(pad(cut(head, width), width), style="bold underline", no_wrap=True)]
    for one in shown:
        line = _socket(one, sizes, look)
        line.truncate(width, overflow="ellipsis")
        lines.append(line)
    return Text("\n").join(lines)


def _socket(one: SocketView, sizes: _Widths, look: Look) -> Text:
    line = Text(no_wrap=True)
    mark = "▒" if one.blocked else " "
    label = pad(cut(plain(one.label), sizes.label), sizes.label)
    line.append(f"{mark}{label}", look.waits if one.blocked else "bold")
    state, kind = one.state or "(kernel)", one.tcp or one.kind
    line.append(f" {_two(state, kind, sizes.state, sizes.kind)}", look.state)
    own = f":{one.name[1]}" if isinstance(one.name, tuple) else address(one.name)
    peer = address(one.peer)
    if isinstance(one.name, tuple) and isinstance(one.peer, tuple) and one.name[0] == one.peer[0]:
        peer = f":{one.peer[1]}"
    rest = sizes.peer - (len(one.error) > 2 * sizes.bytes + 1)  # ECONNREFUSED
    line.append(f" {_two(own, peer, sizes.name, rest)} ")
    line.append_text(_buffers(one, sizes.bytes, look))
    return line


def _two(one: str, other: str, size: int, rest: int) -> str:
    """Two cells; the first may take of the second what that does not need."""
    whole = size + 1 + rest
    text = f"{pad(one, size)} {other}"
    return pad(cut(text if len(text) <= whole else f"{one} {other}", whole), whole)


def _buffers(one: SocketView, size: int, look: Look) -> Text:
    line = Text()
    if one.error:
        line.append(one.error, look.refused)
        return line
    if one.queue is not None:
        queue = f"queue {one.queue}/{one.backlog}"
        line.append(f"{queue:>{2 * size + 1}}", look.waits if one.queue else "")
        return line
    for place, count in enumerate((one.received, one.sending)):
        text = "" if count is None else _short(count)
        if place and one.datagrams:
            text = f"in {one.datagrams}"
        line.append(" " if place else "")
        line.append(f"{text:>{size}}", f"reverse {look.waits}" if one.full[place] else "")
    return line


def _short(count: int) -> str:
    return str(count) if count < 100_000 else f"{count // 1000}k"


# Packets and choices


def packets(view: View, width: int, rows: int, look: Look) -> Text:
    """The packets on their way, the first to arrive above."""
    count = len(view.packets)
    lines = [_rule(f"in flight: {count}" if count else "nothing in flight", width)]
    for packet in view.packets[: rows - 1]:
        line = Text(no_wrap=True)
        line.append(f"{_when(view, packet.due or 0):<9}", look.faint)
        source = f"{who(view, packet.source)} " if width > _ROOMY else ""
        line.append(f"{source}{ARROW} {who(view, packet.target)}  ")
        line.append(said(packet), look.packet)
        lines.append(_padded(line, width))
    return Text("\n").join(lines)


def choices(view: View, width: int, rows: int, chosen: int, look: Look) -> Text:
    """What may come next. chosen: the place of the one that will."""
    count = len(view.choices)
    name = "the end" if view.over else f"next: {count} may come" if count > 1 else "next"
    lines = [_rule(name, width)]
    room = rows - 1
    first = max(min(chosen - room // 2, count - room), 0)
    for place, choice in list(enumerate(view.choices))[first : first + room]:
        line = Text(no_wrap=True)
        line.append(f"{HERE if place == chosen else ' '} {place + 1} ")
        line.append_text(chooses(view, choice, look))
        due = f" {_when(view, choice.due)}"
        line = _padded(line, max(width - len(due), 0)).append(due, look.faint)
        lines.append(Text(line.plain, "bold reverse") if place == chosen else line)
    return Text("\n").join(lines)


def chooses(view: View, choice: Choice, look: Look) -> Text:
    """An event, in words."""
    line = Text()
    if choice.packet is not None:
        line.append(said(choice.packet), look.packet)
        line.append(f" {ARROW} {who(view, choice.packet.target)}")
        return line
    if choice.kind == PACKET:
        return line.append(plain(choice.text), look.packet)
    line.append(f"{plain(choice.who)}{' goes on' if choice.kind == RETURN else ''}: ")
    line.append(plain(choice.text), look.waits if choice.kind not in (CALL, RETURN) else "")
    return line


def said(packet: PacketView) -> str:
    """A packet: `PSH-ACK seq 1 ack 1 len 5`."""
    if packet.protocol != "tcp":
        return f"UDP {packet.length} B"
    text = f"{spelled(packet.flags)} seq {packet.seq}"
    if "A" in packet.flags:
        text += f" ack {packet.ack}"
    return text + (f" len {packet.length}" if packet.length else "")


def who(view: View, end: tuple[str, int]) -> str:
    """Whose end of a packet it is: an actor where only one can be meant, else the address."""
    owners = {
        one.label.partition(".")[0]
        for one in view.sockets
        if isinstance(one.name, tuple) and one.name[1] == end[1] and "." in one.label
    }
    hosts = [actor.name for actor in view.actors if actor.host == end[0]]
    named = [name for name in hosts if name in owners] or (hosts if len(hosts) == 1 else [])
    return plain(named[0]) if len(named) == 1 else address(end)


def _when(view: View, due: int) -> str:
    ahead = due - view.time
    if ahead <= 0:
        return "now" if ahead == 0 else "late"
    return f"in {duration(ahead)}"


# The last event


def last(view: View, width: int, rows: int, look: Look) -> Text:
    """What happened last, and why."""
    lines = [_rule("the beginning" if view.last is None else "what happened", width)]
    if view.last is not None:
        lines += _happened(view, view.last, width, look)
    for text in view.ending:
        expected = text.startswith("as expected")
        lines += _wrapped(plain(text), width, look.waits if expected else look.refused)
    if view.last is None:
        lines += _wrapped(
            "The right arrow lets happen what is due first. Up and down choose another event: what"
            " was due before it is late then.",
            width, look.faint,
        )  # fmt: skip
    if len(lines) > rows:
        lines = lines[:rows]
        lines[-1].truncate(width - 3)
        lines[-1].append(" ..", "bold")
    return Text("\n").join(lines)


def _happened(view: View, last: Happened, width: int, look: Look) -> Iterator[Text]:
    line = chooses(view, last.choice, look)
    line.stylize("bold")
    line.no_wrap = True
    ended = _ended(last)
    if ended:
        tone = look.refused if last.refused else look.lost if last.lost else look.state
        line.append(f" {ARROW} {ended}", look.waits if ended == "waits" else f"bold {tone}")
    yield _padded(line, width)
    for text in last.unmet:
        yield from _wrapped(f"Not as expected: {plain(text)}", width, look.refused)
    if last.why:
        yield from _wrapped(_reason(last.why, last.source), width, "")
    if last.meant:
        yield from _wrapped(f"Usually meant: {last.meant}", width, look.waits)
    for change in last.changes:
        text = f"{plain(change.label)}: {change.before} {ARROW} {change.after}"
        if change.why:
            text += f", {_reason(change.why, change.source)}"
        yield from _wrapped(text, width, look.state)
    for packet in last.sent:
        text = f"sent {said(packet)} to {who(view, packet.target)}"
        if packet.due is None:
            yield from _wrapped(f"{text}: LOST", width, look.lost)
        else:
            yield from _wrapped(text, width, look.packet)


def _ended(last: Happened) -> str:
    if last.lost:
        return "LOST"
    if last.refused:
        return f"{last.outcome}, {'illegal' if last.illegal else 'refused'} in {last.state}"
    if last.value:
        text = repr(last.value)[1:]
        return f"{last.outcome}, {cut(text, 30)}"
    if last.choice.kind == CALL and last.state and not last.outcome:
        return "waits"
    return "end of stream" if last.outcome == "eof" else last.outcome


def _reason(why: str, source: str) -> str:
    return f"{why} ({source})" if source else why


def _wrapped(text: str, width: int, style: str) -> list[Text]:
    return [
        Text(line, style, no_wrap=True)
        for line in wrap(text, max(width, 3), subsequent_indent="  ")
    ]
