"""What is shown of each kind: outcomes, why they come, and the stage. Pure data."""

from __future__ import annotations

from collections.abc import Iterator

from sockfsm.conform import bench, networks, scripted, stages
from sockfsm.conform.bench import Bench
from sockfsm.conform.showing import Showing

_TRYING = "connect EINPROGRESS peer=silent"
_BLOCKING = "EINTR mode=blocking signal=caught"


def _streams() -> Iterator[Showing]:
    for call in ("send", "recv", "so_error"):
        script = f"connect EINPROGRESS; send ok; {call} ETIMEDOUT peer=lost"
        yield Showing("tcp", f"{call}() of a lost connection", stages.Lost, script)
    yield Showing(
        "tcp",
        "so_error of a lost connection that connect() had confirmed",
        stages.Lost,
        "connect EINPROGRESS; connect ok; send ok; so_error ETIMEDOUT peer=lost",
    )
    for call in ("connect", "so_error"):
        script = f"{_TRYING}; {call} ETIMEDOUT peer=lost"
        yield Showing("tcp", f"{call}() when nobody answered", stages.NeverAnswered, script)
    yield Showing(
        "tcp",
        "connect() with a timeout when nobody answered",
        stages.LostPatient,
        "connect ETIMEDOUT mode=timeout peer=lost; connect ECONNABORTED mode=timeout",
    )
    script = "connect EINPROGRESS peer=ends; recv eof peer=ends; shutdown_wr ok; {} ok wire=slow"
    for call in ("shutdown_rd", "shutdown_wr", "shutdown_rdwr"):
        yield Showing("tcp", f"{call}, the last FIN lost", stages.LastFinLost, script.format(call))
    yield Showing("tcp", "port listens", stages.Listens, "bind ok; listen EADDRINUSE ports=none")
    for call in ("send", "recv"):
        yield Showing(
            "tcp",
            f"{call}() caught",
            stages.TcpCaught,
            f"connect ok mode=blocking; {call} {_BLOCKING}",
        )
    yield Showing(
        "tcp", "accept() caught", stages.TcpCaught, f"bind ok; listen ok; accept {_BLOCKING}"
    )
    yield Showing(
        "tcp",
        "connect() caught",
        stages.TcpConnectCaught,
        f"connect {_BLOCKING} peer=silent; connect {_BLOCKING} peer=silent",
    )
    for call in ("shutdown_rd", "shutdown_wr", "shutdown_rdwr"):
        yield Showing(
            "tcp",
            f"{call} of a half that was born shut",
            stages.BornShut,
            f"{call} ENOTCONN made=shut",
            "accepted",
        )
    yield Showing(
        "tcp",
        "bind() of what was born shut",
        stages.BornShut,
        "bind ok made=shut; so_error ok",
        "accepted",
    )
    ended = "recv eof peer=ends; send EPIPE peer=closes; "
    for after in (
        *(f"shutdown_{way} ok" for way in ("rd", "wr", "rdwr")),
        *(f"!reset; {call} ECONNRESET" for call in ("send", "recv", "so_error")),
    ):
        script = f"{ended}{after} made=shut history=partial"
        yield Showing("tcp", f"born shut, {after}", stages.BornShutAlive, script, "accepted")
    yield Showing(
        "tcp",
        "send() of a half that was born shut",
        stages.BornShut,
        "send EPIPE made=shut",
        "accepted",
    )


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
        stage = networks.rejecting(networks.Doubted, icmp)
        for script in after:
            then = " ".join(script.replace(_PARTIAL, "").split())
            title = f"ICMP {icmp} unreachable is a doubt, then {then}"
            yield Showing("tcp", title, stage, told + script, alone=True)
        yield Showing(
            "tcp",
            f"ICMP {icmp} unreachable is a doubt, and Python gives up",
            networks.rejecting(networks.DoubtedPatient, icmp),
            f"connect {outcome} mode=timeout "
            f"{'peer=refuses' if icmp == 'port' else 'network=rejects'}; "
            f"connect EALREADY mode=timeout {_PARTIAL}",
            alone=True,
        )
        yield Showing(
            "tcp",
            f"ICMP {icmp} unreachable is a doubt of a connection",
            networks.rejecting(networks.DoubtedLater, icmp),
            f"connect EINPROGRESS; connect ok; send ok; so_error {outcome} network=doubts; send ok",
            alone=True,
        )


