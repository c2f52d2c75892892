"""Every method of a socket with every kind of argument; one line says what came of each case.

    arguments.py KIND MODE [CLASS [every|few [STATE ...]]]

Every value is tried in the connected state, a few of them in the others. The values are put
in the place of each parameter in turn, beside good ones for the others; counts
and keywords are wrong in every way. Two runs of it, plain and traced, must print the same.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import re
import resource
import shutil
import socket
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import scenes
import values

faulthandler.dump_traceback_later(540, exit=True)

# To go through a released view, Python reads memory that is the view's no more: anything may follow.
UNDEFINED = ("buffers=view.released", "ancdata=view.released")

# Method -> its parameters: (name, class of values that fit best). All classes are tried.
PARAMETERS: dict[str, str] = {
    "accept": "",
    "bind": "address",
    "close": "",
    "connect": "address",
    "connect_ex": "address",
    "detach": "",
    "dup": "",
    "fileno": "",
    "get_inheritable": "",
    "getpeername": "",
    "getsockname": "",
    "getsockopt": "level option buflen",
    "gettimeout": "",
    "getblocking": "",
    "listen": "backlog",
    "makefile": "mode buffering",
    "recv": "buffersize flags",
    "recv_into": "buffer nbytes flags",
    "recvfrom": "buffersize flags",
    "recvfrom_into": "buffer nbytes flags",
    "recvmsg": "buffersize ancbufsize flags",
    "recvmsg_into": "buffers ancbufsize flags",
    "send": "data flags",
    "sendall": "data flags",
    "sendfile": "file offset count",
    "sendmsg": "buffers ancdata flags address",
    "sendto": "data flags address",
    "set_inheritable": "inheritable",
    "setblocking": "flag",
    "setsockopt": "level option value optlen",
    "settimeout": "value",
    "shutdown": "how",
    "_accept": "",
    "_real_close": "",
    "_decref_socketios": "",
    "__enter__": "",
    "__repr__": "",
    "__getstate__": "",
}
GOOD: dict[str, Any] = {
    "ancbufsize": 0,
    "ancdata": [],
    "backlog": 3,
    "buffering": 0,
    "buffers": [bytearray(b"good"), bytearray(b"data")],
    "buffersize": 8,
    "buflen": 4,
    "count": 4,
    "data": b"good data",
    "flag": True,
    "flags": 0,
    "how": socket.SHUT_WR,
    "inheritable": True,
    "level": socket.SOL_SOCKET,
    "mode": "rb",
    "nbytes": 4,
    "offset": 1,
    "option": socket.SO_ERROR,
    "optlen": 4,
    "value": 1,
}
FEW = (
    "0 -1 5 9223372036854775808 1.0 None '' b'octets' array(d) view.gaps Index(5)"
    " Index(raises) Integer(2) inet unix.bytes inet.port=-1 inet.Address inet.refused unix.missing"
)
"""Beyond the connected state these are tried."""


class Cases:
    """All cases of one kind of socket, in one mode."""

    def __init__(self, kind: str, mode: str, cls: str) -> None:
        self.folder = tempfile.mkdtemp(dir="/tmp", prefix="a")
        self.scene = scenes.Scene(kind, mode, self.folder, scenes.CLASSES[cls])
        self.values: dict[str, values.Factory] = {
            **values.NUMBERS,
            **values.OTHERS,
            **values.BUFFERS,
            **values.addresses(self.scene.port, self.folder),
        }
        few = [name for name in self.values if f" {name} " in f" {FEW} "]
        self.few = {name: self.values[name] for name in few}

    def good(self, parameter: str) -> Any:
        """A value that fits."""
        if parameter == "address":
            return self.scene.address
        if parameter == "file":
            self.scene.file.seek(0)
            return self.scene.file
        if parameter == "buffer":
            return bytearray(9)
        return GOOD[parameter]

    def calls(
        self, method: str, many: bool
    ) -> Iterator[tuple[str, Callable[[], Any], dict[str, Any]]]:
        """(what it is, a maker of the arguments, the keywords) of all cases of a method."""
        names = PARAMETERS[method].split()
        every = dict(self.values if many else self.few)
        if method == "sendfile":
            every.pop("Index(EAGAIN)", None)  # it waits and tries again, for ever
        for count in range(len(names) + 2):
            good = [*names[:count], *["flags"] * (count - len(names))]
            yield f"{count} arguments", lambda good=good: [*map(self.good, good)], {}
        for at, name in enumerate(names):
            for value, make in every.items():
                for count in sorted({at + 1, len(names)} if many else {at + 1}):
                    yield (
                        f"{name}={value} of {count}",
                        lambda at=at, make=make, count=count: [
                            make() if i == at else self.good(other)
                            for i, other in enumerate(names[:count])
                        ],
                        {},
                    )
            before = names[:at]
            yield (
                f"{name}=good as keyword",
                lambda b=before: [*map(self.good, b)],
                {name: self.good(name)},
            )
        yield "unknown keyword", lambda: [*map(self.good, names)], {"nonsense": 1}

    def run(self, state: str, amount: str) -> None:
        """Print a line for each case in a state."""
        many = state == "connected" and amount == "every"
        for method in PARAMETERS:
            for what, make, keywords in self.calls(method, many):
                if what.startswith(UNDEFINED):
                    continue
                print(f"{state} {method} {what} -> {self.one(state, method, make, keywords)}")
            gc.collect()
            self.tidy()

    def one(
        self, state: str, method: str, make: Callable[[], Any], keywords: dict[str, Any]
    ) -> str:
        """One case, as text."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with self.scene.set(state) as (sock, peer):
                arguments = make()
                called = getattr(sock, method)
                values.calls.clear()
                told = attempt(called, arguments, keywords)
                asked = " ".join(values.calls)
                told += f" | {shown(arguments)} | {asked} | {self.scene.left(sock, peer)}"
                del arguments, sock, peer, called
        told += "".join(map(warned, caught))
        if self.scene.family == socket.AF_UNIX:
            self.tidy()
        return plain(told, self.folder)

    def tidy(self) -> None:
        """Take away the paths that the case bound."""
        for entry in os.scandir(self.folder):
            if entry.name != "file" and entry.path != self.scene.address:
                os.unlink(entry.path)


