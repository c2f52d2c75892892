"""Addresses in the log. They are the program's objects, so none of their methods is called."""

from __future__ import annotations

import itertools

from sockfsm.record import codec
from sockfsm.record.layout import MOST
from sockfsm.record.writer import Log
from sockfsm.tracer.handlers import from_handler

Form = str | bytes | int | bool | None | tuple["Form", ...]

_KEPT = 20_000
_LONGEST = 512  # no address is longer: a host name has 255 bytes, a UNIX path 108
_ITEMS = 8
_HUGE = 1 << 63
_type_name = type.__dict__["__name__"].__get__


def form_of(value: object, depth: int = 3) -> Form:
    """`value` as plain data; an object of one of the program's own classes is the class's name."""
    kind = type(value)
    if value is None or kind is bool:
        return value  # type: ignore[return-value]
    if kind is str:
        return value[:_LONGEST]  # type: ignore[index,no-any-return]
    if kind is bytes or kind is bytearray:
        return bytes(value[:_LONGEST])  # type: ignore[index]
    if kind is int and -_HUGE < value < _HUGE:  # type: ignore[operator]
        return value  # type: ignore[return-value]
    if kind is tuple and depth:
        return tuple(_inside(item, depth - 1) for item in value[:_ITEMS])  # type: ignore[index]
    return f"<{_type_name(kind)}>"


def _inside(item: object, depth: int) -> Form:
    form = form_of(item, depth)
    return form.decode("latin-1") if type(form) is bytes else form


class Addresses:
    """The addresses that one log has numbers for."""

    __slots__ = ("_log", "_next", "_numbers", "_of_bytes")

    def __init__(self, log: Log) -> None:
        self._log = log
        # Apart, as `python -b` warns of text and bytes that are compared, which a table does.
        self._numbers: dict[Form, int] = {}
        self._of_bytes: dict[Form, int] = {}
        self._next = itertools.count(1)

    def forget(self) -> None:
        """Note every address anew when it is next met."""
        self._numbers.clear()
        self._of_bytes.clear()

    def packed(self, address: object, local: object = None) -> codec.Address:
        """An address for a record."""
        if address is None:
            return codec.NO_ADDRESS
        peer = _inet(address)
        if peer >= 0:
            mine = 0 if local is None else _inet(local)
            if mine >= 0:
                return codec.ends(peer, mine)
        form = form_of(address)
        if type(local) is tuple:
            form = form, form_of(local)
        return codec.noted(self._number(form))

    def noted(self, address: object) -> codec.Address:
        """A datagram's address, always as a note: `done` of its record has the datagram's length."""
        form = form_of(address)
        if not form:
            return codec.NO_ADDRESS
        return codec.noted(self._number((form,) if type(form) is tuple else form))

    def _number(self, form: Form) -> int:
        known = self._of_bytes if type(form) is bytes else self._numbers
        number = known.get(form)
        if number is None:
            if len(known) >= _KEPT:
                known.clear()
            number = known[form] = next(self._next) & MOST
            if type(form) is bytes:
                self._log.note({"abstract": number, "is": form.decode("latin-1")})
            else:
                self._log.note({"address": number, "is": _text(form)})
        return number


def shown(address: object) -> object:
    """An address as a note has it, None for an empty one."""
    return _text(form_of(address)) or None


def _inet(address: object) -> int:
    """An IPv4 name in 48 bits, -1 for anything else."""
    if type(address) is not tuple or len(address) != 2:
        return -1
    host, port = address
    if type(host) is not str or type(port) is not int or not 0 <= port <= 0xFFFF:
        return -1
    try:
        return codec.inet(host, port)
    except (OSError, ValueError) as error:
        if from_handler(error):
            raise
        return -1  # a host name, or what cannot be one


def _text(form: Form) -> object:
    """The form as JSON has it."""
    if type(form) is bytes:
        return form.decode("utf-8", "backslashreplace")
    if type(form) is tuple:
        return [_text(item) for item in form]
    return form
