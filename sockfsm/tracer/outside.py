"""Steps of a socket's life that are no method of it: resolving a name, removing a path, giving its
number to another one, and its inheritance by a process that is begun without fork()."""

from __future__ import annotations

import os
import socket as _stdlib
import stat
from collections.abc import Callable
from types import FrameType
from typing import Any

from sockfsm.record.clocks import Clocks
from sockfsm.record.layout import NUMBER
from sockfsm.record.writer import UNWATCHED, Told
from sockfsm.tracer import current
from sockfsm.tracer.buffers import integer, members
from sockfsm.tracer.current import Session
from sockfsm.tracer.elsewhere import share
from sockfsm.tracer.handlers import from_handler
from sockfsm.tracer.likeness import genuine, like, line_of
from sockfsm.tracer.ongoing import OURS, foreign, outcome_of
from sockfsm.tracer.places import caller
from sockfsm.tracer.rows import head, step, unmodelled
from sockfsm.tracer.sockets import renumbered

_RESOLVE = NUMBER["getaddrinfo"]
_getaddrinfo = genuine(_stdlib.getaddrinfo)
_unlink = genuine(os.unlink)
_remove = genuine(os.remove)
_dup2 = genuine(os.dup2)
_lstat = os.lstat
_fsencode, _fsdecode = os.fsencode, os.fsdecode
_is_a_socket = stat.S_ISSOCK


def getaddrinfo(
    host: Any, port: Any, family: Any = 0, type: Any = 0, proto: Any = 0, flags: Any = 0
) -> Any:
    look_up = _looking(host, port)
    return look_up(_getaddrinfo, host, port, family, type, proto, flags)


def resolver(original: Any) -> Any:
    """A traced getaddrinfo of another library."""

    def look_up(host: Any, port: Any, *args: Any, **named: Any) -> Any:
        return _looking(host, port)(original, host, port, *args, **named)

    return look_up


def _looking(host: Any, port: Any) -> Callable[..., Any]:
    """Makes a call of getaddrinfo; without memory to follow it, which is told, it does no more."""
    session = current.session
    try:
        return _Lookup(session, host, port, caller(3)).told
    except OURS as error:
        session.log.marked[0] = 1
        if foreign(error):
            raise
        return _plainly


def _plainly(original: Any, *args: Any, **named: Any) -> Any:
    return original(*args, **named)


class _Lookup(Told):
    """A call of getaddrinfo, from its begin to its record."""

    __slots__ = ("begin", "held", "host", "port", "session", "site", "thread")

    def __init__(self, session: Session, host: Any, port: Any, frame: FrameType | None) -> None:
        super().__init__()
        self.session, self.host, self.port = session, host, port
        self.begin, self.thread = Clocks.monotonic(), session.me.number
        self.site = session.places.site_of(frame)
        self.held = session.waiting.get(self.thread)
        session.waiting[self.thread] = None, _RESOLVE, self.begin, self.site

    def told(self, original: Any, *args: Any, **named: Any) -> Any:
        """Make the call."""
        try:
            results = original(*args, **named)
        except BaseException as error:
            self.ended(error, 0)
            raise
        try:
            self.ended(None, len(results))
        except BaseException as error:
            if self.watch == UNWATCHED:
                self.session.log.untold.append(None)
            if foreign(error):
                raise
        return results

    def ended(self, error: BaseException | None, count: int) -> None:
        """Write it down."""
        session = self.session
        try:
            self.begin_watch(session.log)
            outcome = "ok" if error is None else outcome_of(error, "resolve")[0]
            end, row = Clocks.monotonic(), unmodelled().initial
            if self.held is None:
                session.waiting.pop(self.thread, None)
            else:
                session.waiting[self.thread] = self.held
            if outcome == "ok":
                session.me.resolved = True
            form, _, place = session.addresses.packed(
                (_text(self.host), _text(self.port), "resolve")
            )
            bits = head(row, row, _RESOLVE, outcome) | form
            end_of = bits, 0, self.site, self.thread, 0, place | count
            session.log.tell(self, self.begin, end, *end_of)
        except BaseException as wrong:
            if self.watch == UNWATCHED:
                session.log.untold.append(None)
                self.watch = None
            if foreign(wrong):
                raise


def _text(value: Any) -> Any:
    """A host or a port as the trace shows it: as it was given, a number as text."""
    if type(value) is bytes:
        return value.decode("latin-1")
    return str(value) if type(value) is int or value is None else value


class StandIn:
    """Stands in for a function of C. Not a function of Python: as an attribute of a class that would
    become a method.

    before: is given the arguments and the caller, and gives what is told of the result or the error.
    Whatever of ours fails, the call is made, and what it gives is given.
    """

    def __init__(self, original: Any, before: Callable[..., _After | None]) -> None:
        self.__wrapped__ = original
        self._before = before
        self.__name__: str = original.__name__
        self.__qualname__ = self.__name__
        self.__module__, self.__doc__ = "os", original.__doc__

    def __call__(self, *args: Any, **named: Any) -> Any:
        session, frame, after = current.session, None, None
        try:
            frame = caller()
            after = self._before(session, args, named, frame)
        except OURS as error:
            session.log.marked[0] = 1
            if foreign(error):
                raise
        if after is None:
            return self._plainly(session, args, named, frame)
        try:
            result = self.__wrapped__(*args, **named)
        except OSError as error:
            after.settle(error)
            raise
        try:
            after.settle(None)
        except BaseException as error:
            if after.watch == UNWATCHED:
                session.log.untold.append(None)
            if foreign(error):
                raise
        return result

    def _plainly(self, session: Session, args: Any, named: Any, frame: FrameType | None) -> Any:
        """C warns of the line that runs, which should be the program's."""
        if frame is not None:
            try:
                line = line_of(frame)
            except OURS as error:
                session.log.marked[0] = 1
                if foreign(error):
                    raise
            else:
                return line(self.__wrapped__, args, named)
        return self.__wrapped__(*args, **named)

    def __repr__(self) -> str:
        return repr(self.__wrapped__)

    def __reduce__(self) -> str:
        return self.__name__


