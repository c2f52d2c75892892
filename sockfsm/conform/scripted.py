"""The showings on directed scenes, and of births, ends, paths and TLS. Pure data."""

from __future__ import annotations

import socket
from collections.abc import Iterator

from sockfsm.conform import lives, methods, networks, races, rare, stages, worlds
from sockfsm.conform.bench import BENCHES, Bench, TcpBench, UnixDatagramBench, mixed
from sockfsm.conform.directed import DIRECTED, Beside, Cookies
from sockfsm.conform.secure import Secure
from sockfsm.conform.showing import Showing

_CONNECTED = {
    "tcp": "connect EINPROGRESS; connect ok; !peer_accepts; ",
    "unix-stream": "connect ok; !peer_accepts; ",
}
_REFUSED = "!aim:dead; connect EINPROGRESS; so_error ECONNREFUSED peer=refuses; "
_LISTENS = "bind ok; listen ok; "
_FAST = "!flags:MSG_FASTOPEN; "
_URGENT = "!flags:MSG_OOB; "
_AGAIN = "!unseen:connect; "
"""A retry that takes the pending ECONNABORTED: after it the socket is like a fresh one."""

_SCRIPTS = {
    "tcp": (
        # The peer ends or resets later, not at once.
        *(_CONNECTED["tcp"] + script for script in (
            "shutdown_wr ok; !peer_ends; bind ok peer=ends",
            "shutdown_wr ok; !peer_ends; recv eof peer=ends",
            "shutdown_wr ok; !peer_ends; shutdown_rd ENOTCONN peer=ends",
            "shutdown_wr ok; !peer_ends; shutdown_wr ENOTCONN peer=ends",
            "shutdown_wr ok; !peer_ends; shutdown_rdwr ENOTCONN peer=ends",
            "!peer_sends; !peer_closes; recv ok left=data",
            "!peer_closes; !unseen:send; send EPIPE peer=closes",
            "!wait:timeout; " + _URGENT + "recv EAGAIN flag=oob mode=timeout",
            # Something happens to the socket that no tracer sees.
            "!unseen:disconnect; !unseen:so_error; recv ENOTCONN history=partial",
            "!unseen:disconnect; !unseen:so_error; !unseen:connect; connect ok history=partial",
            "!peer_closes; !unseen:send; !unseen:disconnect; recv EPIPE peer=closes history=partial",
        )),
        *(_REFUSED + script for script in (
            "shutdown_wr ENOTCONN; send EPIPE",
            _AGAIN + "!wait:blocking; listen ok mode=blocking history=partial",
            _AGAIN + "!aim:live; !wait:blocking; connect ok mode=blocking history=partial",
            _AGAIN + "!wait:blocking; connect ECONNREFUSED mode=blocking peer=refuses history=partial",
            _AGAIN + "!aim:live; connect EINPROGRESS history=partial",
            _AGAIN + "!wait:blocking; recv ENOTCONN mode=blocking history=partial",
            "shutdown_wr ENOTCONN; !unseen:disconnect; !aim:live; !wait:blocking; "
            "connect ok mode=blocking history=partial",
        )),
        "connect EINPROGRESS; !peer_accepts; !peer_urges; " + _URGENT + "recv ok flag=oob urgent=sent",
        _CONNECTED["tcp"] + "!peer_urges; " + _URGENT + "recv ok flag=oob urgent=sent",
        _CONNECTED["tcp"] + "!peer_urges; !peer_resets; " + _URGENT
        + "recv ENOTCONN flag=oob urgent=sent",
        *("!narrow; " + _CONNECTED["tcp"] + "!peer_urges_ahead; " + _URGENT + script for script in (
            "recv EAGAIN flag=oob urgent=sent",
            "shutdown_rd ok; recv eof flag=oob urgent=sent",
        )),
        "connect EINPROGRESS; !unseen:connect; connect EISCONN history=partial",
        "!aim:dead; connect EINPROGRESS; !unseen:so_error; connect ECONNABORTED history=partial",
        "listen ok; !wait:timeout; " + _FAST + "connect EAGAIN mode=timeout flag=fastopen",
        "shutdown_wr ENOTCONN; !wait:blocking; " + _FAST + "connect EPIPE flag=fastopen mode=blocking",
        "shutdown_wr ENOTCONN; connect EINPROGRESS; " + _FAST + "connect EPIPE flag=fastopen",
    ),
    "udp": tuple(
        f"!aim:dead; connect ok; !unseen:send; {call} ECONNREFUSED peer=dead history=partial"
        for call in ("send", "recv", "so_error")
    ),
    "unix-stream": (
        _CONNECTED["unix-stream"] + "!peer_urges; " + _URGENT + "recv ok flag=oob urgent=sent",
        _LISTENS + "shutdown_rd ok; !wait:blocking; accept EINVAL mode=blocking",
        _LISTENS + "!peer_comes; shutdown_rd ok; accept ok queue=waiting history=partial",
        _LISTENS + "!unseen:shutdown_rd; !wait:blocking; accept EINVAL history=partial",
        _LISTENS + "shutdown_rd ok; !wait:timeout; send EAGAIN mode=timeout",
        *(_CONNECTED["unix-stream"] + script for script in (
            _URGENT + "!size:0; send EOPNOTSUPP flag=oob length=zero",
            _URGENT + "recv EINVAL flag=oob",
            "!wait:timeout; " + _URGENT + "recv EAGAIN flag=oob mode=timeout",
            "!peer_sends; shutdown_rd ok; recv ok peer=sends history=partial",
            "!peer_ends; recv eof peer=ends; !unseen:send; !peer_resets; "
            "recv ECONNRESET peer=resets history=partial",
            "!peer_ends; recv eof peer=ends; !unseen:send; !peer_resets; "
            "so_error ECONNRESET peer=resets history=partial",
        )),
    ),
    "unix-dgram": (
        "bind ok; !peer_sends; shutdown_rd ok; recv ok peer=sends history=partial",
        "bind ok; !wait:timeout; " + _URGENT + "recv EAGAIN flag=oob mode=timeout",
    ),
}  # fmt: skip
"""Kind -> the scripts of its directed scene."""


