"""Damaged input: no traceback, no hang, no memory without bound, nothing that acts on a terminal.

`tests/fuzz.py` makes the inputs; each that once gave a traceback has a test with a name here.
"""

from __future__ import annotations

import gzip
import json
import struct
from pathlib import Path
from typing import Any

import fuzz
import pytest
from damage import log_of, slots_of

from sockfsm.conform.runner import Memory
from sockfsm.errors import UsageError
from sockfsm.record.layout import CALL, METHODS
from sockfsm.trace.trace import Trace
from sockfsm.wire.kernel_record import read as read_states

SIZE, PARTS = 20_000, 8
SEEDS = fuzz.seeds()


@pytest.mark.parametrize("part", range(PARTS))
def test_damaged_input(part: int) -> None:
    failures = fuzz.run(SIZE // PARTS, seed=PARTS + part)
    assert not failures, "\n".join(f"{f.number}, {f.target}: {f.what}" for f in failures)


class Same:
    """In place of a random number: the text of a note as it is."""

    def random(self) -> float:
        return 0.5


def with_note(folder: Path, key: str, **changes: object) -> Trace:
    """The TCP echo with one kind of note changed; a value of `...` is left out."""
    files = dict(SEEDS["tcp-echo"])
    (name,) = (name for name in files if name.endswith(".calls"))
    slots = [*slots_of(files[name]), {"socket": 1, "local": ["127.0.0.1", 1], "remote": None}]
    for slot in slots:
        if isinstance(slot, dict) and key in slot:
            slot.update(changes)  # type: ignore[arg-type]  # wrong values are what is tested
            for gone in [k for k, value in changes.items() if value is ...]:
                del slot[gone]
    files[name] = log_of(slots, Same())  # type: ignore[arg-type]
    return Trace(fuzz.written(folder / "trace", files))


INFINITE, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        ("pid", {"pid": INFINITE}),
        ("pid", {"pid": "1"}),
        ("pid", {"pid": -1}),
        ("pid", {"pid": True}),
        ("pid", {"monotonic": NAN}),
        ("pid", {"monotonic": 10**40}),
        ("pid", {"wall": "now"}),
        ("pid", {"command": "sh"}),
        ("pid", {"command": [1, None]}),
        ("pid", {"methods": []}),
        ("pid", {"methods": [["socket"]]}),
        ("pid", {"methods": [[1, 2]] * 40}),
        ("pid", {"methods": [["\x1b[2J", "create"]] * 40}),
        ("pid", {"inherits": None}),
        ("pid", {"inherits": "many"}),
        ("pid", {"from": 1}),
        ("pid", {"parent": ...}),
        ("thread", {"ident": INFINITE}),
        ("thread", {"ident": [1]}),
        ("thread", {"name": 7}),
        ("thread", {"name": ...}),
        ("thread", {"thread": -1}),
        ("site", {"file": None}),
        ("site", {"line": "x"}),
        ("site", {"line": -INFINITE}),
        ("site", {"function": {}}),
        ("site", {"site": [[]]}),
        ("kind", {"states": None}),
        ("kind", {"states": "CREATED"}),
        ("kind", {"states": [1, 2, 3]}),
        ("kind", {"states": ["\x1b]0;x\x07"] * 30}),
        ("kind", {"name": "\x1b[2J"}),
        ("kind", {"name": []}),
        ("kind", {"kind": 1e300}),
        ("socket", {"local": [["127.0.0.1", [1.5]], 2]}),
        ("socket", {"local": 5.5}),
        ("socket", {"remote": {"host": 1}}),
        ("socket", {"socket": 2**70}),
        ("ended", {"ended": INFINITE}),
        ("ended", {"ended": "never"}),
        ("ended", {"ended": -5}),
    ],
)
def test_a_note_with_a_hostile_value(key: str, changes: dict[str, object], tmp_path: Path) -> None:
    trace = with_note(tmp_path, key, **changes)
    for command in fuzz.COMMANDS:
        assert fuzz.command(command, trace.path) == ""
    trace.summary(index=True)
    assert any("damaged" in problem for problem in trace.problems), trace.problems


def test_notes_nested_a_hundred_thousand_deep(tmp_path: Path) -> None:
    deep = json.loads("[" * 500 + "]" * 500)
    trace = with_note(tmp_path, "socket", local=deep)
    assert fuzz.command(("show",), trace.path) == ""


@pytest.mark.parametrize(
    "text",
    [
        '{"clock_error": Infinity}', '{"clock_error": 1e999}', '{"clock_error": NaN}',
        '{"clock_error": "x"}', '{"clock_error": true}', '{"clock_error": -1}', '{"capture": {}}',
        '{"network": ["\\u001b[2J"]}', "[]", "7", "", "{", "[" * 100_000, '{"a":' * 100_000,
        '{"clock_error": 1' + "0" * 5000 + "}",
    ],
)  # fmt: skip
def test_a_trace_json_that_is_none(text: str, tmp_path: Path) -> None:
    folder = fuzz.written(tmp_path / "trace", {**SEEDS["tcp-echo"], "trace.json": text.encode()})
    for command in fuzz.COMMANDS:
        assert fuzz.command(command, folder) == ""
    trace = Trace(folder)
    assert trace.clock_error == 0
    assert any(problem.startswith("trace.json: damaged") for problem in trace.problems)