def _networks() -> Iterator[Showing]:
    stage: type[Bench]
    for outcome, fact, host in (
        ("ENETUNREACH", "network=unreachable", "noroute"),
        ("EHOSTUNREACH", "network=unreachable", "unreachable"),
        ("EACCES", "network=filtered", "prohibit"),
    ):
        for kind, base in (("tcp", bench.TcpBench), ("udp", bench.UdpBench)):
            stage = networks.routed(networks.Unrouted, base, host)
            yield Showing(
                kind, f"connect(), {host}", stage, f"connect {outcome} {fact}", alone=True
            )
        stage = networks.routed(networks.Unrouted, bench.UdpBench, host)
        yield Showing(
            "udp", f"send(), {host}", stage, f"send {outcome} {fact} to=address", alone=True
        )
    stage = networks.routed(networks.Dropped, bench.UdpBench, "")
    yield Showing(
        "udp", "send() dropped", stage, "send EPERM network=filtered to=address", alone=True
    )
    for icmp, outcome in (("host", "EHOSTUNREACH"), ("net", "ENETUNREACH")):
        unreachable = f"{outcome} network=unreachable"
        stage = networks.rejecting(networks.RejectedUdp, icmp)
        yield Showing(
            "udp",
            f"recv(), {icmp} unreachable",
            stage,
            f"connect ok; send ok; recv {unreachable}",
            alone=True,
        )
        yield Showing(
            "udp",
            f"so_error, {icmp} unreachable",
            stage,
            f"connect ok; send ok; so_error {outcome} peer=dead history=partial",
            alone=True,
        )
        stage = networks.rejecting(networks.RejectedTcp, icmp)
        for call in ("connect", "so_error"):
            yield Showing(
                "tcp",
                f"{call}(), {icmp} unreachable",
                stage,
                f"{_TRYING}; {call} {unreachable}",
                alone=True,
            )
        stage = networks.rejecting(networks.RejectedPatient, icmp)
        yield Showing(
            "tcp",
            f"connect() with a timeout, {icmp} unreachable",
            stage,
            f"connect {outcome} mode=timeout network=rejects; connect ECONNABORTED mode=timeout",
            alone=True,
        )
        stage = networks.rejecting(networks.CutTcp, icmp)
        for call in ("send", "recv"):
            yield Showing(
                "tcp",
                f"{call}(), {icmp} unreachable later",
                stage,
                f"connect EINPROGRESS; send ok; {call} {unreachable}",
                alone=True,
            )
    for kind, outcome, base in (
        ("tcp", "EADDRNOTAVAIL", bench.TcpBench),
        ("udp", "EAGAIN", bench.UdpBench),
    ):
        stage = networks.routed(networks.OnePort, base, "")
        yield Showing(kind, "one port", stage, f"connect {outcome} ports=none", alone=True)
    stage = networks.routed(networks.Unresolved, bench.UdpBench, "")
    yield Showing(
        "udp", "no room", stage, "send ok to=address; send EAGAIN to=address room=no", alone=True
    )
    stage = networks.routed(networks.UnresolvedCaught, bench.UdpBench, "")
    yield Showing(
        "udp",
        "send() caught",
        stage,
        "send ok to=address mode=blocking; send EINTR to=address mode=blocking signal=caught",
        alone=True,
    )
    for kind, base in (("tcp", bench.TcpBench), ("udp", bench.UdpBench)):
        stage = networks.routed(networks.Nameless, base, "")
        for call in ("bind", "connect"):
            yield Showing(
                kind, f"{call}(), no such name", stage, f"{call} gaierror lookup=fails", alone=True
            )
        yield Showing(
            kind,
            "send(), no such name",
            stage,
            "send gaierror lookup=fails",
            alone=True,
        )


def _datagrams() -> Iterator[Showing]:
    yield Showing("udp", "recv() caught", stages.UdpCaught, f"bind ok; recv {_BLOCKING}")
    yield Showing(
        "unix-dgram", "recv() caught", stages.DatagramCaught, f"bind ok; recv {_BLOCKING}"
    )
    yield Showing(
        "unix-dgram",
        "send() caught",
        stages.DatagramFullCaught,
        "connect ok mode=blocking; send EINTR mode=blocking signal=caught room=no",
    )
    yield Showing(
        "unix-dgram",
        "connect() to who hears another",
        stages.Engaged,
        "connect EPERM target=denied",
    )
    yield Showing(
        "unix-dgram",
        "send() to who hears another",
        stages.Engaged,
        "send EPERM target=denied to=address",
    )
    yield Showing(
        "unix-dgram",
        "send(), and the peer hears another now",
        stages.Turned,
        "connect ok; send EPERM target=denied",
    )
    for call in ("send", "recv", "so_error"):
        yield Showing(
            "unix-dgram",
            f"{call}(), the peer has left",
            stages.Leaves,
            f"bind ok; connect ok; send ok; {call} ECONNRESET peer=leaves",
        )


