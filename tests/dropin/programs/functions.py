"""The functions beside the methods, with every kind of argument: a line for each case."""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import values
from arguments import attempt, plain, shown, warned

faulthandler.dump_traceback_later(540, exit=True)

Maker = Callable[[], Any]


class Surroundings:
    """What the functions work on: a folder, descriptors, somebody who listens."""

    def __init__(self) -> None:
        self.folder = tempfile.mkdtemp(dir="/tmp", prefix="f")
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.descriptor = os.open(self.folder, os.O_RDONLY)
        one, self.kept = socket.socketpair()
        self.pair = one.detach()

    def fresh(self) -> None:
        """Before each case: a file, a socket and a link to remove."""
        for entry in os.scandir(self.folder):
            (shutil.rmtree if entry.is_dir(follow_symlinks=False) else os.unlink)(entry.path)
        os.mkdir(self.path("folder"))
        with open(self.path("file"), "w"), socket.socket(socket.AF_UNIX) as sock:
            sock.bind(self.path("socket"))
        os.symlink(self.path("socket"), self.path("link"))

    def path(self, name: str) -> str:
        """A path in our folder."""
        return f"{self.folder}/{name}"

    def duplicate(self) -> int:
        """A descriptor of a socket that the case may close."""
        return os.dup(self.pair)

    def resolved(self) -> dict[str, tuple[Callable[..., Any], dict[str, Maker], int]]:
        """Function -> (it, its parameters' good values, how many are positional)."""
        here = "127.0.0.1"
        numeric = socket.AI_NUMERICHOST
        made = {"family": lambda: socket.AF_INET, "type": lambda: 1, "proto": lambda: 0}
        removal = {"path": lambda: self.path("socket"), "dir_fd": lambda: None}
        return {
            "socket": (socket.socket, {**made, "fileno": lambda: None}, 4),
            "socket.fileno": (
                lambda *a, **k: socket.socket(-1, -1, -1, *a, **k),
                {"fileno": self.duplicate},
                1,
            ),
            "socket.subclass": (
                type(
                    "Sub",
                    (socket.socket,),
                    {"__init__": lambda s, *a, **k: socket.socket.__init__(s, *a, **k)},
                ),
                {**made, "fileno": self.duplicate},
                4,
            ),
            "socketpair": (socket.socketpair, {**made, "family": lambda: socket.AF_UNIX}, 3),
            "fromfd": (socket.fromfd, {"fd": self.duplicate, **made}, 4),
            "create_connection": (
                socket.create_connection,
                {
                    "address": lambda: (here, self.port),
                    "timeout": lambda: 1,
                    "source_address": lambda: (here, 0),
                    "all_errors": lambda: False,
                },
                3,
            ),
            "create_server": (
                socket.create_server,
                {
                    "address": lambda: (here, 0),
                    "family": lambda: socket.AF_INET,
                    "backlog": lambda: None,
                    "reuse_port": lambda: False,
                    "dualstack_ipv6": lambda: False,
                },
                1,
            ),
            "getaddrinfo": (
                # Numbers only: a name would be asked for on the network.
                lambda *a, **k: socket.getaddrinfo(
                    *a, **{**({"flags": numeric} if len(a) < 6 else {}), **k}
                ),
                {
                    "host": lambda: here,
                    "port": lambda: 80,
                    "family": lambda: 0,
                    "type": lambda: 1,
                    "proto": lambda: 0,
                    "flags": lambda: numeric,
                },
                6,
            ),
            "dup": (socket.dup, {"fd": self.duplicate}, 1),
            "close": (socket.close, {"fd": self.duplicate}, 1),
            "unlink": (os.unlink, removal, 1),
            "remove": (os.remove, removal, 1),
            "send_fds": (
                socket.send_fds,
                {
                    "sock": lambda: self.kept,
                    "buffers": lambda: [b"x"],
                    "fds": lambda: [0],
                    "flags": lambda: 0,
                    "address": lambda: None,
                },
                5,
            ),
            "setdefaulttimeout": (socket.setdefaulttimeout, {"timeout": lambda: None}, 1),
        }