def warned(warning: warnings.WarningMessage) -> str:
    """A warning, with the place that it is said to come from."""
    place = f"{os.path.basename(warning.filename)}:{warning.lineno}"
    return f" | {warning.category.__name__}: {warning.message} at {place}"


def attempt(called: Callable[..., Any], arguments: Any, keywords: dict[str, Any]) -> str:
    """What a call gives or raises, whole."""
    try:
        result = called(*arguments, **keywords)
    except BaseException as error:  # noqa: BLE001 - it is what we look for
        return raised(error)
    told = f"{type(result).__name__} {shown(result)}"
    for each in result if isinstance(result, tuple) else [result]:
        if isinstance(each, socket.socket) or hasattr(each, "readable"):
            each.close()
    return told


def raised(error: BaseException | None) -> str:
    """An exception and those behind it."""
    if error is None:
        return ""
    told = f"{type(error).__name__}{error.args!r} {error!s}"
    if isinstance(error, OSError):
        told += f" {error.errno} {error.strerror!r} {error.filename!r}"
    told += f" notes={getattr(error, '__notes__', None)}" if hasattr(error, "__notes__") else ""
    for behind in (error.__cause__, error.__context__):
        told += f" <- {raised(behind)}" if behind is not None else ""
    return told


def shown(value: Any) -> str:
    """A value as text, without calling what a program wrote."""
    if isinstance(value, (list, tuple)):
        return f"({', '.join(map(shown, list(value)))})"
    if isinstance(value, socket.socket):
        return f"<{type(value).__name__} {value.fileno()} {value.gettimeout()}>"
    if type(value) in (int, float, str, bytes, bool, type(None)):
        return repr(value)
    try:
        return f"{type(value).__name__}:{bytes(memoryview(value))!r}"[:200]
    except (TypeError, ValueError, BufferError):
        return f"<{type(value).__name__}>"


def plain(text: str, folder: str) -> str:
    """Without what changes from run to run: ports, places, addresses in memory."""
    text = re.sub(r"0x[0-9a-f]{6,}", "0x", text.replace(folder, "FOLDER"))
    # Of methods in C the text depends on how they are called: bound before, or by sock.recv(...).
    text = re.sub(r"\b\w+\.(\w+\(\) takes (no keyword|exactly|at))", r"\1", text)
    text = re.sub(r"\b(3[2-9]|[45]\d|60)\d{3}\b", "PORT", text)
    return re.sub(r"FOLDER/\d+", "FOLDER/N", text).encode("utf-8", "backslashreplace").decode()


def main(kind: str, mode: str, cls: str = "socket", amount: str = "every", *states: str) -> None:
    """All cases of a kind and a mode."""
    gc.disable()
    gc.freeze()  # the modules are no garbage, and are not looked through after every method
    # What asks for gigabytes gets a MemoryError, at once.
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    cases = Cases(kind, mode, cls)
    # Names without a folder are bound here, and not where the other run binds them.
    os.chdir(cases.folder)
    try:
        for state in states or scenes.states(kind):
            cases.run(state, amount)
    finally:
        shutil.rmtree(cases.folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