def _paths() -> Iterator[Showing]:
    for kind, base in (("unix-stream", bench.UnixBench), ("unix-dgram", bench.UnixDatagramBench)):
        for place, outcome in (
            ("loop/x", "ELOOP"),
            ("long/x", "ENAMETOOLONG"),
            ("file/x", "ENOTDIR"),
        ):
            yield Showing(
                kind,
                f"bind(), {outcome}",
                stages.placed(base, place),
                f"bind {outcome} address=nowhere",
            )
        yield Showing(
            kind,
            "connect(), ENOTDIR",
            stages.placed(base, "file/x"),
            "connect ENOTDIR target=absent",
        )
        yield Showing(
            kind,
            "bind(), EPERM",
            stages.placed(base, "/sys/x"),
            "bind EPERM address=denied",
            alone=True,
        )
        yield Showing(
            kind,
            "bind(), EACCES",
            stages.placed(base, "closed/x", stages.Nobody),
            "bind EACCES address=denied",
        )
        yield Showing(
            kind,
            "connect(), EACCES",
            stages.placed(base, "closed/x", stages.Nobody),
            "connect EACCES target=denied",
        )
        yield Showing(
            kind,
            "connect(), too short",
            stages.addressed(base, "short"),
            "connect EINVAL target=invalid",
        )
        yield Showing(
            kind,
            "bind(), another family",
            stages.addressed(base, "family"),
            "bind EINVAL address=family; connect EINVAL target=family",
        )
        yield Showing(
            kind,
            "bind(), too long",
            stages.addressed(base, "long"),
            "bind EINVAL address=invalid",
        )
    base = bench.UnixDatagramBench
    for place, outcome, fact in (("file/x", "ENOTDIR", "absent"), ("closed/x", "EACCES", "denied")):
        yield Showing(
            "unix-dgram",
            f"sendto(), {outcome}",
            stages.placed(base, place, stages.Nobody),
            f"send {outcome} target={fact} to=address",
        )
    yield Showing(
        "unix-dgram",
        "sendto(), too short",
        stages.addressed(base, "short"),
        "send EINVAL target=invalid to=address",
    )
    yield Showing(
        "unix-dgram",
        "sendto(), another family",
        stages.addressed(base, "family"),
        "send EINVAL target=family to=address",
    )
    for call in ("send", "recv"):
        yield Showing(
            "unix-stream",
            f"{call}() caught",
            stages.UnixCaught,
            f"connect ok mode=blocking; {call} {_BLOCKING}",
        )
    yield Showing(
        "unix-stream",
        "accept() caught",
        stages.UnixCaught,
        f"bind ok; listen ok; accept {_BLOCKING}",
    )
    yield Showing(
        "unix-stream", "connect() caught", stages.UnixFullCaught, f"connect {_BLOCKING} target=full"
    )
    yield Showing(
        "unix-stream",
        "bind() of an accepted socket",
        stages.UnixAccepted,
        "bind EINVAL made=accept",
        "accepted",
    )


def _addresses() -> Iterator[Showing]:
    for kind, base in (("tcp", bench.TcpBench), ("udp", bench.UdpBench)):
        for how, outcome, value in (
            ("family", "EAFNOSUPPORT", "family"),
            ("short", "EINVAL", "invalid"),
        ):
            stage = stages.addressed(base, how)
            yield Showing(kind, f"bind(), {value}", stage, f"bind {outcome} address={value}")
            yield Showing(kind, f"connect(), {value}", stage, f"connect {outcome} target={value}")
            if kind == "udp":
                yield Showing(
                    kind, f"sendto(), {value}", stage, f"send {outcome} target={value} to=address"
                )
    for kind, any_base in bench.BENCHES.items():
        connected = "connect EINPROGRESS" if kind == "tcp" else "connect ok"
        yield Showing(
            kind,
            "no memory for what goes beside the data",
            stages.heavy(any_base),
            f"{connected}; send ENOBUFS limit=memory",
        )


_ALL = (
    *_streams(),
    *_doubts(),
    *scripted.SCRIPTED,
    *_networks(),
    *_datagrams(),
    *_paths(),
    *_addresses(),
)
SHOWINGS = {showing.title: showing for showing in _ALL}
"""Title -> what is shown."""