class _After(Told):
    """What is told of a call of the operating system once it has ended; `watch` is None for nothing."""

    __slots__ = ("begin", "frame", "session")

    def __init__(self, session: Session, frame: FrameType | None) -> None:
        super().__init__()
        self.session, self.frame, self.begin = session, frame, Clocks.monotonic()

    def settle(self, error: OSError | None) -> None:
        """Tell it, or count it as lost."""
        try:
            if self.watch == UNWATCHED:
                self.begin_watch(self.session.log)
            self.tell(error)
        except BaseException as wrong:
            if self.watch == UNWATCHED:
                self.session.log.untold.append(None)
                self.watch = None
            if foreign(wrong):
                raise

    def tell(self, error: OSError | None) -> None:
        """Write it down."""
        raise NotImplementedError


class _Removal(_After):
    """The removal of a path is logged when it is a socket's."""

    __slots__ = ("ours", "path")

    def __init__(self, session: Session, frame: FrameType | None, path: str) -> None:
        super().__init__(session, frame)
        self.path, self.ours = path, _is_socket(path)
        if not self.ours:
            self.watch = None

    def tell(self, error: OSError | None) -> None:
        session, path, begin = self.session, self.path, self.begin
        missing = isinstance(error, FileNotFoundError)
        if not missing and not self.ours:
            return
        end, site = Clocks.monotonic(), session.places.site_of(self.frame)
        if missing:
            session.me.missing = path, begin, end, site
            self.watch = None
            return
        method, owner = NUMBER["unlink"], None
        outcome = outcome_of(error, "unlink")[0] if error else "ok"
        if outcome == "ok":
            owner = session.paths.pop(_fsencode(path), None)
        if owner is not None:
            row, number = owner.row, owner.number
            bits, owner.row = step(row, method, outcome, "", owner)
        else:
            row, number = unmodelled().initial, 0
            bits = head(row, row, method, outcome)
        form, _, place = session.addresses.packed(path)
        thread = session.me.number
        session.log.tell(self, begin, end, bits | form, number, site, thread, 0, place)


class _Renumbering(_After):
    """A number that os.dup2 gives away: a socket object that has it is another socket from then on."""

    __slots__ = ("number",)
    number: int

    def tell(self, error: OSError | None) -> None:
        if error is None:
            renumbered(self.session, self.number, self.begin, self.frame)
        self.watch = None


class _Spawning(_After):
    """A process that is begun by C alone may inherit every socket that is open."""

    __slots__ = ()

    def tell(self, error: OSError | None) -> None:
        self.watch = None
        share()


def _removing(
    session: Session, args: tuple[Any, ...], named: dict[str, Any], frame: FrameType | None
) -> _After | None:
    path = _plain_path(args, named)
    return None if path is None else _Removal(session, frame, path)


def _renumbering(
    session: Session, args: tuple[Any, ...], named: dict[str, Any], frame: FrameType | None
) -> _After | None:
    second = args[1] if len(args) > 1 else named.get("fd2")
    number = integer(second)
    if number not in session.holders or number == integer(args[0] if args else named.get("fd")):
        return None
    after = _Renumbering(session, frame)
    after.number = number
    return after


def _spawning(
    session: Session, args: tuple[Any, ...], named: dict[str, Any], frame: FrameType | None
) -> _After | None:
    share()
    return _Spawning(session, frame)


def _plain_path(args: tuple[Any, ...], named: dict[str, Any]) -> str | None:
    """The path that is to be removed; None where only the program's own code could tell it."""
    if named.get("dir_fd") is not None or len(args) > 1:
        return None
    path = args[0] if args else named.get("path")
    # A class of the program's, or its metaclass, is not asked what it is.
    home = members(type(path)).get("__module__")
    if type(home) is str and home.partition(".")[0] == "pathlib":
        path = str(path)
    return _fsdecode(path) if type(path) is str or type(path) is bytes else None


def _is_socket(path: str) -> bool:
    try:
        return _is_a_socket(_lstat(path).st_mode)
    except (OSError, ValueError) as error:
        if from_handler(error):
            raise
        return False  # absent, or no path at all: the call itself says so


FUNCTIONS: tuple[tuple[Any, str, Any], ...] = (
    (_stdlib, "getaddrinfo", like(getaddrinfo, _getaddrinfo)),
    (os, "unlink", StandIn(_unlink, _removing)),
    (os, "remove", StandIn(_remove, _removing)),
    (os, "dup2", StandIn(_dup2, _renumbering)),
    *(
        (os, name, StandIn(genuine(getattr(os, name)), _spawning))
        for name in ("posix_spawn", "posix_spawnp", "system")
    ),
)
"""(module, attribute, what stands in its place while a process is traced)."""

_SETS = (os.supports_dir_fd, os.supports_follow_symlinks, os.supports_fd, os.supports_effective_ids)


def claim_support(original: Any, function: Any) -> None:
    """Let `function` have what `os` says that `original` can: shutil looks there."""
    for known in _SETS:
        if original in known:
            known.add(function)


def drop_support(function: Any) -> None:
    """Take it back."""
    for known in _SETS:
        known.discard(function)
