"""eventlet's sockets: each holds a socket of eventlet's own copy of `socket`, and waits in the hub."""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import Any

from sockfsm.tracer.adapters.cooperative import (
    TLS_METHODS,
    Library,
    finalizers,
    has_tls,
    methods_of,
    traced,
    waiter,
)
from sockfsm.tracer.adapters.unseen import unguarded
from sockfsm.tracer.places import inside

_WRAPPERS = "green/socket.py", "green/_socket_nodns.py", "support/greendns.py"


def sockets(module: ModuleType) -> list[tuple[Any, str, Any]]:
    """GreenSocket. What it passes on (bind, listen, close) is traced at the copy."""
    file = module.__file__ or ""
    home = os.path.dirname(os.path.dirname(file))
    inside(file, *(os.path.join(home, name) for name in _WRAPPERS))
    unguarded("eventlet")
    cls, copy = module.GreenSocket, module._original_socket
    finalizers.add(cls.__del__.__code__)

    def held(sock: Any) -> Any:
        """Its socket, when that is of the copy's class; others log their own calls."""
        fields = getattr(sock, "__dict__", None) or {}
        found = fields.get("fd")
        return found if issubclass(type(found), copy) else None

    library = Library(held, _timeout)
    return [
        *(place for place in methods_of(library, cls) if place[1] not in ("__init__", "dup")),
        (cls, "_trampoline", waiter(cls._trampoline)),
    ]


def makers(module: ModuleType) -> list[tuple[Any, str, Any]]:
    """Its `socketpair` and `fromfd` take the copy's sockets too, in place of the program's, whose
    methods would log each of eventlet's tries."""
    copy = sys.modules.get("__original_module_socket")
    if copy is None:
        return []
    return [
        (module, f"__original_{name}__", getattr(copy, name))
        for name in ("fromfd", "socketpair")
        if f"__original_{name}__" in vars(module)
    ]


def _timeout(sock: Any) -> float | None:
    return vars(sock).get("_timeout")  # type: ignore[no-any-return]


def secured(module: ModuleType) -> list[tuple[Any, str, Any]]:
    """TLS over it: its objects are `ssl.SSLSocket`s, which never block."""
    inside(module.__file__ or "")
    cls, library = module.GreenSSLSocket, Library(lambda sock: sock, _timeout)
    return [
        *(
            (cls, name, traced(library, vars(cls)[name], logged, has_tls))
            for name, logged in TLS_METHODS.items()
        ),
        (module, "trampoline", waiter(module.trampoline)),
    ]
