"""The session: all that the tracer knows of one tracing, from its start to its stop.

What stands in for the methods of `socket.socket` belongs to the interpreter. It asks `current.session`
once, when the program calls it, and stays with that one until the call's record is written: so a call
that outlives its session says nothing to the next one. Subinterpreters have modules of their own, and
so a session of their own.

After a fork the child goes on with the same object, and with a log of its own (`Session.forked`): a
signal handler may fork in the midst of a call, which then ends in both processes.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import ref

from sockfsm.record.clocks import Clocks
from sockfsm.record.writer import MAX_SIZE, Log
from sockfsm.tracer.addresses import Addresses
from sockfsm.tracer.graves import Graves
from sockfsm.tracer.places import Places
from sockfsm.tracer.threads import Me, Threads
from sockfsm.tracer.voice import Voice

if TYPE_CHECKING:
    from sockfsm.model.executed import SocketMachine
    from sockfsm.trace.trace import Trace
    from sockfsm.tracer.ongoing import Ongoing
    from sockfsm.tracer.rows import Kind, Model, Row, Tracked
    from sockfsm.tracer.sinks import Sink
    from sockfsm.tracer.witness import Facts
    from sockfsm.wire.capture import Capture


class Origin(NamedTuple):
    """Where a process's sockets come from: the log of its parent, those below `number`, and when."""

    log: str
    number: int
    time: int


class Session:
    """One tracing; until a log is opened, one that writes nothing.

    machines: kind -> a `transitions` machine to use in place of the shared one.

    The garbage collector, a signal handler or another thread may use the tables in the midst of any
    step. So no table is walked, and each step on one is a single operation.
    """

    __slots__ = (
        *("addresses", "blocks", "capture", "connections", "cookies", "ends_with_blocks"),
        *("folder", "gone", "graves", "holders", "installed", "kind_of", "kinds", "log"),
        *("machines", "max_size", "me", "mode", "nameless", "numbers", "origin", "outer", "paths"),
        *("pid", "places", "records", "running", "shared", "sinks", "sites", "situations"),
        *("supervised", "threads", "told", "trace", "unasked", "unclaimed", "voice", "waiting"),
    )

    def __init__(self, machines: Mapping[str, SocketMachine] | None = None) -> None:
        self.folder = ""
        self.mode = "observe"
        self.installed = False
        """Whether it traces every socket, not only those of the drop-in class."""
        self.blocks = 0
        self.ends_with_blocks = False
        """Whether `tracing` began it: then it ends with the last of the blocks."""
        self.trace: Trace | None = None
        self.capture: Capture | None = None
        self.sinks: list[Sink] = []
        self.pid = 0
        self.origin = Origin("", 0, 0)
        self.max_size = MAX_SIZE
        self.supervised = False
        self.voice = Voice()
        self.told: set[str] = set()
        """Libraries of which was said that they are not seen."""

        self.log = Log()
        self.threads = Threads(self.log)
        self.me = Me(self.threads)
        self.places = Places(self.log)
        self.sites = self.places.sites
        self.addresses = Addresses(self.log)
        self.graves = Graves()
        self.gone = self.graves.gone

        self.machines = dict(machines or {})
        self.kinds: dict[str, Kind] = {}
        self.kind_of: dict[tuple[int, int, int], Kind] = {}
        self.situations: dict[tuple[str, str, Facts], Row] = {}
        self.numbers = itertools.count(1)
        self.shared = 0
        """How often sockets were shared so far, see `elsewhere`."""

        self.records: dict[int, Tracked] = {}
        """id(socket object) -> what is known of it"""
        self.holders: dict[int, Tracked] = {}
        """descriptor -> the socket object that was last seen with it"""
        self.unclaimed: dict[int, tuple[Model, Row]] = {}
        """descriptor -> (model, its row) of one that `detach` took from its socket object"""
        self.paths: dict[object, Model] = {}
        """UNIX path -> who bound it last"""
        self.cookies: dict[int, Model] = {}
        """the kernel's number for a socket -> its model, of those whose number was asked for"""
        self.unasked: dict[int, Tracked] = {}
        """id(socket object) -> the same, of those whose number was not asked for yet"""
        self.waiting: dict[int, tuple[Model | None, int, int, int]] = {}
        """thread number -> (model, method, since, site) of the call that blocks it now"""

        # What the adapters of other libraries' sockets know.
        self.connections: dict[int, Tracked] = {}
        """id(multiprocessing's Connection) -> its socket, until it is closed"""
        self.running: dict[int, tuple[Any, Ongoing]] = {}
        """number of a thread or greenlet -> the call that the program is in, and its socket object"""
        self.outer: dict[int, tuple[Tracked, ref[Any]]] = {}
        """id(socket object) -> what is known of the kernel's socket that it holds, or held"""
        self.nameless: set[int] = set()
        """Descriptors that `_accept` gave, for which a socket object is about to be made"""

    def number(self) -> int:
        """The next socket's number in the log."""
        return next(self.numbers)

    def forked(self) -> None:
        """In the child: what belongs to the parent's log, or to its other threads, goes."""
        self.waiting.clear()
        self.graves.forget()
        self.threads.living.clear()
        self.capture = None

    def forget(self) -> None:
        """It is over: its tables and the models in them hold each other no more."""
        for key in list(self.records):
            tracked = self.records.get(key)
            if tracked is not None:
                # A fast path that has found this model goes no further: see `transfer.use`.
                tracked.model.row = tracked.model.row.anew()
        for table in (
            *(self.records, self.holders, self.unclaimed, self.paths, self.cookies, self.unasked),
            *(self.waiting, self.connections, self.running, self.outer, self.nameless),
        ):
            table.clear()
        self.graves.forget()

    def say(self, line: str) -> None:
        """Put a line for the person who runs the program into the trace."""
        self.log.note({"said": line, "at": Clocks.monotonic()})

    def report(self, line: str) -> None:
        """The same, and on standard error."""
        self.voice.say(f"sockfsm: {line}\n")
        self.say(line)


session = Session()
"""The one that is on in this interpreter. Whoever is called asks once."""
