"""Standard modules that pass the socket's methods by: `ssl` works in C on the descriptor, and
`multiprocessing.connection` reads and writes a detached one. They are traced where they do that."""

from __future__ import annotations

import sys
from collections.abc import Callable
from select import POLLIN, POLLOUT
from types import ModuleType
from typing import Any

from sockfsm.record.layout import METHODS, NUMBER
from sockfsm.tracer.buffers import integer, octets
from sockfsm.tracer.likeness import like
from sockfsm.tracer.ongoing import Ongoing
from sockfsm.tracer.places import caller, inside
from sockfsm.tracer.rows import Tracked
from sockfsm.tracer.sockets import ready, released, tracked_by, unclaimed

Method = Callable[..., Any]


def _traced(
    original: Method, name: str, applies: Callable[[Any], Tracked | None], event: int
) -> Method:
    """`original`, logged as `name` where `applies` gives a model for the object."""
    method = NUMBER[name]
    receives = METHODS[method][1] == "recv"

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        tracked = applies(self)
        if tracked is None:
            return original(self, *args, **kwargs)
        size = _size(args[0]) if args else 0
        call = Ongoing(tracked, method, caller(), size)
        if tracked.mode != "nonblocking" and not _pending(self) and not _goes(self, event):
            call.waits()
        try:
            result = original(self, *args, **kwargs)
        except BaseException as error:
            call.failed(error)
            raise
        done = _moved(result) if receives or result is not None else size
        call.ok(done, outcome="eof" if receives and size and not done else "ok")
        return result

    return like(call, original)


def _size(value: Any) -> int:
    return max(integer(value), octets(value), 0)


def _moved(result: Any) -> int:
    if isinstance(result, int):
        return result
    if hasattr(result, "getbuffer"):
        return int(result.getbuffer().nbytes)
    return len(result) if isinstance(result, (bytes, bytearray)) else 0


def _pending(sock: Any) -> bool:
    """Whether decrypted bytes wait inside the TLS object."""
    return bool(getattr(sock, "_sslobj", None) and sock._sslobj.pending())


def _goes(sock: Any, event: int) -> bool:
    return ready(sock, event) if hasattr(sock, "_sslobj") else True


def _secured(sock: Any) -> Tracked | None:
    """The model of an SSL socket whose handshake has an SSL object; plain calls are traced below."""
    if sock._sslobj is None:
        return None
    return tracked_by(sock)


def _ssl(module: ModuleType) -> list[tuple[type, str, Method]]:
    inside(module.__file__ or "")
    cls = module.SSLSocket
    return [
        (cls, "read", _traced(cls.read, "ssl.read", _secured, POLLIN)),
        (cls, "send", _traced(cls.send, "ssl.write", _secured, POLLOUT)),
        (cls, "write", _traced(cls.write, "ssl.write", _secured, POLLOUT)),
        (cls, "do_handshake", _traced(cls.do_handshake, "ssl.do_handshake", _secured, POLLIN)),
        (cls, "unwrap", _traced(cls.unwrap, "ssl.unwrap", _secured, POLLIN)),
    ]


_handles: dict[int, Tracked] = {}


def _handled(connection: Any) -> Tracked | None:
    """The model behind a Connection: the socket that was detached to make it."""
    descriptor = connection._handle
    tracked = _handles.get(descriptor)
    if descriptor in unclaimed:
        model, row = unclaimed.pop(descriptor)
        model.row = row
        model.descriptors += 1
        tracked = _handles[descriptor] = Tracked(model)
        tracked.mode = "blocking"
    return tracked


def _connection(module: ModuleType) -> list[tuple[type, str, Method]]:
    inside(module.__file__ or "")
    cls = module.Connection
    close = cls._close

    def real_close(self: Any, *args: Any) -> None:
        tracked = _handled(self)
        _handles.pop(self._handle, None)
        call = Ongoing(tracked, NUMBER["close"], None) if tracked is not None else None
        close(self, *args)
        if tracked is not None and call is not None:
            released(tracked, call)

    return [
        (cls, "_send", _traced(cls._send, "Connection.send", _handled, POLLOUT)),
        (cls, "_recv", _traced(cls._recv, "Connection.recv", _handled, POLLIN)),
        (cls, "_close", real_close),
    ]


_ADAPTERS: dict[str, Callable[[ModuleType], list[tuple[type, str, Method]]]] = {
    "ssl": _ssl,
    "multiprocessing.connection": _connection,
}
_patched: dict[str, list[tuple[type, str, Any]]] = {}
_modules = 0


def adapt() -> None:
    """Trace those of the modules that the program has imported by now."""
    global _modules
    if len(sys.modules) == _modules:
        return
    _modules = len(sys.modules)
    for name, methods in _ADAPTERS.items():
        module = sys.modules.get(name)
        if module is None or name in _patched or not _whole(module, name):
            continue
        _patched[name] = []
        for cls, attribute, method in methods(module):
            _patched[name].append((cls, attribute, cls.__dict__[attribute]))
            setattr(cls, attribute, method)


def _whole(module: ModuleType, name: str) -> bool:
    """Whether the module's import has come far enough to have its class."""
    return hasattr(module, {"ssl": "SSLSocket"}.get(name, "Connection"))


def restore() -> None:
    """Give the modules their own methods back."""
    for entries in _patched.values():
        for cls, attribute, original in entries:
            setattr(cls, attribute, original)
    global _modules
    _modules = 0
    _patched.clear()
    _handles.clear()