def _directed() -> Iterator[Showing]:
    for kind, scripts in _SCRIPTS.items():
        for script in scripts:
            yield Showing(kind, script, DIRECTED[kind], script)


def _buffers() -> Iterator[Showing]:
    for kind, bench in BENCHES.items():
        many = mixed(
            bench, rare.Using, sends=methods.too_many_sent, receives=methods.too_many_received
        )
        script = "send EMSGSIZE limit=buffers; recv EMSGSIZE limit=buffers"
        yield Showing(kind, "more buffers than a message may have", many, script)


def _shut_and_full() -> Iterator[Showing]:
    for kind, full in (("unix-stream", rare.Full), ("unix-dgram", worlds.FullQueue)):
        script = "connect ok; shutdown_wr ok; !wait:timeout; send EAGAIN mode=timeout room=no"
        yield Showing(kind, "no room on a shut side", mixed(DIRECTED[kind], full), script)


def _streams() -> Iterator[Showing]:
    itself = mixed(TcpBench, rare.Using, worlds.Itself, flags=socket.MSG_PEEK)
    script = "connect EINPROGRESS; send ok peer=itself; recv ok flag=peek"
    yield Showing("tcp", "a look at its own data", itself, script)
    script = "recv eof peer=ends; !reset; send ECONNRESET peer=resets"
    yield Showing("tcp", "an end that was none", stages.BornHalfShut, script, "accepted")
    script = _FAST + "connect ok flag=fastopen cookie=yes"
    yield Showing("tcp", "Fast Open", Cookies, script, alone=True)
    script = "connect ECONNRESET mode=blocking peer=resets"
    yield Showing("tcp", "reset while connect() sleeps", races.ResetWhileConnecting, script)
    patient = mixed(races.ResetWhileConnecting, timeout=races.PATIENCE)
    script = "connect ECONNRESET mode=timeout peer=resets"
    yield Showing("tcp", "reset while Python waits for connect()", patient, script)
    script = "connect ok; send ECONNRESET mode=blocking peer=resets"
    yield Showing("unix-stream", "closed while send() sleeps", races.ClosedWhileSending, script)
    script = "bind ok address=auto made=accept"
    yield Showing(
        "unix-stream",
        "bind('') of an accepted one",
        mixed(stages.UnixAccepted, rare.Auto),
        script,
        "accepted",
    )
    for kind, connected in (
        ("tcp", "connect EINPROGRESS; connect ok; "),
        ("unix-stream", "connect ok; "),
    ):
        for script in (
            "!end; send eof layer=tls peer=ends",
            "!goodbye; send eof layer=tls notice=sent",
            "!greet; !part; recv eof layer=tls notice=sent; send ok",
        ):
            yield Showing(kind, f"TLS: {script}", mixed(BENCHES[kind], Secure), connected + script)


