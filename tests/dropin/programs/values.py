"""What a program may pass as an argument: right, wrong and strange, made anew for each case."""

from __future__ import annotations

import array
import collections
import ctypes
import enum
import io
import mmap
import sys
from collections.abc import Callable
from typing import Any

Factory = Callable[[], Any]
calls: list[str] = []
"""What was called of the objects below since the case began: nobody but the call itself may ask."""


class Index:
    """An integer by `__index__` alone."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __index__(self) -> Any:
        calls.append("__index__")
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


class Integer(int):
    """An int that says something else when it is asked."""

    def __index__(self) -> int:
        calls.append("int.__index__")
        return 99

    def __int__(self) -> int:
        calls.append("int.__int__")
        return 98

    def __repr__(self) -> str:
        calls.append("int.__repr__")
        return "Integer"


class Sized:
    """A length without a buffer."""

    def __len__(self) -> int:
        calls.append("__len__")
        return 3


class Bytes(bytes):
    """Bytes whose length is a lie."""

    def __len__(self) -> int:
        calls.append("bytes.__len__")
        return 1

    def __getitem__(self, key: Any) -> Any:
        calls.append("bytes.__getitem__")
        return super().__getitem__(key)


class Array(bytearray):
    """A bytearray whose length raises."""

    def __len__(self) -> int:
        calls.append("bytearray.__len__")
        raise RuntimeError("no length")


class Text(str):
    """A str with methods of its own."""

    __slots__ = ()

    def encode(self, *args: Any, **kwargs: Any) -> bytes:
        calls.append("str.encode")
        return super().encode(*args, **kwargs)

    def __str__(self) -> str:
        calls.append("str.__str__")
        return "other"


class Many:
    """An iterable of buffers."""

    def __init__(self, *items: Any) -> None:
        self.items = items

    def __iter__(self) -> Any:
        calls.append("__iter__")
        for item in self.items:
            if isinstance(item, Exception):
                raise item
            yield item


class Path:
    """A path by `__fspath__` alone."""

    def __init__(self, path: Any) -> None:
        self.path = path

    def __fspath__(self) -> Any:
        calls.append("__fspath__")
        if isinstance(self.path, Exception):
            raise self.path
        return self.path


class Buffer:
    """A buffer by `__buffer__` (PEP 688, Python 3.12)."""

    def __buffer__(self, flags: int, /) -> memoryview:
        calls.append("__buffer__")
        return memoryview(bytearray(b"buffer"))

    def __release_buffer__(self, view: memoryview, /) -> None:
        calls.append("__release_buffer__")


class Address(tuple[Any, ...]):
    """An address that tells who looks at it."""

    __slots__ = ()

    def __len__(self) -> int:
        calls.append("tuple.__len__")
        return 7

    def __getitem__(self, key: Any) -> Any:
        calls.append("tuple.__getitem__")
        return super().__getitem__(key)

    def __iter__(self) -> Any:
        calls.append("tuple.__iter__")
        return super().__iter__()


class Float:
    """A number by `__float__` alone."""

    def __float__(self) -> float:
        calls.append("__float__")
        return 0.5


class Truth:
    """An object that raises when it is asked for its truth, and when it is shown."""

    def __bool__(self) -> bool:
        calls.append("__bool__")
        raise RuntimeError("neither")

    def __repr__(self) -> str:
        calls.append("__repr__")
        raise RuntimeError("not shown")


class Number(enum.IntEnum):
    """An int with a name."""

    TWO = 2


class Structure(ctypes.Structure):
    """A buffer of another make."""

    _fields_ = (("a", ctypes.c_double), ("b", ctypes.c_int))


Named = collections.namedtuple("Named", "host port")


def released() -> memoryview:
    """A memoryview that is no more."""
    view = memoryview(bytearray(b"released"))
    view.release()
    return view


def mapped() -> mmap.mmap:
    """Memory of nobody's file."""
    area = mmap.mmap(-1, 4096)
    area.write(b"mapped")
    return area


