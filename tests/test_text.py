"""What comes from outside cannot act on the terminal, and fits where it is shown."""

import io

import pytest

from sockfsm.views.text import (
    address,
    count,
    cut,
    cut_front,
    duration,
    pad,
    paint_for,
    plain,
    width,
)

HOSTILE = ["\x1b[2J", "a\nb", "\x07", "\r", "\x9b31m", "\u202eevil", "\u2028", "\udcff", "\x00"]


@pytest.mark.parametrize("text", HOSTILE)
def test_plain_leaves_nothing_that_acts(text: str) -> None:
    shown = plain(text)
    assert shown.isprintable()
    assert shown.encode()


def test_plain_keeps_what_is_readable() -> None:
    assert plain("serveur é 服务器") == "serveur é 服务器"
    assert plain("\x1b[31m") == "\\x1b[31m"
    assert plain("\u202e") == "\\u202e"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (("127.0.0.1", 80), "127.0.0.1:80"),
        (("::1", 80, 0, 0), "[::1]:80"),
        ("/tmp/echo.sock", "/tmp/echo.sock"),
        (b"/tmp/\xff", "/tmp/\\udcff"),
        (b"\x00hidden", "@hidden"),
        ("", "(unnamed)"),
        (None, "-"),
        ("/tmp/\x1b[2Jx", "/tmp/\\x1b[2Jx"),
    ],
)
def test_address(value: object, shown: str) -> None:
    assert address(value) == shown  # type: ignore[arg-type]


def test_cutting_keeps_the_columns() -> None:
    assert cut("abcdef", 6) == "abcdef"
    assert cut("abcdefg", 6) == "abcd.."
    assert cut_front("/very/long/path.py:12", 12) == "..path.py:12"
    assert width(cut("服务器服务器", 7)) <= 7
    assert width(pad("服务", 6)) == 6
    assert width("e\u0301") == 1


@pytest.mark.parametrize(
    ("nanoseconds", "shown"),
    [
        (0, "0 ns"),
        (999, "999 ns"),
        (12_300, "12.3 us"),
        (999_600, "1 ms"),
        (4_560_000, "4.56 ms"),
        (1_200_000_000, "1.2 s"),
        (125_000_000_000, "125 s"),
    ],
)
def test_duration(nanoseconds: int, shown: str) -> None:
    assert duration(nanoseconds) == shown


def test_count() -> None:
    assert count(1, "call") == "1 call"
    assert count(1200, "call") == "1,200 calls"
    assert count(2, "process", "processes") == "2 processes"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colours_only_where_they_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert paint_for(Terminal())("x", "red") == "\x1b[1;31mx\x1b[0m"
    assert paint_for(io.StringIO())("x", "red") == "x"
    monkeypatch.setenv("NO_COLOR", "1")
    assert paint_for(Terminal())("x", "red") == "x"
