"""Every rule has a proof on the running kernel, or stands here with the reason why it has none."""

from __future__ import annotations

import pytest

from sockfsm.conform.coverage import told, unproved
from sockfsm.model.kinds import KINDS
from sockfsm.model.rules import Rule

_CALLS = {
    "create": "births are no word of a sequence: tests of traced sockets make them",
    "socketpair": "as create",
    "accepted": "as create; random sequences go on with data sockets",
    "resolve": "no word of a sequence, nor a call on a socket",
    "unlink": "no word of a sequence, nor a call on a socket",
    "exit": "a sequence cannot outlive it",
    "detach": "no word of a sequence",
}
_FACTS = {
    "history=partial": "what nobody saw cannot be arranged by calls that are seen",
    "limit=memory": "the kernel cannot be made to run out of memory for one call",
    "limit=descriptors": "ENFILE needs a whole system without files",
    "limit=permission": "a security policy may say any errno: one of ours would prove itself",
    "queue=aborted": "Linux hands such a connection over",
    "flag=fastopen": "cookies are kept by address; random sequences come to it",
    "flag=peek": "a socket connected to itself that looks: random sequences come to it",
    "flag=oob": "with a timeout, or without a byte: random sequences come to it",
    "left=data": "random sequences come to it",
    "layer=tls": "tests of wrapped sockets",
}


_LATER = "the peer ends or resets later, not at once: random sequences come to it"
_DOWN = "a route goes with its interface: ENETUNREACH comes first"
_SAME = "another rule says the same first"
_OTHERS = {
    "* fd=none EBADF": "no word of a sequence leaves the descriptor so",
    "* fd=detached EBADF": "no word of a sequence leaves the descriptor so",
    "* fd=gone EBADF": "no word of a sequence leaves the descriptor so",
    "bind name=yes role=connected|established peer=open wr=shut ok peer=closes|ends": _LATER,
    "connect ECONNRESET mode=blocking peer=resets": _LATER,
    "send role=stuck EPIPE": _LATER,
    "send peer=closed ECONNRESET peer=resets": _LATER,
    "send EPIPE peer=closes": _LATER,
    "recv wr=shut rd=open eof peer=closes|ends": _LATER,
    "shutdown_rd role=connected wr=shut ENOTCONN peer=closes|ends": _LATER,
    "shutdown_wr role=connected wr=shut ENOTCONN peer=closes|ends": _LATER,
    "shutdown_rdwr role=connected wr=shut ENOTCONN peer=closes|ends": _LATER,
    "send ECONNRESET peer=resets": _LATER,
    "bind role=connected ok address=auto made=accept": "random sequences come to it",
    "bind EROFS address=denied": "needs a file system that is read-only",
    "bind EAFNOSUPPORT address=family": "Linux says EINVAL for UNIX sockets",
    "connect EAFNOSUPPORT target=family": "Linux says EINVAL for UNIX sockets",
    "connect EPERM target=denied": "a security policy's word for streams",
    "connect EADDRINUSE ports=none": "Linux says EADDRNOTAVAIL",
    "connect EAGAIN ports=none": "Linux says EADDRNOTAVAIL where TCP finds no port",
    "connect EADDRNOTAVAIL ports=none": "Linux says EAGAIN where UDP finds no port",
    "connect ENETDOWN network=unreachable": _DOWN,
    "send ENETDOWN network=unreachable": _DOWN,
    "connect EPERM network=filtered": "a program in a cgroup says so; nftables only drops a SYN",
    "send EPERM network=filtered": "a firewall's drop is loss to TCP",
    "send ECONNREFUSED target=dead": _SAME,
    "send ENOENT target=absent": "a connected peer whose path goes is still there",
    "accept role=listening rd=shut EINVAL mode=blocking": "four calls: depth 3 stops short",
    "send role=listening wr=open EAGAIN mode=timeout": "four calls: depth 3 stops short",
}


def _reason(entry: Rule) -> str:
    facts = [reason for fact, reason in _FACTS.items() if fact in map(str, entry.given)]
    return _CALLS.get(entry.call) or next(iter(facts), "") or _OTHERS.get(told(entry), "")


@pytest.mark.parametrize("kind", KINDS)
def test_every_rule_is_proved_or_excused(kind: str) -> None:
    assert [told(entry) for entry in unproved(kind) if not _reason(entry)] == []


def test_every_excuse_is_needed() -> None:
    entries = [entry for kind in KINDS for entry in unproved(kind)]
    facts = {str(fact) for entry in entries for fact in entry.given}
    assert set(_FACTS) <= facts
    assert set(_CALLS) <= {entry.call for entry in entries}
    assert set(_OTHERS) <= {told(entry) for entry in entries}