def closed() -> mmap.mmap:
    """A mapping that is no more."""
    area = mmap.mmap(-1, 4096)
    area.close()
    return area


INTEGERS = (
    0,
    1,
    -1,
    2,
    3,
    5,
    10,
    64,
    1000,
    2**15,
    2**16,
    2**31 - 1,
    2**31,
    2**32,
    2**40,
    2**63 - 1,
)
HUGE = (2**63, 2**64, 2**100, -(2**31), -(2**31) - 1, -(2**63), -(2**63) - 1)

NUMBERS: dict[str, Factory] = {
    **{str(number): (lambda number=number: number) for number in (*INTEGERS, *HUGE)},
    "True": lambda: True,
    "False": lambda: False,
    "1.0": lambda: 1.0,
    "0.0": lambda: 0.0,
    "0.001": lambda: 0.001,
    "-0.5": lambda: -0.5,
    "inf": lambda: float("inf"),
    "nan": lambda: float("nan"),
    "Index(5)": lambda: Index(5),
    "Index(0)": lambda: Index(0),
    "Index(-1)": lambda: Index(-1),
    "Index(2**70)": lambda: Index(2**70),
    "Index(True)": lambda: Index(True),
    "Index('x')": lambda: Index("x"),
    "Index(raises)": lambda: Index(KeyError("index")),
    "Index(EAGAIN)": lambda: Index(BlockingIOError(11, "index")),
    "Integer(2)": lambda: Integer(2),
    "IntEnum": lambda: Number.TWO,
    "Float()": Float,
    "Truth()": Truth,
}
OTHERS: dict[str, Factory] = {
    "None": lambda: None,
    "object": lambda: object,
    "[]": list,
    "{}": dict,
    "()": lambda: (),
    "''": lambda: "",
    "'1'": lambda: "1",
    "'text'": lambda: "text",
    "'nul\\0'": lambda: "nul\0nul",
    "surrogate": lambda: "\ud800",
    "escaped": lambda: "\udcff",
    "umlaut": lambda: "\xfc",
    "Text": lambda: Text("text"),
    "Sized": Sized,
    "Path": lambda: Path("text"),
    "Path(bytes)": lambda: Path(b"text"),
    "Path(1)": lambda: Path(1),
    "Path(raises)": lambda: Path(KeyError("path")),
    "lambda": lambda: len,
    "range": lambda: range(3),
}
BUFFERS: dict[str, Factory] = {
    "b''": lambda: b"",
    "b'octets'": lambda: b"octets",
    "b'nul\\0'": lambda: b"nul\0nul",
    "Bytes": lambda: Bytes(b"octets"),
    "bytearray": lambda: bytearray(b"twelve bytes"),
    "bytearray()": bytearray,
    "Array": lambda: Array(b"array"),
    "Buffer": Buffer,
    "BytesIO": lambda: io.BytesIO(b"in a file").getbuffer(),
    "mmap": mapped,
    "mmap.closed": closed,
    "ctypes.double*3": lambda: (ctypes.c_double * 3)(1, 2, 3),
    "ctypes.char*5": lambda: (ctypes.c_char * 5)(),
    "ctypes.int": lambda: ctypes.c_int(5),
    "ctypes.struct": lambda: Structure(1, 2),
    "view.released": released,
    "view.readonly": lambda: memoryview(b"read only"),
    "view.writable": lambda: memoryview(bytearray(b"writable")),
    "view.gaps": lambda: memoryview(bytearray(b"with gaps"))[::2],
    "view.reversed": lambda: memoryview(bytearray(b"reversed"))[::-1],
    "view.empty": lambda: memoryview(bytearray()),
    "view.2d": lambda: memoryview(bytearray(12)).cast("B", (3, 4)),
    "view.scalar": lambda: memoryview(bytearray(8)).cast("d", ()),
    "list of octets": lambda: [b"ab", bytearray(b"cd")],
    "list of arrays": lambda: [array.array("d", (1, 2)), bytearray(b"cd")],
    "tuple of views": lambda: (memoryview(bytearray(b"abc")), bytearray(3)),
    "Many": lambda: Many(bytearray(b"ab"), bytearray(b"cd")),
    "Many(raises)": lambda: Many(bytearray(b"ab"), KeyError("many")),
    "Many(None)": lambda: Many(None),
    "generator": lambda: (bytearray(2) for _ in range(2)),
    "1025 buffers": lambda: [bytearray(1)] * 1025,
    "ancillary": lambda: [(1, 1, array.array("i", ()))],
    "ancillary.wrong": lambda: [(1, 1)],
    "ancillary.None": lambda: [(1, 1, None)],
    **{
        f"array({code})": (lambda code=code: array.array(code, "abc" if code == "u" else (1, 2, 3)))
        for code in "bBuhHiIlLqQfd"
    },
    **{
        f"view({code})": (lambda code=code: memoryview(bytearray(24)).cast(code))
        for code in "bBchHiIlLqQnNfdP?"
    },
}
if sys.modules.get("numpy"):
    import numpy

    BUFFERS["numpy.double"] = lambda: numpy.arange(5.0)
    BUFFERS["numpy.gaps"] = lambda: numpy.arange(10)[::2]
    BUFFERS["numpy.fortran"] = lambda: numpy.asfortranarray(numpy.ones((2, 3)))
    NUMBERS["numpy.int64"] = lambda: numpy.int64(5)


