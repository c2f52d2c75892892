"""What a note of a call log may say: a form for each kind of note, by the key that names it.

Notes have file names, addresses and thread names as the program had them, so text may be anything;
names of ours (methods, kinds, states) are printable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypedDict

from msgspec import Meta

from sockfsm.schema import Name, Natural, Number32, Pid, Whole, check, word

# A program may give anything for an address: `tracer.addresses` makes plain data of it.
_Item = int | bool | str | None
_Address = _Item | list[_Item | list[_Item | list[_Item | list[_Item | list[_Item]]]]]
_Methods = Annotated[list[tuple[Annotated[str, Meta(max_length=200)], str]], Meta(max_length=255)]
_States = Annotated[list[Name], Meta(max_length=0xFFF)]

_Begun = TypedDict(
    "_Begun",
    {
        "pid": Pid,
        "parent": Pid,
        "from": str,
        "inherits": Number32,
        "command": list[str],
        "monotonic": Natural,
        "wall": Natural,
        "methods": _Methods,
    },
)


class _Header(_Begun, total=False):
    log: str
    dropped: Natural
    dropped_until: Natural


class _Site(TypedDict):
    site: Number32
    file: str
    line: Number32 | None
    function: str


_Named = TypedDict("_Named", {"address": Number32, "is": _Address})
_Abstract = TypedDict("_Abstract", {"abstract": Number32, "is": str})


class _Thread(TypedDict):
    thread: Number32
    ident: Natural
    name: str


class _Kind(TypedDict):
    kind: Annotated[int, Meta(ge=0, le=0xFF)]
    name: Name
    states: _States


class _Socket(TypedDict):
    socket: Number32
    local: _Address
    remote: _Address


_ThreadEnd = TypedDict("_ThreadEnd", {"thread ended": Number32})


class _Thinned(TypedDict):
    thinned: Natural


class _Lost(TypedDict):
    lost: Natural
    since: Natural
    until: Natural
    errno: Natural


class _Said(TypedDict):
    said: str
    at: Natural


class _Unseen(TypedDict):
    unseen: str
    why: str


class _Clock(TypedDict):
    clock: Whole


class _End(TypedDict):
    ended: Natural


FORMS: dict[str, Any] = {
    "site": _Site,
    "address": _Named,
    "abstract": _Abstract,
    "thread": _Thread,
    "kind": _Kind,
    "socket": _Socket,
    "pid": _Header,
    "clock": _Clock,
    "ended": _End,
    "thread ended": _ThreadEnd,
    "thinned": _Thinned,
    "lost": _Lost,
    "said": _Said,
    "unseen": _Unseen,
}
"""The key by which a note is known -> its form."""


def _address(note: dict[str, Any]) -> None:
    for key in ("is", "local", "remote"):
        if isinstance(note.get(key), int):
            note[key] = str(note[key])  # no address at all


def _site(note: dict[str, Any]) -> None:
    note["line"] = note["line"] or 0  # generated code may have none


def _kind(note: dict[str, Any]) -> None:
    for name in (note["name"], *note["states"]):
        word(name)


def _header(note: dict[str, Any]) -> None:
    for pair in note["methods"]:
        for name in pair:
            word(name)


_FURTHER: dict[str, Callable[[dict[str, Any]], None]] = {
    "site": _site,
    "address": _address,
    "socket": _address,
    "kind": _kind,
    "pid": _header,
}


def checked(note: dict[str, Any]) -> dict[str, Any]:
    """The note, when it fits its form; {} for one that this version does not know. ValueError."""
    key = next((key for key in FORMS if key in note), None)
    if key is None:
        return {}
    found: dict[str, Any] = check(note, FORMS[key])
    if key in _FURTHER:
        _FURTHER[key](found)
    return found
