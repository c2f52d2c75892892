"""The timeline: order, content, width, filters, JSON."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from synthetic import MS, Story, echo

from sockfsm.errors import UsageError
from sockfsm.events import Call, Site
from sockfsm.trace.stream import HORIZON, events
from sockfsm.views import blocked, jsonlines
from sockfsm.views.lanes import Lanes
from sockfsm.views.selection import Selection, parse_span
from sockfsm.views.text import Paint, width
from sockfsm.views.timeline import Timeline


def shown(story: Story, **chosen: Any) -> list[str]:
    return list(Timeline(story).lines(Selection(**chosen)))


def line_with(lines: list[str], *words: str) -> str:
    found = [line for line in lines if all(word in line for word in words)]
    assert len(found) == 1, (words, found)
    return found[0]


def test_a_call_is_one_line_with_all_that_is_known() -> None:
    line = line_with(shown(echo()), "bind(")
    assert line.split() == [
        *("0.002000", "main", "#1", "bind(127.0.0.1:7000)", "=", "ok"),
        *("CREATED", "->", "BOUND", "echo.py:12"),
    ]


def test_effects_come_after_their_causes() -> None:
    lines = shown(echo())
    order = [
        "connect(",
        "--SYN-->",
        "--SYN-ACK-->",
        "--ACK-->",
        "accept()",
        "sendall(",
        "--PSH-ACK-->",
    ]
    places = [next(i for i, line in enumerate(lines) if word in line) for word in order]
    assert places == sorted(places)


def test_a_wait_is_marked_with_its_span() -> None:
    assert "blocked 3 ms" in line_with(shown(echo()), "accept() = ")


def test_packets_are_arrows_with_relative_numbers_and_their_cause() -> None:
    lines = shown(echo())
    assert "#2 --SYN--> #1" in line_with(lines, "--SYN-->")
    data = line_with(lines, "--PSH-ACK-->")
    assert "#2 --PSH-ACK--> #3" in data
    assert "seq 1 ack 1 len 5" in data
    assert "by sendall, ends recv of #3" in lines[lines.index(data) + 1]


def test_a_refusal_is_marked_in_words_and_explained() -> None:
    lines = shown(echo())
    at = lines.index(line_with(lines, "REFUSED EINVAL"))
    assert "CONNECTED" in lines[at]
    assert lines[at + 1].strip()
    assert "listen in CONNECTED: EINVAL" in "\n".join(lines[at + 1 :])


def test_an_enforced_refusal_says_who_refused() -> None:
    story = Story()
    story.process()
    story.call(1, story.socket(), "accept", "EINVAL", "BOUND", enforced=True)
    assert "REFUSED EINVAL by sockfsm" in "\n".join(shown(story))


def test_an_unexplained_outcome_is_shown() -> None:
    story = Story()
    story.process()
    story.call(1, story.socket(), "bind", "EPIPE", "CREATED", explained=False)
    text = "\n".join(shown(story))
    assert "UNEXPLAINED: no rule of the model gives EPIPE in CREATED" in text
    assert "1 call that no rule" in text


def test_the_frame_names_program_sockets_and_ends() -> None:
    story = echo()
    story.problems.append("100.calls: the last 7 bytes are no whole record")
    lines = shown(story)
    assert "python echo.py (pid 100, ran 30 ms, 2 threads)" in line_with(lines, "program ")
    assert line_with(lines, "#3", "accepted by #1", "127.0.0.1:50123")
    total = line_with(lines, "total ")
    assert "13 calls, 4 packets, 2 waits of 4 ms together, 5 B sent, 5 B received" in total
    assert line_with(lines, "left ").split() == ["left", "#1", "LISTENING"]
    assert "accept() since 0.020000" in line_with(lines, "blocked  ")
    assert line_with(lines, "note ", "no whole record")


def hostile() -> Story:
    story = Story()
    story.process(command=("python", "\x1b]0;owned\x07" + "x" * 300))
    story.thread(story.processes[0], "\x1b[31mevil\n" + "y" * 80)
    sock = story.socket("unix-stream", local="/tmp/\x1b[2J" + "z" * 200, remote="\u202e")
    other = story.socket(local=("\x1b[5mhost" + "h" * 150, 1), remote=("127.0.0.1", 2))
    site = Site("/tmp/\x1b[1m\n" + "s" * 120 + ".py", 99999, "f")
    story.call(1, sock, "bind", address="/tmp/\r\n" + "q" * 400, site=site, states="A" * 40)
    story.call(
        *(2, other, "sendto", "EWEIRD", "X" * 50 + " -> " + "Y" * 50),
        errno=5,
        explained=False,
        predicted="\x1b[0m",
        thread=story.processes[0].threads[2],
    )
    story.packet(3, other, other, "FSRPAUEC", length=10**9, seq=2**32 - 1, ack=5)
    story.problems.append("\x1b[2J" + "p " * 200)
    return story


@pytest.mark.parametrize("make", [echo, hostile])
def test_no_line_is_wider_than_100_columns_or_acts_on_the_terminal(make: object) -> None:
    lines = shown(make())  # type: ignore[operator]
    for line in lines:
        assert width(line) <= 100, line
        assert line == "" or line.isprintable(), line


def test_colours_change_no_word() -> None:
    import re

    coloured = list(Timeline(echo(), Paint(True)).lines())
    assert any("\x1b[" in line for line in coloured)
    assert [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in coloured] == shown(echo())


def test_filter_by_socket_keeps_its_packets_and_their_numbers() -> None:
    story = echo()
    lines = shown(story, sockets=Lanes(story).identities(["#3"]))
    body = "\n".join(lines)
    assert "seq 1 ack 1 len 5" in body
    assert "bind(" not in body


def test_filter_by_thread_and_time() -> None:
    story = echo()
    threads = Lanes(story).threads(["Thread-1"])
    assert "2 calls," in line_with(shown(story, threads=threads), "total ")
    early = shown(story, until=parse_span("2.5ms"))
    assert "2 calls," in line_with(early, "total ")
    late = shown(story, since=parse_span("0.0115"))
    assert "1 call," in line_with(late, "total ")


@pytest.mark.parametrize("words", [["9"], ["#9"], ["nonsense"], ["\x1b[2J"]])
def test_an_unknown_socket_or_thread_is_one_clear_line(words: list[str]) -> None:
    lanes = Lanes(echo())
    with pytest.raises(UsageError, match=r"no socket .* in this trace: it has #1 to #3") as error:
        lanes.identities(words)
    assert str(error.value).isprintable()
    with pytest.raises(UsageError, match=r"no thread .*: it has Thread-1, main"):
        lanes.threads(words)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("1.5", 1_500_000_000),
        ("20ms", 20_000_000),
        ("300us", 300_000),
        ("7ns", 7),
        ("+2s", 2 * 10**9),
    ],
)
def test_parse_span(text: str, nanoseconds: int) -> None:
    assert parse_span(text) == nanoseconds


@pytest.mark.parametrize("text", ["", "soon", "-1", "1h", "nan", "1e5"])
def test_parse_span_refuses(text: str) -> None:
    with pytest.raises(UsageError, match="is no time"):
        parse_span(text)


def test_json_lines_tell_the_same() -> None:
    items = [json.loads(line) for line in jsonlines.lines(echo())]
    kinds = [item["type"] for item in items]
    assert kinds == ["trace", "process", *["socket"] * 3, *kinds[5:-1], "total"]
    assert kinds.count("call") == items[-1]["calls"] == 13
    assert kinds.count("packet") == items[-1]["packets"] == 4
    refused = [item for item in items if item.get("refused") is True]
    assert [(item["method"], item["outcome"]) for item in refused] == [("listen", "EINVAL")]
    cause = next(item for item in items if item["type"] == "packet")["cause"]
    assert (cause["who"], cause["calls"][0]["method"]) == ("call", "connect")


def test_blocked_lists_who_waits_where() -> None:
    lines = list(blocked.lines(echo()))
    assert lines[0] == "was blocked at the end  accept() on #1 tcp 127.0.0.1:7000"
    assert lines[1].strip() == "pid 100 thread Thread-1 (serve) (1002) at echo.py:20"


def test_blocked_says_when_nothing_is() -> None:
    assert list(blocked.lines(Story())) == ["no call is blocked"]


def test_ordering_holds_back_a_bounded_number_of_calls() -> None:
    pulled = 0

    class Long(Story):
        def calls(self) -> Iterator[Call]:
            nonlocal pulled
            for number in range(HORIZON * 3):
                pulled += 1
                yield template._replace(begin=number * MS, end=number * MS + 1)

    story = Long()
    story.process()
    template = story.call(0, story.socket(), "send")
    marks = events(story)
    first = next(marks).time
    summary = HORIZON * 3  # one whole pass comes before
    assert pulled <= summary + HORIZON + 2
    moments = [first, *(mark.time for mark in marks)]
    assert moments == sorted(moments)


def test_the_footer_tells_refusals_from_failures() -> None:
    story = Story()
    story.process()
    sock = story.socket()
    story.call(1, sock, "connect", "ECONNREFUSED", "CREATED")
    for at in (2, 3):
        story.call(at, sock, "accept", "EINVAL", "BOUND")
    lines = shown(story)
    assert line_with(lines, "refused ").split(maxsplit=1)[1] == "accept in BOUND: EINVAL (2 times)"
    assert line_with(lines, "failed ").split(maxsplit=1)[1] == "connect in CREATED: ECONNREFUSED"