def addresses(port: int, folder: str) -> dict[str, Factory]:
    """Addresses of all families. port: somebody listens or reads there; folder: for UNIX paths."""
    here = "127.0.0.1"
    inet: dict[str, Any] = {
        "inet": (here, port),
        "inet.any": (here, 0),
        "inet.empty": ("", 0),
        "inet.refused": (here, 1),
        "inet.bytes": (b"127.0.0.1", port),
        "inet.bytearray": (bytearray(b"127.0.0.1"), port),
        "inet.view": (memoryview(b"127.0.0.1"), port),
        "inet.Text": (Text(here), port),
        "inet.None": (None, port),
        "inet.int": (1, port),
        "inet.nul": ("127.0.0.1\0", port),
        "inet.bytes.nul": (b"127.0.0.1\0", port),
        "inet.surrogate": ("\ud800", port),
        "inet.long": ("a" * 70 + ".b", port),
        "inet.dots": ("a..b", port),
        "inet.six": ("::1", port),
        "inet.1": (here,),
        "inet.3": (here, port, 0),
        "inet.4": (here, port, 0, 0),
        "inet.list": [here, port],
        "inet.Address": Address((here, port)),
        "inet.Named": Named(here, port),
        "inet.Index": (here, Index(port)),
        "inet.Index(raises)": (here, Index(KeyError("port"))),
        "inet.Integer": (here, Integer(port)),
        "unix.missing": f"{folder}/missing/path",
        "unix.bytes": f"{folder}/b".encode(),
        "unix.bytearray": bytearray(f"{folder}/ba".encode()),
        "unix.view": memoryview(f"{folder}/mv".encode()),
        "unix.Text": Text(f"{folder}/text"),
        "unix.Path": Path(f"{folder}/path"),
        "unix.Path(raises)": Path(KeyError("path")),
        "unix.folder": folder,
        "unix.108": "x" * 108,
        "unix.109": "x" * 109,
        "unix.nul": f"{folder}/nul\0nul",
        "unix.escaped": f"{folder}/\udcff",
        "unix.surrogate": f"{folder}/\ud800",
        "unix.abstract": f"\0{folder}/abstract",
        "unix.abstract.bytes": f"\0{folder}/abstractb".encode(),
        "unix.empty": "",
        "unix.file": f"{folder}/file",
    }
    bad: Any
    for bad in (-1, 65535, 65536, 2**31, 2**63, 2**100, 1.0, 0.0, "80", "", b"80", None, True, []):
        inet[f"inet.port={bad!r}"] = (here, bad)
    # A mutable address is made anew by `inet.list` and the buffers being left alone by sockets.
    return {name: (lambda value=value: value) for name, value in inet.items()}
