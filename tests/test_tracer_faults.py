"""Whatever goes wrong between any two steps of a traced call: the program does not notice what is ours,
and what the kernel has done is written down, or told as lost."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType, FunctionType
from typing import Any

import greenlet  # noqa: F401 - with it more of ours runs: threads' numbers are greenlets'
import pytest

import sockfsm
from sockfsm.record.layout import BEGUN, SEAL, STANDARD
from sockfsm.record.writer import Log
from sockfsm.tracer import current

HOME = str(Path(sockfsm.__file__).parent) + os.sep


class StopError(Exception):
    """What a signal handler of the program's raises."""


ENTRIES = frozenset(
    {
        *("_asks", "_looking", "_may_wait", "begin_birth", "begun", "caller", "foresee", "given"),
        *(
            "go_on",
            "integer",
            "invoke",
            "is_socket",
            "receive",
            "refused",
            "settle",
            "slowly",
            "told",
        ),
        *("wait", "waited"),
    }
)
"""What the methods call first. Without room for these nobody can do anything."""


class Fault:
    """Raises at one of the steps of our code: at a call of a function, or when C comes back.

    The entry of the method itself does not count, nor do ENTRIES. kernel: for a signal handler, the
    function by which the kernel is asked; it comes after that.
    """

    def __init__(self, number: int, ours: type[BaseException] | None, kernel: str) -> None:
        self.left, self.ours, self.kernel = number, ours, kernel
        self.asked = ours is not None
        self.where = ""

    def __call__(self, frame: FrameType, event: str, arg: Any) -> None:
        code, above = frame.f_code, frame.f_back
        name = code.co_name if event in ("call", "return") else arg.__name__
        if not self.asked:
            self.asked = name == self.kernel and event in ("return", "c_return")
            return
        if not code.co_filename.startswith(HOME) or code.co_name == "__del__":
            return
        if self.ours is None:
            skipped = event not in ("call", "c_return")
        else:
            # Nothing of C in the method itself needs more memory than a number. What goes wrong in
            # the kernel's call is the program's to hear.
            first = arg is len or above is None or not above.f_code.co_filename.startswith(HOME)
            kernel = event == "c_call" and arg.__qualname__.startswith("socket.")
            entry = event == "call" and name in ENTRIES
            skipped = first or kernel or entry or event not in ("call", "c_call")
        if skipped:
            return
        if self.left:
            self.left -= 1
            return
        sys.setprofile(None)
        self.where = f"{event} {name} at {Path(code.co_filename).name}:{frame.f_lineno}"
        raise (self.ours or StopError)(self.where)


_strike = Fault.__call__.__code__


class OurFault(Fault):
    """As our own code would raise."""

    __call__ = FunctionType(_strike.replace(co_filename=f"{HOME}tracer/injected.py"), globals())


def faults(ours: type[BaseException] | None, kernel: str = "") -> Iterator[Fault]:
    """One fault after the other, until a call has no further steps."""
    number = 0
    while True:
        fault = (OurFault if ours else Fault)(number, ours, kernel)
        yield fault
        if not fault.where:
            return
        number += 1


@contextmanager
def struck(fault: Fault) -> Iterator[None]:
    sys.setprofile(fault)
    try:
        yield
    finally:
        sys.setprofile(None)


