"""The kinds of sockets and their machines. Each machine is built once, when it is first needed."""

from __future__ import annotations

import socket
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from sockfsm.errors import UsageError

if TYPE_CHECKING:
    from sockfsm.model.executed import SocketMachine
    from sockfsm.model.flat import FlatMachine
    from sockfsm.model.rules import Table

KINDS = ("tcp", "udp", "unix-stream", "unix-dgram")
OTHER = "other"

_INET = (socket.AF_INET, socket.AF_INET6)
_UNIX = getattr(socket, "AF_UNIX", None)


def kind_of(family: int, type_: int, proto: int) -> str:
    """The kind for the three arguments of socket(2); `other` if no machine covers it."""
    base = type_ & 0xF
    if family in _INET:
        if base == socket.SOCK_STREAM and proto in (0, socket.IPPROTO_TCP):
            return "tcp"
        if base == socket.SOCK_DGRAM and proto in (0, socket.IPPROTO_UDP):
            return "udp"
    elif family == _UNIX:
        if base == socket.SOCK_STREAM:
            return "unix-stream"
        if base == socket.SOCK_DGRAM:
            return "unix-dgram"
    return OTHER


_ADDED: dict[str, Table] = {}


def add_table(table: Table) -> None:
    """Make the machine of a protocol known by its name. UsageError where another one has it."""
    if table.kind in (*KINDS, OTHER) or _ADDED.setdefault(table.kind, table) is not table:
        raise UsageError(f"there is a machine named {table.kind} already")


def has_machine(kind: str) -> bool:
    """Whether a kind of sockets, or a protocol that was added, has this name."""
    return kind in KINDS or kind in _ADDED


@cache
def table_of(kind: str) -> Table:
    """The rules of a kind. UsageError for an unknown kind."""
    if kind in _ADDED:
        return _ADDED[kind]
    if kind not in KINDS:
        raise UsageError(f"no kind {kind!r}: choose one of {', '.join(KINDS)}")
    module = import_module(f"sockfsm.model.{kind.replace('-', '_')}")
    table: Table = module.TABLE
    return table


@cache
def flat_of(kind: str) -> FlatMachine:
    """The flat machine of a kind."""
    from sockfsm.model.flat import FlatMachine

    return FlatMachine(table_of(kind))


@cache
def machine_of(kind: str) -> SocketMachine:
    """The shared `transitions` machine of a kind, the one that traced sockets run on."""
    from sockfsm.model.executed import build

    return build(flat_of(kind))
