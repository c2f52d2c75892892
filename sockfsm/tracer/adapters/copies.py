"""A second `socket.socket`, made by running its module again: eventlet and `reload` do that."""

from __future__ import annotations

import _socket
import socket as _stdlib
from types import ModuleType
from typing import Any

from sockfsm.tracer import sockets as _sockets
from sockfsm.tracer.adapters.cooperative import Library, methods_of

_timeout = _socket.socket.gettimeout


def places(module: ModuleType) -> list[tuple[Any, str, Any]]:
    """Nothing for the first one, which the tracer itself sees to."""
    cls = module.socket
    if module is _stdlib or not isinstance(cls, type) or not issubclass(cls, _socket.socket):
        return []
    for name in ("socketpair", "fromfd"):
        _sockets._BIRTHS[getattr(module, name).__code__] = name
    library = Library(lambda sock: sock, _timeout, polls=True)
    return methods_of(library, cls, _socket.socket)