def cases(
    good: dict[str, Maker], positional: int, every: dict[str, values.Factory]
) -> Iterator[tuple[str, Callable[[], tuple[Any, ...]], Callable[[], dict[str, Any]]]]:
    """(what it is, maker of the arguments, maker of the keywords) of all cases of a function."""
    names = list(good)
    for count in range(len(names) + 2):
        chosen = [*names[:count], *names[:1] * (count - len(names))]
        yield f"{count} arguments", lambda c=chosen: tuple(good[name]() for name in c), dict
    yield "unknown keyword", tuple, lambda: {"nonsense": 1}
    for at, name in enumerate(names):
        for value, make in every.items():
            if at < positional:
                yield (
                    f"{name}={value}",
                    lambda at=at, make=make: (*(good[n]() for n in names[:at]), make()),
                    dict,
                )
            yield (
                f"{name}={value} as keyword",
                lambda at=at: (good[names[0]](),) if at else (),
                lambda name=name, make=make: {name: make()},
            )


def one(
    around: Surroundings, function: Any, make: Callable[[], Any], keys: Callable[[], Any]
) -> str:
    """One case, as text."""
    if function in (os.unlink, os.remove):
        around.fresh()
    arguments, keywords = make(), keys()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        values.calls.clear()
        told = attempt(function, arguments, keywords)
        asked = " ".join(values.calls)
    socket.setdefaulttimeout(None)
    left = " ".join(sorted(os.listdir(around.folder)))
    told += f" | {shown(list(arguments))} | {asked} | {left}"
    told += "".join(map(warned, caught))
    around.server.settimeout(0)
    try:
        around.server.accept()[0].close()
    except BlockingIOError:
        told += " | nobody came"
    keep = {0, 1, 2, around.server.fileno(), around.kept.fileno(), around.pair, around.descriptor}
    for name in os.listdir("/proc/self/fd"):
        # A number that the case made up may be a descriptor of ours, and closed by it.
        if int(name) not in keep and int(name) < 50:
            try:
                os.close(int(name))
            except OSError:
                continue
            told += f" | {name} was open"
    return plain(told, around.folder)


DANGEROUS = ("fileno", "fd", "fds")
"""Parameters that take a descriptor: a low number would close what we need."""


def main() -> None:
    """All functions."""
    # Fixed ports are bound: where we may, in a network that the other run does not share.
    if ctypes.CDLL(None).unshare(0x40000000) == 0:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    gc.disable()
    gc.freeze()
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    around = Surroundings()
    around.fresh()
    os.chdir(around.folder)  # see arguments.py
    every = {
        **values.NUMBERS,
        **values.OTHERS,
        **values.BUFFERS,
        **values.addresses(around.port, around.folder),
        "path": lambda: around.path("text"),
        "path.folder": lambda: around.path("folder"),
        "path.link": lambda: around.path("link"),
        "path.bytes": lambda: around.path("socket").encode(),
        "path.Path": lambda: values.Path(around.path("socket")),
        "folder": lambda: around.descriptor,
    }
    names = [name for name in every if name.startswith("inet.") and name != "inet.surrogate"]
    try:
        for name, (function, good, positional) in around.resolved().items():
            for what, make, keys in cases(good, positional, every):
                parameter, _, value = what.partition("=")
                value = value.removesuffix(" as keyword")
                if parameter in DANGEROUS and (
                    value in ("fd", "range") or not risky(every.get(value))
                ):
                    continue
                if (
                    value in names
                    and name in ("create_connection", "create_server")
                    and looked_up(value)
                ):
                    continue
                print(f"{name} {what} -> {one(around, function, make, keys)}")
            gc.collect()
    finally:
        shutil.rmtree(around.folder)


def looked_up(value: str) -> bool:
    """Whether the host's name would be asked for on the network."""
    return value in ("inet.nul", "inet.bytes.nul", "inet.dots", "inet.long", "inet.int")


def risky(make: values.Factory | None) -> bool:
    """Whether a value may stand for a descriptor: not one that is open."""
    value = make() if make is not None else None
    number = getattr(value, "value", value)
    return not (isinstance(number, int) and 0 <= number < 50)


if __name__ == "__main__":
    main(*sys.argv[1:])
