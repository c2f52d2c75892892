"""`sockfsm.socket`: a socket that is traced from its birth, whether or not the process is."""

from __future__ import annotations

import socket as _stdlib
from typing import TYPE_CHECKING, Any

from sockfsm.tracer import current as _current
from sockfsm.tracer import session as _session
from sockfsm.tracer.block import folder_for
from sockfsm.tracer.connecting import ACCEPTING
from sockfsm.tracer.sockets import tracked_by
from sockfsm.tracer.witness import numbers_of

if TYPE_CHECKING:
    from sockfsm.events import Call


def _temporary() -> None:
    """Begin a session that writes a temporary trace."""
    trace = folder_for(None)
    _session.start(str(trace.path))
    _session.write_to(trace)


class socket(_stdlib.socket):  # noqa: N801 - it stands in for socket.socket
    """A drop-in `socket.socket` that runs inside its machine; `accept` gives traced ones too.

    Outside `tracing()` and `install()` the calls go to a temporary trace, see `current_trace`.
    """

    __slots__ = ()

    def __new__(cls, *args: Any, **kwargs: Any) -> socket:
        if not _current.session.folder:
            _temporary()
        return super().__new__(cls, *args, **kwargs)

    @property
    def state(self) -> str:
        """The flat state the socket is in, such as `LISTENING`."""
        return state(self)

    @state.setter
    def state(self, name: str) -> None:
        # So a machine of `transitions` takes the socket for a model: see `sockfsm.machine`.
        tracked_by(self).model.state = name

    @property
    def history(self) -> tuple[Call, ...]:
        """The calls on this socket so far."""
        return _session.history(tracked_by(self).model.number)


def _accept(self: socket) -> tuple[socket, Any]:
    """`socket.accept`, with data sockets of this class."""
    descriptor, address = self._accept()  # type: ignore[attr-defined]
    data = socket(*numbers_of(self), fileno=descriptor)
    # As in the standard library: a timeout of the listening socket is not inherited.
    if _stdlib.getdefaulttimeout() is None and self.gettimeout():
        data.setblocking(True)
    return data, address


def state(sock: _stdlib.socket) -> str:
    """The flat state of any traced socket; one from outside is adopted first."""
    return tracked_by(sock).row.state


socket.accept_plainly = _accept  # type: ignore[attr-defined]
ACCEPTING.append(_accept.__code__)
_session.drop_in.append(socket)
_session.dress("observe")
