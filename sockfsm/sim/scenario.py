"""A scenario: actors, their calls in order, and what they expect. As text, or as these objects.

    server:
        s = socket tcp
        s.bind 7000
        s.listen
        mark listening
        s.accept -> conn blocks
        conn.recv = "hi"
        conn.close

    client:
        after listening
        c = socket tcp
        c.connect 7000
        c.send "hi"

Expectations follow the call: `! ERRNO` (also `timeout`), `= "bytes"`, `= end`, `-> name` for the data
socket of accept, `blocks` with or without a span, `?` for any outcome. Without one the call must not
be refused. `parse` raises ScenarioError with line and column.
"""

from __future__ import annotations

import ast
import errno
import re
from dataclasses import dataclass, field
from socket import AF_INET, AF_INET6, inet_pton
from typing import NoReturn

from sockfsm.errors import UsageError
from sockfsm.model.kinds import KINDS
from sockfsm.sim.frames import Name
from sockfsm.sim.network import WHAT, Rules

HOME = "127.0.0.1"
ANY = "?"
MOST_BYTES = 1 << 26
"""... of one call."""

_TOKEN = re.compile(
    r'\s+|#.*|\[[0-9A-Fa-f:.]+\](?::\d+)?|"(?:[^"\\]|\\.)*"|->|[=!?*:,]|[^\s"=!?*,#:]+(?::\d+)?'
)
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|min)$")
_BITS = re.compile(r"(\d{1,9})([kMG]?)bit$")
_UNITS = {"us": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "min": 60_000_000_000}
_SHUTDOWNS = {"rd": "shutdown_rd", "wr": "shutdown_wr", "both": "shutdown_rdwr"}
CALLS = {
    "bind": "an address",
    "listen": "",
    "accept": "",
    "connect": "an address",
    "disconnect": "",
    "send": "bytes",
    "sendall": "bytes",
    "sendto": "an address and bytes",
    "recv": "",
    "shutdown": "rd, wr or both",
    "so_error": "",
    "close": "",
    "timeout": "a span, 0 or none",
    "set": "an option",
}
"""What may stand after `socket.`, and what it needs."""
OPTIONS = {
    "reuse": False,
    "nodelay": False,
    "keepalive": True,
    "linger": True,
    "rcvbuf": True,
    "sndbuf": True,
}
"""What `set` sets, and whether a number may follow: seconds, or bytes."""


class ScenarioError(UsageError):
    """A scenario that cannot be read: says in which line and column, and what may stand there."""


@dataclass
class Step:
    """One line of an actor.

    verb: `socket`, `dup`, `unlink`, `wait`, `mark`, `after` or one of CALLS. name: the socket's.
    word: of the machine. outcome: what is expected, '' for anything but a refusal, ANY. data: to be
    sent; gives: what recv() must give. made: the name of accept's data socket. blocks: None, or ns
    for which it must wait, 0 for any. span: of `wait`, ns.
    """

    verb: str
    name: str = ""
    word: str = ""
    address: Name | str | None = None
    data: bytes = b""
    size: int = 0
    kind: str = ""
    option: str = ""
    span: int | None = None
    outcome: str = ""
    gives: bytes | None = None
    made: str = ""
    blocks: int | None = None
    line: int = 0


@dataclass
class Actor:
    """A program: where it runs and what it does."""

    name: str
    steps: list[Step] = field(default_factory=list)
    host: str = HOME
    line: int = 0


@dataclass
class Scenario:
    """Actors and the network between them.

    file, text: what was read, and where. deadlock: it is expected to end in one.
    """

    actors: list[Actor]
    network: Rules = field(default_factory=Rules)
    title: str = ""
    file: str = "scenario"
    deadlock: bool = False
    text: str = field(default="", repr=False, compare=False)


