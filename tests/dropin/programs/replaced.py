"""Surroundings in which the program has replaced or removed what others rely on."""

from __future__ import annotations

import contextlib
import datetime
import errno
import importlib
import json
import os
import resource
import select
import socket
import struct
import sys
import threading
import time
from typing import Any
from unittest import mock

from lives import (
    Socket,
    datagrams,
    instance,
    kind,
    lives,
    say,
    secure,
    size,
    tcp,
    tried,
    udp,
    unix,
)


def clocks_replaced() -> None:
    frozen = lambda *args: 1e9  # noqa: E731
    with contextlib.ExitStack() as stack:
        for name in (
            "time",
            "monotonic",
            "perf_counter",
            "time_ns",
            "monotonic_ns",
            "perf_counter_ns",
            "clock_gettime",
        ):
            stack.enter_context(mock.patch.object(time, name, frozen))
        lives("frozen")
    for name in ("time", "monotonic", "monotonic_ns", "time_ns"):
        delattr(time, name)
    lives("deleted")


def freezegun_used() -> None:
    freezegun = importlib.import_module("freezegun")
    with freezegun.freeze_time("2001-01-01"):
        say("now", str(datetime.datetime.now()))
        lives("frozen")
        with socket.socket() as sock:
            sock.settimeout(0.01)
            sock.bind(("127.0.0.1", 0))
            sock.listen()
            tried("timeout", sock.accept)
    lives("thawed")


def time_machine_used() -> None:
    machine = importlib.import_module("time_machine")
    with machine.travel("2001-01-01", tick=False):
        say("now", str(datetime.datetime.now()))
        lives("travelled")
    lives("back")


def replaced(module: Any, name: str, value: Any = None) -> None:
    """Lives with one thing replaced, or deleted."""
    original = getattr(module, name)
    if value is None:
        delattr(module, name)
    else:
        setattr(module, name, value)
    try:
        for life in (tcp, udp, unix, datagrams):
            try:
                life(f"without {name} {life.__name__}")
            except BaseException as error:  # noqa: BLE001 - the standard library may need it
                say(
                    f"without {name} {life.__name__} failed",
                    f"{kind(error).__name__}{error.args!r}",
                )
    finally:
        setattr(module, name, original)


def functions_deleted() -> None:
    for module, names in {
        select: "poll select epoll POLLIN POLLOUT",
        socket: "SOL_SOCKET getdefaulttimeout SOCK_STREAM AF_INET socketpair timeout error IntEnum"
        " _intenum_converter dup",
        resource: "getrusage RUSAGE_THREAD",
        struct: "pack unpack Struct error calcsize pack_into",
        json: "dumps loads JSONEncoder",
        threading: "get_ident current_thread Lock RLock local _active main_thread",
        sys: "_getframe exc_info intern getrefcount",
        os: "getpid getppid path open fsencode fsdecode lseek ftruncate unlink remove lstat environ",
        time: "monotonic_ns clock_gettime_ns CLOCK_MONOTONIC",
    }.items():
        for name in names.split():
            if hasattr(module, name):
                replaced(module, name)


def functions_raise() -> None:
    def wrong(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("not for you")

    for module, names in {
        select: "poll select",
        os: "unlink remove open stat lstat fstat getpid fsencode fsdecode",
        threading: "get_ident current_thread",
        json: "dumps",
        struct: "pack",
        time: "monotonic_ns",
    }.items():
        for name in names.split():
            replaced(module, name, wrong)


def accepting() -> None:
    """What `accept` makes, when the program has its own ideas about it."""

    class Sub(Socket):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            say("Sub.__init__", (args, sorted(kwargs)))
            super().__init__(*args, **kwargs)

    class Own(Socket):
        def _accept(self) -> Any:
            say("_accept", "mine")
            return super()._accept()

        def accept(self) -> Any:
            say("accept", "mine")
            return super().accept()

    class Refusing(Socket):
        def _accept(self) -> Any:
            raise BlockingIOError(errno.EAGAIN, "not now")

    def function(*args: Any, **kwargs: Any) -> Any:
        say("function", (size(args), sorted(kwargs)))
        return Socket(*args, **kwargs)

    for name, replacement in {
        "subclass": Sub,
        "function": function,
        "mock": mock.Mock(side_effect=function),
    }.items():
        server = Socket()
        server.bind(("127.0.0.1", 0))
        server.listen()
        client = Socket()
        client.connect(server.getsockname())
        socket.socket = replacement  # type: ignore[assignment]
        try:
            data = tried(name, server.accept)
        finally:
            socket.socket = Socket
        say(name, data and kind(data[0]).__name__)
        client.close()
        server.close()
    for cls in (Own, Refusing):
        with cls() as server, Socket() as client:
            server.bind(("127.0.0.1", 0))
            server.listen()
            client.connect(server.getsockname())
            data = tried(cls.__name__, server.accept)
            say(cls.__name__, data and kind(data[0]).__name__)


def modules_removed() -> None:
    del sys.modules["socket"]
    again = importlib.import_module("socket")
    say("another", again is socket)
    one, two = again.socketpair()
    one.send(b"other class")
    say("read", two.recv(99))
    lives("old class")
    again.create_server(("127.0.0.1", 0)).close()


def reloaded() -> None:
    importlib.reload(socket)
    lives("reloaded")
    one = Socket()
    say("old class", (instance(one, socket.socket), kind(one) is socket.socket))
    one.close()


def own_modules_removed() -> None:
    for name in sorted(sys.modules):
        if name.split(".")[0] in (
            "sockfsm",
            "json",
            "struct",
            "ctypes",
            "mmap",
            "resource",
            "errno",
        ):
            del sys.modules[name]
    lives("removed")
    secure("removed")


def monkeypatched(name: str) -> None:
    """A framework that replaces the socket module, when it is installed."""
    try:
        module = importlib.import_module(name)
    except ImportError:
        say(name, "missing")
        return
    if name == "gevent":
        importlib.import_module("gevent.monkey").patch_all()
    else:
        module.monkey_patch()
    lives(name)


def gevent_patched() -> None:
    monkeypatched("gevent")


def eventlet_patched() -> None:
    # Beside trio it cannot be imported with the dnspython that it patches.
    os.environ["EVENTLET_NO_GREENDNS"] = "yes"
    monkeypatched("eventlet")
