"""Every rule has a proof on the running kernel, or stands here with the reason why it can have none."""

from __future__ import annotations

import pytest

from sockfsm.conform.coverage import told, unproved
from sockfsm.model.kinds import KINDS
from sockfsm.model.rules import Rule

_FACTS = {
    "limit=memory": "so small an allocation does not fail: the kernel kills a process before that",
    "limit=permission": "a security policy may say any errno: one of ours would prove itself",
    "queue=aborted": "Linux hands such a connection over, and it fails at its first use",
}
_OUTCOMES = {
    "ENFILE": "fs.file-max is the whole machine's: who lowers it takes everybody's files",
}
_OTHERS = {
    "create fd=none EAFNOSUPPORT limit=family": "this kernel speaks the four kinds' families",
    "socketpair fd=none EAFNOSUPPORT limit=family": "as create",
    "exit fd=gone ok": "a program that has ended calls nothing",
    "* fd=gone EBADF": "a program that has ended calls nothing",
    "connect EPERM target=denied": "Linux has no such word for streams but a security policy's",
    "connect EADDRINUSE ports=none": "connect(2) names it, Linux says EADDRNOTAVAIL",
    "connect EAGAIN ports=none": "Linux says EADDRNOTAVAIL where TCP finds no port",
    "connect EADDRNOTAVAIL ports=none": "Linux says EAGAIN where UDP finds no port",
    "connect ENETDOWN network=unreachable": "a route goes with its interface: ENETUNREACH comes first",
    "send ENETDOWN network=unreachable": "a route goes with its interface: ENETUNREACH comes first",
    "connect EPERM network=filtered": "a BPF program of a cgroup says so: ours would prove itself",
    "send EPERM network=filtered": "TCP does not tell send() what became of a segment; a policy may",
}


def _reason(entry: Rule) -> str:
    facts = [reason for fact, reason in _FACTS.items() if fact in map(str, entry.given)]
    return next(iter(facts), "") or _OUTCOMES.get(entry.outcome) or _OTHERS.get(told(entry), "")


@pytest.mark.parametrize("kind", KINDS)
def test_every_rule_is_proved_or_excused(kind: str) -> None:
    assert [told(entry) for entry in unproved(kind) if not _reason(entry)] == []


def test_every_excuse_is_needed() -> None:
    entries = [entry for kind in KINDS for entry in unproved(kind)]
    facts = {str(fact) for entry in entries for fact in entry.given}
    assert set(_FACTS) <= facts
    assert set(_OUTCOMES) <= {entry.outcome for entry in entries}
    assert set(_OTHERS) <= {told(entry) for entry in entries}