class _Line:
    """The words of one line, taken from the left."""

    def __init__(self, file: str, number: int, text: str, home: str = HOME) -> None:
        self.home = home
        self.file, self.number, self.text = file, number, text
        self.words: list[tuple[str, int]] = []
        place = 0
        while place < len(text):
            found = _TOKEN.match(text, place)
            if found is None:
                self.fail("a text in quotes that does not end", place)
            if not found[0][0].isspace() and found[0][0] != "#":
                self.words.append((found[0], place))
            place = found.end()
        self.words.reverse()

    def fail(self, message: str, place: int | None = None) -> NoReturn:
        """Raise ScenarioError for the next word, or for a place."""
        if place is None:
            place = self.words[-1][1] if self.words else len(self.text.rstrip())
        raise ScenarioError(f"{self.file}:{self.number}:{place + 1}: {message}")

    def peek(self) -> str:
        return self.words[-1][0] if self.words else ""

    def take(self, what: str) -> str:
        if not self.words:
            self.fail(f"{what} is missing")
        return self.words.pop()[0]

    def skip(self, word: str) -> bool:
        if self.peek() == word:
            self.words.pop()
            return True
        return False

    def span(self) -> int:
        word = self.peek()
        found = _SPAN.match(word)
        if found is None:
            self.fail(f"a span such as 20ms or 1.5s is expected, not {word or 'the end'!r}")
        self.words.pop()
        return round(float(found[1]) * _UNITS[found[2]])

    def count(self, what: str, most: int = 2**31 - 1) -> int:
        word = self.peek()
        if not (word.isascii() and word.isdecimal()):
            self.fail(f"{what} is expected, not {word or 'the end'!r}")
        if len(word) > 12 or int(word) > most:
            self.fail(f"{what} is expected, at most {most}")
        return int(self.take(what))

    def bytes(self) -> bytes:
        word = self.peek()
        if not word.startswith('"'):
            self.fail(f"bytes in quotes are expected, not {word or 'the end'!r}")
        try:
            data = ast.literal_eval(f"b{word}")
        except (SyntaxError, ValueError):
            self.fail("bytes are ASCII letters and escapes as in Python: \\n, \\x00")
        self.words.pop()
        assert isinstance(data, bytes)
        if self.skip("*"):
            data *= self.count("how many times", MOST_BYTES // max(len(data), 1))
        return data

    def host(self) -> str:
        place = self.words[-1][1] if self.words else None
        host = self.take("a host").strip("[]")
        if not _known(host):
            self.fail(f"{host!r} is no IP address", place)
        return host

    def address(self, kind: str = "") -> Name | str:
        """An address for a socket of this kind."""
        place = self.words[-1][1] if self.words else None
        found = self._address()
        if isinstance(found, str) != kind.startswith("unix"):
            wanted = "a path" if kind.startswith("unix") else "a port or host:port"
            self.fail(f"{kind} has {wanted} for an address", place)
        if not isinstance(found, str):
            if not _known(found[0]):
                self.fail(f"{found[0]!r} is no IP address", place)
            if (":" in found[0]) != (":" in self.home):
                self.fail(f"{found[0]} is of another family than the actor's host", place)
        elif len(found) > _LONGEST:
            self.fail(f"a path has at most {_LONGEST} bytes", place)
        return found

    def _address(self) -> Name | str:
        word = self.peek()
        host, colon, port = word.rpartition(":")
        host = host.strip("[]") or self.home
        if word.isdecimal() or (colon and port.isdecimal()):
            if len(port) > 5 or int(port) > 65_535:
                self.fail("a port is at most 65535")
            self.words.pop()
            return (host, int(port))
        if word.startswith('"'):
            return self.bytes().decode()
        return self.take("an address: a port, host:port or a path")


_LONGEST = 107


def _known(host: str) -> bool:
    try:
        inet_pton(AF_INET6 if ":" in host else AF_INET, host)
    except OSError:
        return False
    return True


def parse(text: str, file: str = "scenario") -> Scenario:
    """A scenario from its text. ScenarioError names line and column."""
    scenario = Scenario([], file=file, text=text)
    known: dict[str, dict[str, str]] = {}
    marks: set[str] = set()
    awaited: list[tuple[str, _Line, int]] = []
    for number, written in enumerate(text.splitlines(), 1):
        host = scenario.actors[-1].host if scenario.actors else HOME
        # A port alone is one of this machine, by either protocol.
        line = _Line(file, number, written, "::1" if ":" in host else HOME)
        if not line.words:
            continue
        if not written[0].isspace():
            _heading(scenario, line)
            continue
        if not scenario.actors:
            line.fail("this line belongs to no actor: write `name:` above it")
        actor = scenario.actors[-1]
        place = line.words[-2][1] if len(line.words) > 1 else 0
        step = _step(line, known.setdefault(actor.name, {}))
        step.line = number
        if step.verb == "mark":
            marks.add(step.name)
        elif step.verb == "after":
            awaited.append((step.name, line, place))
        actor.steps.append(step)
    for name, line, place in awaited:
        if name not in marks:
            line.fail(f"nobody marks {name!r}", place)
    if not scenario.actors:
        raise ScenarioError(f"{file}:1:1: there is no actor: write `name:` and its calls below")
    return scenario


def _heading(scenario: Scenario, line: _Line) -> None:
    place = line.words[-1][1]
    word = line.take("an actor")
    if word == "title":
        scenario.title = line.text.strip()[len("title") :].strip()
        return
    if word == "expect":
        if not line.skip("deadlock"):
            line.fail("what can be expected of the whole is `expect deadlock`")
        scenario.deadlock = True
    elif word == "network":
        _network(scenario.network, line)
    else:
        host = line.host() if line.skip("at") else HOME
        if not line.skip(":"):
            line.fail("an actor is `name:` or `name at HOST:`")
        if any(actor.name == word for actor in scenario.actors):
            line.fail(f"there is an actor {word!r} already", place)
        scenario.actors.append(Actor(word, host=host, line=line.number))
    if line.words:
        line.fail(f"{line.peek()!r} is one word too many")


def _network(rules: Rules, line: _Line) -> None:
    while line.words:
        place = line.words[-1][1]
        word = line.take("a word")
        if word in ("latency", "jitter"):
            setattr(rules, word, line.span())
        elif word == "bandwidth":
            rules.bandwidth = _bandwidth(line)
        elif word == "partition":
            begin, end = line.span(), line.span()
            if end <= begin:
                line.fail("a partition ends after it begins", place)
            rules.partitions.append((begin, end))
        elif word in ("loss", "duplication", "reorder"):
            share = line.take("a share such as 10%")
            if not re.fullmatch(r"\d+(\.\d+)?%", share) or float(share[:-1]) > 100:
                line.fail("a share such as 10% is expected", place)
            setattr(rules, word, float(share[:-1]) / 100)
        elif word == "drop":
            what = line.peek()
            if what not in WHAT:
                line.fail(f"what is dropped is one of {', '.join(WHAT)}")
            line.take("what")
            rules.drops.append((what, line.count("which one, from 1,")))
        else:
            line.fail(
                "the network has latency, jitter, loss, duplication, reorder, bandwidth, partition"
                " and drop", place,
            )  # fmt: skip
        line.skip(",")


def _bandwidth(line: _Line) -> int:
    found = _BITS.match(line.peek())
    if found is None or not int(found[1]):
        line.fail(f"a bandwidth such as 10Mbit is expected, not {line.peek() or 'the end'!r}")
    line.take("a bandwidth")
    return int(found[1]) * {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}[found[2]]


def _step(line: _Line, known: dict[str, str]) -> Step:
    place = line.words[-1][1]
    word = line.take("a call")
    if "." not in word and line.skip("="):
        step = _made(line, word, known)
    elif word in ("mark", "after"):
        return _last(line, Step(word, line.take("a name")))
    elif word == "wait":
        return _last(line, Step(word, span=line.span()))
    elif word == "unlink":
        address = line.address("unix-stream")
        step = Step(word, word=word, address=address)
    else:
        step = _call(line, word, place, known)
    _expected(line, step, known)
    return _last(line, step)


def _last(line: _Line, step: Step) -> Step:
    if line.words:
        line.fail(f"{line.peek()!r} is one word too many")
    return step


def _made(line: _Line, name: str, known: dict[str, str]) -> Step:
    word = line.peek()
    if word == "dup":
        line.take("dup")
        other = _named(line, line.take("a socket"), known)
        known[name] = known[other]
        return Step("dup", name, option=other)
    if word != "socket":
        line.fail("`socket KIND` or `dup NAME` makes a socket")
    line.take("socket")
    kind = line.peek()
    if kind not in KINDS:
        line.fail(f"a kind is expected: {', '.join(KINDS)}")
    known[name] = kind
    return Step("socket", name, word="create", kind=line.take("a kind"))


def _named(line: _Line, name: str, known: dict[str, str]) -> str:
    if name not in known:
        line.fail(f"no socket {name!r} so far: `{name} = socket KIND` makes one", 0)
    return name


def _call(line: _Line, text: str, place: int, known: dict[str, str]) -> Step:
    name, dot, verb = text.partition(".")
    if not dot:
        line.fail("a line is `wait`, `mark`, `after`, `unlink` or `socket.call`", place)
    if name not in known:
        line.fail(f"no socket {name!r} so far: `{name} = socket KIND` makes one", place)
    if verb not in CALLS:
        line.fail(f"no call {verb!r}: there are {', '.join(CALLS)}", place + len(name) + 1)
    step = Step(verb, name, word="send" if verb in ("sendall", "sendto") else verb)
    if verb in ("bind", "connect", "sendto"):
        step.address = line.address(known[name])
    if verb.startswith("send"):
        step.data = line.bytes()
    elif verb in ("recv", "listen"):
        more = line.peek().isdecimal()
        most = MOST_BYTES if verb == "recv" else 2**31 - 1
        step.size = line.count("a number", most) if more else {"recv": 65_536, "listen": 5}[verb]
    elif verb == "shutdown":
        if line.peek() not in _SHUTDOWNS:
            line.fail("shutdown is rd, wr or both")
        step.word = _SHUTDOWNS[line.take("how")]
    elif verb == "timeout":
        if line.skip("none"):
            step.span = None
        else:
            step.span = 0 if line.skip("0") else line.span()
    elif verb == "set":
        if line.peek() not in OPTIONS:
            line.fail(f"what can be set is {', '.join(OPTIONS)}")
        if line.peek() == "nodelay" and known[name] != "tcp":
            line.fail(f"nodelay is TCP's, and {name} is {known[name]}")
        step.option = line.take("an option")
        if OPTIONS[step.option] and line.peek().isdecimal():
            step.size = line.count("a number", 32_767 if "buf" not in step.option else 2**30)
    return step


def _expected(line: _Line, step: Step, known: dict[str, str]) -> None:
    while line.words:
        place = line.words[-1][1]
        if line.skip("!"):
            step.outcome = line.take("an errno's name")
            if step.outcome != "timeout" and not hasattr(errno, step.outcome):
                line.fail(f"no errno {step.outcome!r}", place + 2)
        elif line.skip(ANY):
            step.outcome = ANY
        elif step.verb == "accept" and line.skip("->"):
            step.made = line.take("a name for the data socket")
            known[step.made] = known[step.name]
        elif step.verb == "recv" and line.skip("="):
            step.gives = b"" if line.skip("end") else line.bytes()
        elif line.skip("blocks"):
            step.blocks = line.span() if _SPAN.match(line.peek()) else 0
        else:
            return
