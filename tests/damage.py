"""Damage to a trace's files, as a full disk, a crash or an enemy does it.

A mutation knows the structure: it changes what a note says, a record's fields, whole blocks of a
capture. Others change bytes and know nothing. All come from one `random.Random`.
"""

from __future__ import annotations

import contextlib
import json
import random
import struct
from collections.abc import Callable
from typing import Any

from sockfsm.record.codec import fragments
from sockfsm.record.layout import CALL, FRAGMENT, MAGIC, METHODS, NOTE, SLOT

Files = dict[str, bytes]

HOSTILE_TEXT = (
    "\x1b[2J\x1b]0;owned\x07", "a\nb\rc", "\x9b31m", "\u202egnp.exe", "\u2028", "\udcff\udcfe", "\0",
    "", " =1+1", "\t=cmd|' /C calc'!A0", "@SUM(1)", "-1", "x" * 5000, "\u0301" * 40, "服" * 60,
    "<script>", '"; -->', "`$(id)`", "a|b", "CONNECTED", "tcp", "::1%lo", "\ufeff", "\x7f", "\x85",
)  # fmt: skip
HOSTILE: tuple[Any, ...] = (
    *HOSTILE_TEXT, None, True, False, 0, -1, 1, 2**31, 2**32, 2**63 - 1, 2**63, 2**64, 10**40,
    -(10**40), 1.5, -0.0, float("inf"), float("-inf"), float("nan"), [], {}, [[]], [["a", 1], "b"],
    ["127.0.0.1", 80], ["\x1b[2J", 10**30], [1, "x"], {"a": [1]}, [None] * 3,
)  # fmt: skip
NUMBERS = (0, 1, 2, 3, 0xFF, 0xFFF, 0xFFFF, 2**31, 2**32 - 1, 2**63, 2**64 - 1)
DEEP = b"[" * 100_000 + b"]" * 100_000


def spoil_bytes(data: bytes, chance: random.Random) -> bytes:
    """Some bytes, with no idea of what they are."""
    if not data:
        return chance.randbytes(chance.choice((0, 1, 48, 500)))
    spoilt, way = bytearray(data), chance.randrange(6)
    place = chance.randrange(len(spoilt))
    if way == 0:
        for _ in range(chance.choice((1, 2, 30))):
            place = chance.randrange(len(spoilt))
            spoilt[place] ^= 1 << chance.randrange(8)
    elif way == 1:
        spoilt[place : place + chance.choice((1, 4, 8))] = chance.randbytes(
            chance.choice((1, 4, 8))
        )
    elif way == 2:
        del spoilt[place:]
    elif way == 3:
        del spoilt[place : place + chance.randrange(1, 100)]
    elif way == 4:
        spoilt[place:place] = spoilt[place : place + chance.randrange(1, 200)]
    else:
        width = chance.choice((1, 2, 4, 8))
        spoilt[place : place + width] = chance.choice((b"\0", b"\xff")) * width
    return bytes(spoilt)


