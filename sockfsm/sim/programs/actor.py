"""An actor: one thread of a simulated program, and what it is doing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sockfsm.sim.programs.switch import greenlet

if TYPE_CHECKING:
    from sockfsm.events import Site, Thread
    from sockfsm.sim.programs.process import Process


class Gone(BaseException):
    """Unwinds a thread whose process, or whose world, has ended. No program should see it."""


class Actor:
    """A thread.

    about: what it is going to do, or waits in: (a socket, a lock, a list of sockets or None; the
    call). begun, site: of its wait. deadline: when its wait ends by itself. pending: an exception
    that awaits it. turns: how many of its waits ended by themselves since work number `since`.
    ended: called when it ends.
    """

    __slots__ = (
        "about", "begun", "current", "deadline", "ended", "expired", "gone", "greenlet", "ident",
        "pending", "process", "refused", "since", "site", "thread", "turns", "waits",
    )  # fmt: skip

    def __init__(self, process: Process, thread: Thread, run: Callable[[], None]) -> None:
        self.process = process
        self.thread = thread
        self.ident = thread.ident
        self.greenlet = greenlet(run)
        self.about: tuple[object, str] = (None, "start")
        self.site: Site | None = None
        self.current = self.gone = self.waits = self.expired = False
        self.deadline: int | None = None
        self.pending: BaseException | None = None
        self.begun = self.turns = self.since = self.refused = 0
        self.ended: list[Callable[[], None]] = []

    @property
    def name(self) -> str:
        """Its process and, but for the main thread, its own name."""
        if self is self.process.main:
            return self.process.name
        return f"{self.process.name}, {self.thread.name}"
