"""Each lint is found where it belongs, and only there; each can be switched off."""

from __future__ import annotations

from typing import Any

import pytest
from synthetic import Story

from sockfsm.errors import UsageError
from sockfsm.events import Socket
from sockfsm.model.lints import LINTS
from sockfsm.trace.lints import find

Mistake = tuple[Socket | None, str, str, str, dict[str, Any]]


def told() -> Story:
    """A program that makes every mistake once."""
    story = Story()
    story.process()
    tcp, data, udp = story.socket(), story.socket(made_by="accepted"), story.socket("udp")
    unix, dgram = story.socket("unix-stream"), story.socket("unix-dgram")
    mistakes: tuple[Mistake, ...] = (
        (tcp, "listen", "ok", "CREATED -> LISTENING", {}),
        (tcp, "recv", "ENOTCONN", "LISTENING", {}),
        (data, "send", "ok", "CONNECTED", {"asked": 10, "done": 4}),
        (data, "recv", "eof", "CONNECTED -> PEER_CLOSED", {}),
        (data, "recv", "eof", "PEER_CLOSED", {}),
        (data, "send", "ok", "PEER_CLOSED", {"asked": 4, "done": 4}),
        (data, "exit", "ok", "PEER_CLOSED -> EXITED", {}),
        (tcp, "exit", "ok", "LISTENING -> EXITED", {}),
        (udp, "recv", "EAGAIN", "CREATED", {}),
        (unix, "bind", "EADDRINUSE", "CREATED", {}),
        (unix, "bind", "ok", "CONNECTED -> CONNECTED_BOUND", {}),
        (unix, "exit", "ok", "CLOSED_PATH_LEFT -> EXITED", {}),
        (dgram, "shutdown_wr", "ok", "CREATED -> CREATED_WRITE_SHUT", {}),
        (story.socket(), "bind", "EADDRINUSE", "CREATED", {}),
    )
    for number, (socket, method, outcome, states, fields) in enumerate(mistakes):
        story.call(number, socket, method, outcome, states, **fields)
    return story


def names(story: Story, *off: str) -> list[str]:
    return [finding.lint.name for finding in find(story.told, off)]


def test_every_lint_is_found_once() -> None:
    assert sorted(names(told())) == sorted(LINTS)


@pytest.mark.parametrize("name", LINTS)
def test_each_can_be_switched_off(name: str) -> None:
    assert sorted(names(told(), name)) == sorted(set(LINTS) - {name})


def test_a_clean_program_has_none() -> None:
    story = Story()
    story.process()
    tcp = story.socket()
    for number, (method, states) in enumerate(
        (("bind", "CREATED -> BOUND"), ("listen", "BOUND -> LISTENING"),
         ("accept", "LISTENING"), ("close", "LISTENING -> CLOSED"), ("exit", "CLOSED -> EXITED"))
    ):  # fmt: skip
        story.call(number, tcp, method, "ok", states)
    assert names(story) == []


def test_a_short_send_that_is_continued_is_none() -> None:
    story = Story()
    story.process()
    tcp = story.socket()
    story.call(1, tcp, "send", "ok", "CONNECTED", asked=10, done=4)
    story.call(2, tcp, "send", "ok", "CONNECTED", asked=6, done=6)
    assert names(story) == []
    story.call(3, tcp, "send", "ok", "CONNECTED", asked=10, done=4)
    assert names(story) == ["short-send"]


def test_a_finding_says_where_and_what_to_do() -> None:
    first = next(find(told().told))
    assert str(first).startswith("unbound-listen: listen() without bind() at /home/ada/echo.py:12")
    with pytest.raises(UsageError, match="no lint"):
        next(find([], ["nonsense"]))


def test_a_port_that_the_program_itself_holds_is_no_matter_of_time_wait() -> None:
    story = Story()
    story.process()
    first, second = story.socket(), story.socket()
    here = ("127.0.0.1", 7000)
    story.call(1, first, "bind", "ok", "CREATED -> BOUND", address=here)
    story.call(2, second, "bind", "EADDRINUSE", "CREATED", address=here)
    assert names(story) == []
    story.call(3, first, "close", "ok", "BOUND -> CLOSED")
    story.call(4, second, "bind", "EADDRINUSE", "CREATED", address=here)
    assert names(story) == ["missing-reuseaddr"]