def spoil_value(value: Any, chance: random.Random) -> Any:
    """A JSON value with one of its parts changed, removed, or put inside another."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        changed = dict(value)
        key = chance.choice(list(changed))
        way = chance.randrange(8)
        if way == 0:
            del changed[key]
        elif way == 1:
            changed[chance.choice(HOSTILE_TEXT)] = changed.pop(key)
        else:
            changed[key] = spoil_value(changed[key], chance)
        return changed
    if isinstance(value, list) and value and chance.random() < 0.8:
        place = chance.randrange(len(value))
        way = chance.randrange(8)
        if way == 0:
            return value[:place]
        if way == 1:
            return [*value, *value[place:]]
        return [*value[:place], spoil_value(value[place], chance), *value[place + 1 :]]
    if isinstance(value, str) and chance.random() < 0.5:
        place = chance.randrange(len(value) + 1)
        return value[:place] + chance.choice(HOSTILE_TEXT) + value[place:]
    return chance.choice(HOSTILE)


def as_json(value: Any, chance: random.Random) -> bytes:
    """The text, at times one that only looks like JSON."""
    try:
        text = json.dumps(value, ensure_ascii=chance.random() < 0.9)
        data = text.encode("utf-8", "surrogatepass")
    except ValueError:
        data = b"{}"
    if chance.random() < 0.02:
        return chance.choice((DEEP, b"1e999", b"9" * 6000, b"null", b"", b"\xff", b'{"a":' * 2000))
    return data.replace(b" Infinity", b" 1e999") if chance.random() < 0.3 else data


def spoil_object(data: bytes, chance: random.Random) -> bytes:
    """A file that is one JSON value."""
    value = json.loads(data)
    for _ in range(chance.choice((1, 1, 3))):
        value = spoil_value(value, chance)
    return as_json(value, chance)


def spoil_lines(data: bytes, chance: random.Random) -> bytes:
    """A file with a JSON value on each line."""
    lines = data.splitlines()
    for _ in range(chance.choice((1, 1, 5))):
        place = chance.randrange(len(lines)) if lines else 0
        way = chance.randrange(6)
        if way == 0:
            lines[place:place] = lines[place : place + chance.randrange(1, 4)]
        elif way == 1:
            del lines[place : place + 2]
        elif lines:
            try:
                value = json.loads(lines[place])
            except (ValueError, RecursionError):
                continue
            lines[place] = as_json(spoil_value(value, chance), chance)
    return b"\n".join(lines) + chance.choice((b"\n", b""))


# -- call logs -----------------------------------------------------------------------------

Slots = list[bytes | dict[str, Any]]


def slots_of(log: bytes) -> Slots:
    """Records as bytes, notes as what they say."""
    found: Slots = []
    pieces: list[bytes] = []
    for place in range(SLOT, len(log) - SLOT + 1, SLOT):
        slot = log[place : place + SLOT]
        front, head, back = FRAGMENT.unpack(slot)
        if head & 0xFF != NOTE:
            if any(slot):
                found.append(slot)
            continue
        pieces.append(front + back)
        if head >> 8 & 1:
            # One that an earlier mutation made unreadable is left out.
            with contextlib.suppress(ValueError, RecursionError):
                found.append(json.loads(b"".join(pieces).rstrip(b"\0")))
            pieces.clear()
    return found


def log_of(slots: Slots, chance: random.Random) -> bytes:
    """The log that these make."""
    out = [MAGIC.ljust(SLOT, b"\0")]
    for number, slot in enumerate(slots):
        if isinstance(slot, bytes):
            out.append(slot)
            continue
        out += [
            FRAGMENT.pack(*piece) for piece in fragments(number, as_json(slot, chance)[:40_000])
        ]
    return b"".join(out)


def spoil_log(data: bytes, chance: random.Random) -> bytes:
    """Notes, records, their order."""
    slots = slots_of(data)
    for _ in range(chance.choice((1, 1, 2, 6))):
        if not slots:
            break
        place = chance.randrange(len(slots))
        way = chance.randrange(10)
        if way < 4:
            notes = [n for n, slot in enumerate(slots) if isinstance(slot, dict)]
            if notes:
                place = chance.choice(notes)
                slots[place] = spoil_value(slots[place], chance)
        elif way < 7:
            records = [n for n, slot in enumerate(slots) if isinstance(slot, bytes)]
            if records:
                place = chance.choice(records)
                slots[place] = _spoil_record(slots[place], chance)  # type: ignore[arg-type]
        elif way == 7:
            slots.insert(chance.randrange(len(slots)), slots[place])
        elif way == 8:
            del slots[place : place + chance.randrange(1, 4)]
        else:
            other = chance.randrange(len(slots))
            slots[place], slots[other] = slots[other], slots[place]
    return log_of(slots, chance)


def _spoil_record(slot: bytes, chance: random.Random) -> bytes:
    fields = [*CALL.unpack(slot)]
    place = chance.randrange(len(fields))
    most = 2**32 - 1 if 3 <= place <= 6 else 2**64 - 1
    if place == 2 and chance.random() < 0.7:
        if chance.random() < 0.5:
            fields[2] = fields[2] & ~0xFF | chance.randrange(len(METHODS) + 5)
        else:
            fields[2] ^= 1 << chance.randrange(8, 62)
    else:
        fields[place] = min(
            chance.choice((*NUMBERS, fields[place] ^ 1 << chance.randrange(32))), most
        )
    return CALL.pack(*fields)


def spoil_pack(data: bytes, chance: random.Random) -> bytes:
    """What is inside of a pack: a line of JSON for each log, and its bytes."""
    line, log = data.split(b"\n", 1)
    if chance.random() < 0.7:
        line = as_json(spoil_value(json.loads(line), chance), chance)
    return line + b"\n" + (spoil_bytes(log, chance) if chance.random() < 0.5 else log)


# -- captures ------------------------------------------------------------------------------


def blocks_of(data: bytes) -> list[bytes]:
    """A pcapng file's blocks, in the order of bytes that the first one has."""
    order = ">" if data[8:12] == b"\x1a\x2b\x3c\x4d" else "<"
    found, place = [], 0
    while place + 12 <= len(data):
        size = struct.unpack_from(order + "I", data, place + 4)[0]
        if size < 12 or place + size > len(data):
            break
        found.append(data[place : place + size])
        place += size
    return found


