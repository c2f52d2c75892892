"""gevent's sockets: each holds a `_socket.socket` that never blocks, and waits in the hub."""

from __future__ import annotations

import _socket
import os
import sys
from types import ModuleType
from typing import Any

from sockfsm.tracer import sockets as _sockets
from sockfsm.tracer.adapters.cooperative import (
    CALLS,
    TLS_METHODS,
    Library,
    has_tls,
    held_closer,
    methods_of,
    traced,
    waiter,
)
from sockfsm.tracer.adapters.standing_in import named
from sockfsm.tracer.adapters.unseen import unguarded
from sockfsm.tracer.outside import resolver
from sockfsm.tracer.places import inside

_libraries: dict[str, Library] = {}


def _library(module: ModuleType) -> Library:
    """How its objects are read, by the slots of its base class: nothing of the program's is called."""
    mixin = module.SocketMixin
    held, timeout = mixin._sock.__get__, mixin.timeout.__get__

    def inner(sock: Any) -> Any:
        try:
            found = held(sock)
        except AttributeError:
            return None
        return found if isinstance(found, _socket.socket) else None

    return Library(inner, timeout, (module.cancel_wait_ex,))


def common(module: ModuleType) -> list[tuple[Any, str, Any]]:
    """What all of gevent's socket classes share."""
    file = module.__file__ or ""
    inside(file, os.path.join(os.path.dirname(file), "socket.py"))
    library = _libraries["gevent"] = _library(module)
    mixin = module.SocketMixin
    unguarded("gevent")
    return [*methods_of(library, mixin), (mixin, "_wait", waiter(mixin._wait))]


def sockets(module: ModuleType) -> list[tuple[Any, str, Any]]:
    """The socket class."""
    inside(module.__file__ or "")
    for name in ("socketpair", "fromfd"):
        _sockets._BIRTHS[getattr(module, name).__code__] = name
    held = module._wrefsocket
    # gevent's servers take the held socket out of its object, and use it when the hub says so.
    raw = Library(lambda sock: sock, held.gettimeout)
    return [
        *methods_of(_libraries["gevent"], module.socket),
        *(place for place in methods_of(raw, held, _socket.socket) if place[1] in CALLS),
        (held, "_accept", traced(raw, held._accept, "accept")),
        (held, "close", held_closer(held.close)),
    ]


def names(module: ModuleType) -> list[tuple[Any, str, Any]]:
    """Its own getaddrinfo, under the names that programs and its monkey patching find it by."""
    common = sys.modules["gevent._socketcommon"]
    stand_in = named(resolver(common.getaddrinfo), common.getaddrinfo)
    return [(module, "getaddrinfo", stand_in), (common, "getaddrinfo", stand_in)]


def secured(module: ModuleType) -> list[tuple[Any, str, Any]]:
    """TLS: its calls move ciphertext, a wait among them."""
    inside(module.__file__ or "")
    library, cls = _libraries["gevent"], module.SSLSocket
    return [
        (cls, name, traced(library, vars(cls)[name], logged, has_tls))
        for name, logged in TLS_METHODS.items()
    ]