WRONG: tuple[Any, ...] = (
    INFINITE,
    -1,
    None,
    "\x1b[2J",
    10**40,
    [[]],
    ["\x1b[2J", 1],
    ["::", 70000],
)
GOOD: list[Any] = [1000, 1, 7, "CLOSED", "LISTEN", ["127.0.0.1", 80], ["0.0.0.0", 0]]


@pytest.mark.parametrize(
    "line",
    [
        '{"lost": Infinity}', '{"lost": 1e999}', '{"lost": -1}', '{"lost": "x"}', "[]", "{", "7",
        *(
            json.dumps([*GOOD[:place], value, *GOOD[place + 1 :]])
            for place in range(7)
            for value in WRONG
        ),
        json.dumps(GOOD[:5]), json.dumps([*GOOD, 1])[:-2], "[" * 100_000, "x" * 10_000_000,
        '["\\udcff"]',
    ],
)  # fmt: skip
def test_a_kernel_state_that_is_none(line: str, tmp_path: Path) -> None:
    path = tmp_path / "tcp-states.jsonl"
    path.write_text(f'{{"lost": 2}}\n{line}\n{json.dumps(GOOD)}\n')
    problems: list[str] = []
    (state,) = read_states(path, problems)
    assert state.source == ("127.0.0.1", 80)
    assert problems[0] == "2 of the kernel's changes of state were lost"
    assert "damaged" in problems[1]
    folder = fuzz.written(
        tmp_path / "trace", {**SEEDS["tcp-echo"], path.name: path.read_bytes()[:100_000]}
    )
    for command in (("show",), ("handshake",), ("handshake", "--json")):
        assert fuzz.command(command, folder) == ""


@pytest.mark.parametrize("field", range(8))
@pytest.mark.parametrize("number", [0, 1, 0xFF, 2**31, 2**32 - 1, 2**63, 2**64 - 1])
def test_a_record_with_a_hostile_number(field: int, number: int, tmp_path: Path) -> None:
    files = dict(SEEDS["tcp-echo"])
    (name,) = (name for name in files if name.endswith(".calls"))
    slots = slots_of(files[name])
    for place, slot in enumerate(slots):
        if isinstance(slot, bytes):
            fields = [*CALL.unpack(slot)]
            if fields[2] & 0xFF < len(METHODS):
                fields[field] = number & (2**32 - 1 if 3 <= field <= 6 else 2**64 - 1)
                slots[place] = CALL.pack(*fields)
    files[name] = log_of(slots, Same())  # type: ignore[arg-type]
    folder = fuzz.written(tmp_path / "trace", files)
    for command in fuzz.COMMANDS:
        assert fuzz.command(command, folder) == ""


def test_a_block_that_says_it_is_four_gigabytes_long(tmp_path: Path) -> None:
    data = SEEDS["tcp-echo"]["packets.pcapng"]
    huge = data + struct.pack(">II", 6, 0xFFFFFFFC) + b"x" * 100
    folder = fuzz.written(tmp_path / "trace", {**SEEDS["tcp-echo"], "packets.pcapng": huge})
    for command in fuzz.COMMANDS:
        assert fuzz.command(command, folder) == ""


@pytest.mark.parametrize(
    "line",
    [
        b'{"log": "1-0.calls", "size": -1}', b'{"log": "1-0.calls", "size": 1e999}',
        b'{"log": "1-0.calls", "size": 99999999999}', b'{"log": 7, "size": 1}', b"[]", b"7", b"",
        b"[" * 9000, b'{"log": "\\udcff", "size": true}',
    ],
)  # fmt: skip
def test_a_pack_that_is_none(line: bytes, tmp_path: Path) -> None:
    for data in (
        gzip.compress(line + b"\n" + b"x" * 100),
        gzip.compress(bytes(9000))[:40] + b"x" * 9,
    ):
        folder = fuzz.written(tmp_path / "trace", {**SEEDS["tcp-echo"], "old.packed": data})
        for command in (("show",), ("lint",), ("handshake",)):
            assert fuzz.command(command, folder) == ""


@pytest.mark.parametrize(
    "text",
    ["[" * 999, "7", "{}", '{"processes": -1, "calls": -1}', '{"processes": 1e999, "calls": 1}'],
)
def test_a_count_of_dropped_logs_that_is_none(text: str, tmp_path: Path) -> None:
    files = {**SEEDS["tcp-echo"], "dropped.json": text.encode()}
    assert fuzz.command(("show",), fuzz.written(tmp_path / "trace", files)) == ""


@pytest.mark.parametrize(
    "line",
    [
        "7", "[]", "{", '{"suite": 1}', "[" * 100_000, '{"figures": [1]}',
        '{"suite": [], "depth": 1, "prefix": [], "figures": [1, 1, 1], "disagreements": []}',
        '{"suite": "x", "depth": Infinity, "prefix": [], "figures": [1, 1, 1], "disagreements": []}',
        '{"suite": "x", "depth": 1, "prefix": [], "figures": [1, 1, "1"], "disagreements": []}',
        '{"suite": "x", "depth": 1, "prefix": [], "figures": [1, 1, 1], "disagreements": [[[], 1]]}',
        '{"suite": "x", "depth": 1, "prefix": [], "figures": [1, 1, 1], "disagreements": ["abcde"]}',
    ],
)  # fmt: skip
def test_progress_of_conform_that_is_none(line: str, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    Memory(str(kept))
    for text in (f"{kept.read_text()}{line}\n", f"{line}\n"):
        kept.write_text(text)
        with pytest.raises(UsageError):
            Memory(str(kept))