class World:
    """Sockets for one call."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.near, self.far = socket.socketpair()
        self.far.setblocking(False)
        self.udp, self.sink = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in "12")
        self.sink.bind(("127.0.0.1", 0))
        self.sink.setblocking(False)
        self.fresh = socket.socket()
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.spare: list[socket.socket] = []
        self.path = str(folder / "path")

    def close(self) -> None:
        every = (
            self.near,
            self.far,
            self.udp,
            self.sink,
            self.fresh,
            self.listening,
            *self.spare,
        )
        for sock in every:
            with suppress(OSError):
                sock.close()
        with suppress(OSError):
            os.unlink(self.path)


Act = Callable[[World], Any]


def _dup2(world: World) -> None:
    os.dup2(world.far.fileno(), world.near.fileno())


def _connected(world: World) -> None:
    world.spare.append(socket.create_connection(world.listening.getsockname()))


def _sent(world: World) -> None:
    world.far.send(b"x")


def _bound(world: World) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(world.path)


def _port(world: World) -> object:
    return world.fresh.getsockname()[1]


CALLS: dict[str, tuple[Act, Act, Act]] = {
    # name: what comes first, the call, whether the kernel has done it
    "bind": (
        lambda w: 0,
        lambda w: w.fresh.bind(("127.0.0.1", 0)),
        lambda w: w.fresh.getsockname()[1],
    ),
    "listen": (lambda w: 0, lambda w: w.fresh.listen(), lambda w: w.fresh.getsockopt(1, 30)),
    "connect": (
        lambda w: 0,
        lambda w: w.fresh.connect(w.listening.getsockname()),
        lambda w: w.fresh.getsockname()[1],
    ),
    "connect_ex": (
        lambda w: 0,
        lambda w: w.fresh.connect_ex(w.listening.getsockname()),
        lambda w: w.fresh.getsockname()[1],
    ),
    "shutdown": (lambda w: 0, lambda w: w.near.shutdown(1), lambda w: w.far.recv(1) == b""),
    "close": (lambda w: 0, lambda w: w.near.close(), lambda w: w.near.fileno() < 0),
    "detach": (lambda w: 0, lambda w: os.close(w.near.detach()), lambda w: w.near.fileno() < 0),
    "send": (lambda w: 0, lambda w: w.near.send(b"x"), lambda w: w.far.recv(1)),
    "sendall": (lambda w: 0, lambda w: w.near.sendall(b"x"), lambda w: w.far.recv(1)),
    "send with flags": (lambda w: 0, lambda w: w.near.send(b"x", 0), lambda w: w.far.recv(1)),
    "sendto": (
        lambda w: 0,
        lambda w: w.udp.sendto(b"x", w.sink.getsockname()),
        lambda w: w.sink.recv(1),
    ),
    "sendmsg": (lambda w: 0, lambda w: w.near.sendmsg([b"x"]), lambda w: w.far.recv(1)),
    "recv": (_sent, lambda w: w.near.recv(1), lambda w: True),
    "recv with flags": (_sent, lambda w: w.near.recv(1, 0), lambda w: True),
    "recv_into": (_sent, lambda w: w.near.recv_into(bytearray(1)), lambda w: True),
    "recvfrom": (_sent, lambda w: w.near.recvfrom(1), lambda w: True),
    "recvmsg": (_sent, lambda w: w.near.recvmsg(1), lambda w: True),
    "accept": (_connected, lambda w: w.spare.append(w.listening.accept()[0]), lambda w: True),
    "socket": (lambda w: 0, lambda w: w.spare.append(socket.socket()), lambda w: True),
    "getaddrinfo": (lambda w: 0, lambda w: socket.getaddrinfo("127.0.0.1", 1), lambda w: True),
    "unlink": (_bound, lambda w: os.unlink(w.path), lambda w: not os.path.exists(w.path)),
    "dup2": (lambda w: 0, _dup2, lambda w: True),
}
QUIET: dict[str, Act] = {
    "settimeout": lambda w: w.near.settimeout(9),
    "setsockopt": lambda w: w.near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1),
    "getsockopt": lambda w: w.near.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR),
    "dup": lambda w: w.spare.append(w.near.dup()),
    "socketpair": lambda w: w.spare.extend(socket.socketpair()),
    "missing": lambda w: os.path.exists(w.path) or os.path.lexists(w.path),
}


@pytest.mark.parametrize("name", [*CALLS, *QUIET])
def test_what_goes_wrong_in_our_steps_is_not_the_programs(name: str, tmp_path: Path) -> None:
    before, act, done = CALLS[name] if name in CALLS else (lambda w: 0, QUIET[name], lambda w: True)
    wrong = []
    for fault in faults(MemoryError):
        with sockfsm.tracing(tmp_path / "trace"):
            world = World(tmp_path)
            before(world)
            try:
                with struck(fault):
                    act(world)
            except MemoryError:
                wrong.append(fault.where)
            else:
                if not done(world):
                    wrong.append(f"{fault.where}: not done")
            world.close()
    assert not wrong


def told(log: Log) -> int:
    """Calls that are written down, or counted as lost."""
    files = log._now.files
    assert files is not None
    slots = struct.iter_unpack(STANDARD, log._now.memory)
    next(slots)
    calls: int = sum(0 < head & 0xFF < SEAL and not head & BEGUN for _, _, head, *_ in slots)
    lost: int = files.head.lost
    return calls + lost + log._uncounted + len(log.untold) + log.marked[0]


KERNEL = {"socket": "__init__", "close": "_real_close"}
"""Call -> what asks the kernel, where that has another name."""


# What the kernel gave and the handler kept from the program, nobody closes.
@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.parametrize("name", CALLS)
def test_what_a_signal_handler_cuts_off_is_written_or_told_as_lost(
    name: str, tmp_path: Path
) -> None:
    before, act, _ = CALLS[name]
    silent = []
    for fault in faults(None, KERNEL.get(name, name.partition(" ")[0])):
        with sockfsm.tracing(tmp_path / "trace"):
            world = World(tmp_path)
            before(world)
            log = current.session.log
            begun = told(log)
            with suppress(StopError), struck(fault):
                act(world)
            if told(log) == begun:
                silent.append(fault.where)
            world.close()
        shutil.rmtree(tmp_path / "trace")
    assert not silent