def _datagrams() -> Iterator[Showing]:
    for call, fact in (("recv", "size=big"), ("so_error", "peer=dead")):
        script = f"connect ok; send ok; !too_big; {call} EMSGSIZE {fact} history=partial"
        yield Showing(
            "udp", f"{call}, too big for the path", networks.TooBigForPath, script, alone=True
        )
    script = "!peer_sends; shutdown_rd ok; recv ok peer=sends history=partial"
    stage = mixed(UnixDatagramBench, rare.Pair)
    yield Showing("unix-dgram", "one end of a pair", stage, script, "socketpair")


def _lives() -> Iterator[Showing]:
    for kind, base in BENCHES.items():
        unix = kind.startswith("unix")
        for call in ("create", *(("socketpair",) if unix else ())):
            for how, outcome in (
                ("descriptors", "EMFILE limit=descriptors"),
                ("protocol", f"{'EPROTONOSUPPORT' if unix else 'EINVAL'} limit=family"),
                ("other", "EPROTONOSUPPORT limit=family"),
                ("unknown", "EINVAL limit=family"),
            ):
                yield Showing(
                    kind,
                    f"{call}, {how}",
                    mixed(base, lives.Born, how=how),
                    f"{call} {outcome}",
                    "",
                )
        stage = mixed(base, lives.Born)
        script = "bind EBADF; create ok; detach ok; recv EBADF; detach ok"
        yield Showing(kind, "given away", stage, script, "")
        yield Showing(kind, "the end", mixed(base, lives.ProgramEnds), "exit ok")
        yield Showing(
            kind, "the end of a closed one", mixed(base, lives.ProgramEnds), "close ok; exit ok"
        )
        yield Showing(
            kind, "closed twice", mixed(base, Beside), "close ok; close EBADF history=partial"
        )
        yield Showing(
            kind, "closed beside", mixed(base, Beside), "!close; recv EBADF history=partial"
        )
        if unix:
            yield Showing(kind, "a pair", stage, "socketpair ok; close ok", "")
            yield Showing(
                kind, "the end of a bound one", mixed(base, lives.ProgramEnds), "bind ok; exit ok"
            )
            yield from _paths(kind, base)
        else:
            yield Showing(kind, "a name that is found", stage, "resolve ok; create ok", "")
            nameless = mixed(base, networks.Nameless)
            script = "resolve gaierror lookup=fails"
            yield Showing(kind, "a name that is none", nameless, script, "", True)


def _paths(kind: str, base: type[Bench]) -> Iterator[Showing]:
    for script in (
        "!stale; unlink ok file=stale; create ok; unlink ENOENT",
        "create ok; !stale; unlink ok file=stale",
        "create ok; bind ok; !remove; unlink ENOENT file=stale",
        "create ok; bind ok; close ok; !remove; unlink ENOENT file=stale",
        "create ok; bind ok; unlink ok",
        "create ok; bind ok; close ok; unlink ok",
    ):
        yield Showing(kind, script, mixed(base, lives.Unlinked), script, "")
    for place, outcome in (
        ("closed/x", "EACCES"),
        ("sticky/x", "EPERM"),
        ("file/x", "ENOTDIR"),
        ("folder", "EISDIR"),
    ):
        script = f"unlink {outcome} file=protected"
        yield Showing(
            kind, f"unlink(), {outcome}", mixed(base, lives.Unlinked, place=place), script, ""
        )
    script = "create ok; bind EROFS address=denied; unlink EROFS file=protected"
    yield Showing(kind, "a read-only file system", mixed(base, lives.ReadOnly), script, "", True)


SCRIPTED = (*_directed(), *_buffers(), *_shut_and_full(), *_streams(), *_datagrams(), *_lives())
