"""Libraries that pass the methods of `socket.socket` by, traced where they do that.

`ssl` works in C on the descriptor, `multiprocessing.connection` reads and writes a detached one,
gevent and eventlet have socket classes of their own. Each is adapted as soon as it is imported.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from sockfsm.record.writer import programs
from sockfsm.tracer.adapters import (
    children,
    connection,
    copies,
    eventlet,
    gevent,
    greenlets,
    imports,
    tls,
    unseen,
)

Place = tuple[Any, str, Any]
"""(class or module, attribute, what stands there while the process is traced)."""

_ADAPTERS: dict[str, tuple[str, Callable[[ModuleType], list[Place]]]] = {
    "socket": ("socket", copies.places),
    "subprocess": ("Popen", children.places),
    "multiprocessing.util": ("spawnv_passfds", children.places),
    "ssl": ("SSLSocket", tls.places),
    "multiprocessing.connection": ("Connection", connection.places),
    "greenlet": ("getcurrent", greenlets.places),
    "gevent._socketcommon": ("SocketMixin", gevent.common),
    "gevent._socket3": ("socket", gevent.sockets),
    "gevent.socket": ("create_connection", gevent.names),
    "gevent.ssl": ("SSLSocket", gevent.secured),
    "eventlet.greenio.base": ("GreenSocket", eventlet.sockets),
    "eventlet.green._socket_nodns": ("socketpair", eventlet.makers),
    "eventlet.green.ssl": ("GreenSSLSocket", eventlet.secured),
}
"""Module -> (what it defines once it is whole, its adapter)."""
_patched: dict[int, list[Place]] = {}
"""id(what a module defines) -> itself, and what stood where."""


def adapt() -> None:
    """Trace those of the libraries that are imported already."""
    for name in _ADAPTERS:
        module = sys.modules.get(name)
        if module is not None:
            _imported(module)
    unseen.look(sys.modules)


def watch() -> None:
    """Trace them, and from now on each when it is imported."""
    adapt()
    imports.watch(_imported)


def _imported(module: ModuleType) -> None:
    try:
        _adapt(module)
    except Exception as error:
        if programs(error):
            raise
        # Another version of the library: the program runs on.
        unseen.tell(module.__name__, f"not traced: {type(error).__name__}: {error}")


def _adapt(module: ModuleType) -> None:
    name = module.__name__
    unseen.look((name,))
    if name not in _ADAPTERS:
        return
    whole, adapter = _ADAPTERS[name]
    definition = vars(module).get(whole)
    if definition is None or id(definition) in _patched:
        return
    # What is adapted is kept, or another class could take its address.
    places = _patched[id(definition)] = [(module, whole, definition)]
    for owner, attribute, stand_in in adapter(module):
        places.append((owner, attribute, vars(owner).get(attribute, _patched)))
        setattr(owner, attribute, stand_in)


def restore() -> None:
    """Give the libraries their own methods back."""
    imports.unwatch()
    for entries in reversed(list(_patched.values())):
        for owner, attribute, original in reversed(entries[1:]):
            if original is _patched:
                delattr(owner, attribute)
            else:
                setattr(owner, attribute, original)
    _patched.clear()
    greenlets.leave()
