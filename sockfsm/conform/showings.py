"""The showings of each kind: outcomes, the facts behind them, and the stage. Pure data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from sockfsm.conform import bench, networks, scripted, stages
from sockfsm.conform.bench import BENCHES, Bench, mixed
from sockfsm.conform.showing import Showing
from sockfsm.conform.worlds import Crowded, FullQueue

_TRYING = "connect EINPROGRESS peer=silent"
_BLOCKING = "EINTR mode=blocking signal=caught"


def _on(
    kind: str,
    stage: type[Bench],
    scripts: Mapping[str, str],
    *,
    birth: str = "create",
    alone: bool = False,
) -> Iterator[Showing]:
    """Yield the showings of one stage. scripts: what is shown -> its script."""
    for name, script in scripts.items():
        yield Showing(kind, name, stage, script, birth, alone)


_CONFIRMED = "so_error of a lost connection that connect() had confirmed"
_ENDED = "recv eof peer=ends; send EPIPE peer=closes; "
_SHUTDOWNS = ("shutdown_rd", "shutdown_wr", "shutdown_rdwr")
_AFTER = (
    *(f"{call} ok" for call in _SHUTDOWNS),
    *(f"!reset; {call} ECONNRESET" for call in ("send", "recv", "so_error")),
)


def _streams() -> Iterator[Showing]:
    lost = {
        f"{call}() of a lost connection": f"connect EINPROGRESS; send ok; {call} ETIMEDOUT peer=lost"
        for call in ("send", "recv", "so_error")
    }
    lost[_CONFIRMED] = "connect EINPROGRESS; connect ok; send ok; so_error ETIMEDOUT peer=lost"
    yield from _on("tcp", stages.NeverArrives, lost)
    never = {
        f"{call}() when nobody answered": f"{_TRYING}; {call} ETIMEDOUT peer=lost"
        for call in ("connect", "so_error")
    }
    yield from _on("tcp", stages.NeverAnswered, never)
    script = "connect ETIMEDOUT mode=timeout peer=lost; connect ECONNABORTED mode=timeout"
    name = "connect() with a timeout when nobody answered"
    yield Showing("tcp", name, stages.LostPatient, script)
    script = "connect EINPROGRESS peer=ends; recv eof peer=ends; shutdown_wr ok; {} ok wire=slow"
    fins = {f"{call}, the last FIN lost": script.format(call) for call in _SHUTDOWNS}
    yield from _on("tcp", stages.LastFinLost, fins)
    yield Showing("tcp", "port listens", stages.Listens, "bind ok; listen EADDRINUSE ports=none")
    halves = {
        **{
            f"{call} of a half that was born shut": f"{call} ENOTCONN made=shut"
            for call in _SHUTDOWNS
        },
        "bind() of what was born shut": "bind ok made=shut; so_error ok",
        "send() of a half that was born shut": "send EPIPE made=shut",
    }
    yield from _on("tcp", stages.BornShut, halves, birth="accepted")
    alive = {
        f"born shut, {after}": f"{_ENDED}{after} made=shut history=partial" for after in _AFTER
    }
    yield from _on("tcp", stages.BornShutAlive, alive, birth="accepted")
    script = "bind EINVAL made=accept"
    name = "bind() of an accepted socket"
    yield Showing("unix-stream", name, stages.UnixAccepted, script, "accepted")


def _caught() -> Iterator[Showing]:
    """A signal handler raises while the call sleeps."""
    for kind in ("tcp", "unix-stream"):
        scripts = {
            f"{call}() caught": f"connect ok mode=blocking; {call} {_BLOCKING}"
            for call in ("send", "recv")
        }
        scripts["accept() caught"] = f"bind ok; listen ok; accept {_BLOCKING}"
        yield from _on(kind, mixed(BENCHES[kind], stages.Caught), scripts)
    waits = ("connect",)
    stage = mixed(bench.TcpBench, stages.Caught, Crowded, waits=waits)
    script = f"connect {_BLOCKING} peer=silent; connect {_BLOCKING} peer=silent"
    yield Showing("tcp", "connect() caught", stage, script)
    stage = mixed(bench.UnixBench, stages.Caught, Crowded, waits=waits)
    yield Showing("unix-stream", "connect() caught", stage, f"connect {_BLOCKING} target=full")
    for kind in ("udp", "unix-dgram"):
        stage = mixed(BENCHES[kind], stages.Caught)
        yield Showing(kind, "recv() caught", stage, f"bind ok; recv {_BLOCKING}")
    stage = mixed(bench.UnixDatagramBench, stages.Caught, FullQueue)
    script = "connect ok mode=blocking; send EINTR mode=blocking signal=caught room=no"
    yield Showing("unix-dgram", "send() caught", stage, script)


_PARTIAL = "network=doubts history=partial"


def _doubts() -> Iterator[Showing]:
    """ICMP answers a SYN, and TCP goes on trying (a soft error, RFC 5461)."""
    calls = ("send", "recv", "shutdown_rd", "shutdown_wr", "shutdown_rdwr")
    for icmp, outcome, fact in (
        ("host", "EHOSTUNREACH", "network=unreachable"),
        ("net", "ENETUNREACH", "network=unreachable"),
        ("port", "ECONNREFUSED", "peer=refuses"),
    ):
        told = f"connect EINPROGRESS; connect EALREADY peer=silent; so_error {outcome} {fact}; "
        after = [f"connect EALREADY {_PARTIAL}; so_error ok peer=silent"]
        after += [f"!rejected; {call} {outcome} {_PARTIAL}" for call in ("connect", "so_error")]
        if icmp == "host":
            after += [
                f"{call} {'EAGAIN' if call in calls[:2] else 'ok'} {_PARTIAL}" for call in calls
            ]
            after += [f"!answered; {call} ok {_PARTIAL}" for call in ("connect", "send")]
            after += [
                f"!unanswered; {call} ETIMEDOUT {_PARTIAL}" for call in ("connect", "so_error")
            ]
        stage = mixed(networks.Doubted, icmp=icmp)
        for script in after:
            then = " ".join(script.replace(_PARTIAL, "").split())
            title = f"ICMP {icmp} unreachable is a doubt, then {then}"
            yield Showing("tcp", title, stage, told + script, alone=True)
        yield Showing(
            "tcp",
            f"ICMP {icmp} unreachable is a doubt, and Python gives up",
            mixed(networks.Doubted, networks.Patient, icmp=icmp),
            f"connect {outcome} mode=timeout "
            f"{'peer=refuses' if icmp == 'port' else 'network=rejects'}; "
            f"connect EALREADY mode=timeout {_PARTIAL}",
            alone=True,
        )
        yield Showing(
            "tcp",
            f"ICMP {icmp} unreachable is a doubt of a connection",
            mixed(networks.DoubtedLater, icmp=icmp),
            f"connect EINPROGRESS; connect ok; send ok; so_error {outcome} network=doubts; send ok",
            alone=True,
        )


_ROUTES = (
    ("noroute", "ENETUNREACH network=unreachable"),
    ("unreachable", "EHOSTUNREACH network=unreachable"),
    ("prohibit", "EACCES network=filtered"),
)


def _networks() -> Iterator[Showing]:
    alone = partial(_on, alone=True)
    for way, outcome in _ROUTES:
        for kind in ("tcp", "udp"):
            scripts = {f"connect(), {way}": f"connect {outcome}"}
            if kind == "udp":
                scripts[f"send(), {way}"] = f"send {outcome} to=address"
            yield from alone(kind, mixed(BENCHES[kind], networks.Unrouted, way=way), scripts)
    dropped = {"send() dropped": "send EPERM network=filtered to=address"}
    yield from alone("udp", mixed(bench.UdpBench, networks.Dropped), dropped)
    yield from _unreachable()
    one = mixed(bench.TcpBench, networks.OnePort)
    yield from alone("tcp", one, {"one port": "connect EADDRNOTAVAIL ports=none"})
    one = mixed(bench.UdpBench, networks.OnePort)
    yield from alone("udp", one, {"one port": "connect EAGAIN ports=none"})
    unresolved = mixed(bench.UdpBench, networks.Unresolved)
    room = {"no room": "send ok to=address; send EAGAIN to=address room=no"}
    yield from alone("udp", unresolved, room)
    blocking = "to=address mode=blocking"
    caught = {"send() caught": f"send ok {blocking}; send EINTR {blocking} signal=caught"}
    yield from alone("udp", mixed(bench.UdpBench, networks.UnresolvedCaught), caught)
    nameless = {
        f"{call}(), no such name": f"{call} gaierror lookup=fails"
        for call in ("bind", "connect", "send")
    }
    for kind in ("tcp", "udp"):
        yield from alone(kind, mixed(BENCHES[kind], networks.Nameless), nameless)


def _unreachable() -> Iterator[Showing]:
    """ICMP says that the target cannot be reached."""
    alone = partial(_on, alone=True)
    for icmp, outcome in (("host", "EHOSTUNREACH"), ("net", "ENETUNREACH")):
        unreachable = f"{outcome} network=unreachable"
        datagrams = {
            f"recv(), {icmp} unreachable": f"connect ok; send ok; recv {unreachable}",
            f"so_error, {icmp} unreachable": "connect ok; send ok; "
            f"so_error {outcome} peer=dead history=partial",
        }
        yield from alone("udp", mixed(networks.RejectedUdp, icmp=icmp), datagrams)
        trying = {
            f"{call}(), {icmp} unreachable": f"{_TRYING}; {call} {unreachable}"
            for call in ("connect", "so_error")
        }
        yield from alone("tcp", mixed(networks.RejectedTcp, icmp=icmp), trying)
        patient = {
            f"connect() with a timeout, {icmp} unreachable": f"connect {outcome} mode=timeout "
            "network=rejects; connect ECONNABORTED mode=timeout"
        }
        stage = mixed(networks.RejectedTcp, networks.Patient, icmp=icmp)
        yield from alone("tcp", stage, patient)
        later = {
            f"{call}(), {icmp} unreachable later": "connect EINPROGRESS; send ok; "
            f"{call} {unreachable}"
            for call in ("send", "recv")
        }
        yield from alone("tcp", mixed(networks.CutTcp, icmp=icmp), later)


def _datagrams() -> Iterator[Showing]:
    engaged = {
        "connect() to who hears another": "connect EPERM target=denied",
        "send() to who hears another": "send EPERM target=denied to=address",
    }
    yield from _on("unix-dgram", stages.Engaged, engaged)
    script = "connect ok; send EPERM target=denied"
    name = "send(), and the peer hears another now"
    yield Showing("unix-dgram", name, stages.Turned, script)
    leaves = {
        f"{call}(), the peer has left": "bind ok; connect ok; send ok; "
        f"{call} ECONNRESET peer=leaves"
        for call in ("send", "recv", "so_error")
    }
    yield from _on("unix-dgram", stages.Leaves, leaves)


_PLACES = (
    ("loop/x", "bind(), ELOOP", "bind ELOOP address=nowhere"),
    ("long/x", "bind(), ENAMETOOLONG", "bind ENAMETOOLONG address=nowhere"),
    ("file/x", "bind(), ENOTDIR", "bind ENOTDIR address=nowhere"),
    ("file/x", "connect(), ENOTDIR", "connect ENOTDIR target=absent"),
)
_CLOSED = {
    "bind(), EACCES": "bind EACCES address=denied",
    "connect(), EACCES": "connect EACCES target=denied",
}
_MADE_UP = {
    "short": {"connect(), too short": "connect EINVAL target=invalid"},
    "long": {"bind(), too long": "bind EINVAL address=invalid"},
    "family": {
        "bind(), another family": "bind EINVAL address=family; connect EINVAL target=family"
    },
}
"""How an address is made -> what UNIX sockets do with it."""
_SENT = {
    "short": {"sendto(), too short": "send EINVAL target=invalid to=address"},
    "family": {"sendto(), another family": "send EINVAL target=family to=address"},
}


def _paths() -> Iterator[Showing]:
    for kind in ("unix-stream", "unix-dgram"):
        base = BENCHES[kind]
        for place, name, script in _PLACES:
            yield Showing(kind, name, mixed(base, stages.Placed, place=place), script)
        stage = mixed(base, stages.Placed, place="/sys/x")
        yield Showing(kind, "bind(), EPERM", stage, "bind EPERM address=denied", alone=True)
        yield from _on(kind, mixed(base, stages.Nobody, stages.Placed, place="closed/x"), _CLOSED)
        for table in (_MADE_UP, *((_SENT,) if kind == "unix-dgram" else ())):
            for how, scripts in table.items():
                yield from _on(kind, mixed(base, stages.Addressed, how=how), scripts)
    for place, outcome, fact in (("file/x", "ENOTDIR", "absent"), ("closed/x", "EACCES", "denied")):
        stage = mixed(bench.UnixDatagramBench, stages.Nobody, stages.Placed, place=place)
        script = f"send {outcome} target={fact} to=address"
        yield Showing("unix-dgram", f"sendto(), {outcome}", stage, script)


def _addresses() -> Iterator[Showing]:
    for kind in ("tcp", "udp"):
        for how, outcome, value in (
            ("family", "EAFNOSUPPORT", "family"),
            ("short", "EINVAL", "invalid"),
        ):
            scripts = {
                f"bind(), {value}": f"bind {outcome} address={value}",
                f"connect(), {value}": f"connect {outcome} target={value}",
            }
            if kind == "udp":
                scripts[f"sendto(), {value}"] = f"send {outcome} target={value} to=address"
            yield from _on(kind, mixed(BENCHES[kind], stages.Addressed, how=how), scripts)
    for kind, base in BENCHES.items():
        connected = "connect EINPROGRESS" if kind == "tcp" else "connect ok"
        script = f"{connected}; send ENOBUFS limit=memory"
        name = "no memory for what goes beside the data"
        yield Showing(kind, name, mixed(base, stages.Heavy), script)


_ALL = (
    *_streams(),
    *_caught(),
    *_doubts(),
    *scripted.SCRIPTED,
    *_networks(),
    *_datagrams(),
    *_paths(),
    *_addresses(),
)
SHOWINGS = {showing.title: showing for showing in _ALL}
"""Title -> showing."""