def spoil_capture(data: bytes, chance: random.Random) -> bytes:
    """Blocks cut, doubled, swapped, with lengths and times that cannot be."""
    blocks = blocks_of(data)
    for _ in range(chance.choice((1, 1, 3))):
        if not blocks:
            break
        place = chance.randrange(len(blocks))
        block = bytearray(blocks[place])
        way = chance.randrange(8)
        if way == 0:
            blocks.insert(chance.randrange(len(blocks)), blocks[place])
        elif way == 1:
            del blocks[place]
        elif way == 2:
            blocks[place] = bytes(block[: chance.randrange(max(len(block), 1))])
        elif way == 3:
            width = chance.choice((2, 4, 8))
            at = chance.randrange(0, max(len(block) - 8, 1), 4)
            number = chance.choice(NUMBERS) & (1 << 8 * width) - 1
            block[at : at + width] = number.to_bytes(width, chance.choice(("big", "little")))
            blocks[place] = bytes(block)
        elif way == 4:
            block[0:4] = struct.pack(
                chance.choice("<>") + "I", chance.choice((1, 2, 3, 4, 5, 6, 9))
            )
            blocks[place] = bytes(block)
        else:
            # Inside: addresses, ports, flags, options; the lengths stay right.
            for _ in range(chance.choice((1, 3, 20))):
                if len(block) > 16:
                    block[chance.randrange(8, len(block) - 4)] = chance.randrange(256)
            blocks[place] = bytes(block)
    return b"".join(blocks)


# -- a whole trace -------------------------------------------------------------------------

_FREE = {"file", "function", "command", "is", "local", "remote"}
"""What a program names as it likes."""

_WAYS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    ".calls": spoil_log,
    ".pcapng": spoil_capture,
    ".json": spoil_object,
    ".jsonl": spoil_lines,
}


def spoil_file(name: str, data: bytes, chance: random.Random) -> bytes:
    """One file: three times of four as one that knows what is in it."""
    way = next(way for ending, way in _WAYS.items() if name.endswith(ending))
    return way(data, chance) if chance.random() < 0.75 else spoil_bytes(data, chance)


def spoil(files: Files, chance: random.Random) -> Files:
    """A trace: one or more files damaged, missing, empty, doubled, or mixed with one another."""
    spoilt = dict(files)
    for _ in range(chance.choice((1, 1, 2))):
        if not spoilt:
            break
        name = chance.choice(list(spoilt))
        way = chance.randrange(20)
        if name.endswith(".calls") and chance.random() < 0.3:
            spoilt[name] = poisoned(spoilt[name], chance)
        elif way == 0:
            del spoilt[name]
        elif way == 1:
            spoilt[name] = b""
        elif way == 2:
            spoilt[name] = files[chance.choice(list(files))]
        elif way == 3:
            spoilt[f"{chance.randrange(9)}-\x1b[2J.calls"] = spoilt[name]
        elif way == 4 and name.endswith(".calls"):
            spoilt[f"{chance.randrange(9)}-1.calls"] = spoil_file(name, spoilt[name], chance)
        elif way == 5 and name.endswith(".calls"):
            # Two logs, each of which says that it was forked from the other.
            spoilt["1-0.calls"] = _forked(spoilt[name], "2-0.calls", chance)
            spoilt["2-0.calls"] = _forked(spoilt[name], "1-0.calls", chance)
        else:
            try:
                spoilt[name] = spoil_file(name, spoilt[name], chance)
            except (ValueError, KeyError, IndexError, RecursionError, struct.error):
                spoilt[name] = spoil_bytes(spoilt[name], chance)  # damaged before, past its form
    return spoilt


def poisoned(log: bytes, chance: random.Random) -> bytes:
    """A log whose program gave hostile names to its files, threads, sockets and arguments."""

    def poison(value: Any) -> Any:
        if isinstance(value, str):
            return chance.choice((value, *HOSTILE_TEXT))
        return [poison(part) for part in value] if isinstance(value, list) else value

    slots = slots_of(log)
    for slot in slots:
        if isinstance(slot, dict):
            for key in _FREE & slot.keys():
                slot[key] = poison(slot[key])
            if "thread" in slot:
                slot["name"] = poison(slot["name"])
    return log_of(slots, chance)


def _forked(log: bytes, parent: str, chance: random.Random) -> bytes:
    slots = slots_of(log)
    for slot in slots:
        if isinstance(slot, dict) and "pid" in slot:
            slot["from"], slot["inherits"] = parent, chance.choice((5, 2**31, 10**30))
    return log_of(slots, chance)
