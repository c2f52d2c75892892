"""Runs programs: reads what is to run, lets the world go, and gives the trace and what was wrong."""

from __future__ import annotations

import gc
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import CodeType
from typing import Any

from sockfsm.errors import UsageError
from sockfsm.sim.network import Rules
from sockfsm.sim.programs import current
from sockfsm.sim.programs.actor import Gone
from sockfsm.sim.programs.addresses import LOCAL
from sockfsm.sim.programs.imports import Imports
from sockfsm.sim.programs.process import INTERRUPTED, Process
from sockfsm.sim.programs.scheduler import Scheduler, Seeded
from sockfsm.sim.programs.switch import GreenletExit
from sockfsm.sim.programs.watch import watched
from sockfsm.sim.programs.world import Finding, Limits, World
from sockfsm.trace.source import MemoryTrace

STAGGER = 100_000_000
"""ns between the starts of the programs: people start a server, and then a client."""


@dataclass(frozen=True)
class Program:
    """What is to run: a file or a module with its arguments, or code. name: it is called so."""

    name: str
    file: str = ""
    module: str = ""
    arguments: tuple[str, ...] = ()
    code: str | CodeType = ""

    @classmethod
    def parse(cls, text: str) -> Program:
        """From a command line: `server.py --port 8000`, `-m http.server`."""
        try:
            words = shlex.split(text)
        except ValueError as error:
            raise UsageError(f"{text!r}: {error}") from None
        if words[:1] in (["python"], ["python3"]):
            del words[0]
        if words[:1] == ["-m"] and len(words) > 1:
            return cls(words[1], module=words[1], arguments=tuple(words[2:]))
        if not words or words[0].startswith("-"):
            raise UsageError(f"{text!r} is no program: a file, or -m and a module")
        return cls(os.path.basename(words[0]), file=words[0], arguments=tuple(words[1:]))

    def compiled(self) -> CodeType | None:
        """Its code, None for a module. UsageError where it cannot be read."""
        if isinstance(self.code, CodeType):
            return self.code
        if self.module:
            return None
        source: str | bytes = self.code
        try:
            if self.file and not source:
                source = Path(self.file).read_bytes()
            return compile(source, self.file or f"{self.name}", "exec", dont_inherit=True)
        except OSError as error:
            raise UsageError(f"{self.file}: {error.strerror}") from None
        except (SyntaxError, ValueError) as error:
            line = getattr(error, "lineno", None)
            where = f"{self.file or self.name}:{line}" if line else self.file or self.name
            message = getattr(error, "msg", None) or error
            raise UsageError(f"{where}: {message}") from None


@dataclass
class Result:
    """A run that has ended.

    statuses: of each program, None where it was still running. findings: what was wrong. output: what
    the programs wrote, (program, stream, line). calls: points of the schedule. time: virtual ns.
    """

    trace: MemoryTrace
    statuses: list[tuple[str, int | None]]
    findings: list[Finding]
    output: list[tuple[str, str, str]]
    calls: int
    time: int

    @property
    def good(self) -> bool:
        """Whether nothing was wrong, and no program failed by itself."""
        return not self.findings and all(status in (0, INTERRUPTED) for _, status in self.statuses)


@dataclass(frozen=True)
class Setting:
    """The world in which programs run. hosts: name -> address. stagger: ns between their starts."""

    seed: int = 0
    hosts: Mapping[str, str] = field(default_factory=dict)
    network: Rules = field(default_factory=Rules)
    limits: Limits = field(default_factory=Limits)
    stagger: int = STAGGER


def simulate(
    programs: Sequence[Program], setting: Setting | None = None, scheduler: Scheduler | None = None,
    emit: Callable[[str, str, str], None] | None = None,
) -> Result:  # fmt: skip
    """Run the programs to the end. emit: hears each line that they write, when they write it.

    UsageError for a program that cannot be read.
    """
    return Runner(programs).run(setting or Setting(), scheduler, emit)


class Runner:
    """Runs the same programs again and again: what they import from the library is loaded once."""

    def __init__(self, programs: Sequence[Program]) -> None:
        self._programs = [
            _Loaded(program, _called(program, programs, place), program.compiled())
            for place, program in enumerate(programs)
        ]
        self._title = ", ".join(program.name for program in programs)
        self._runs = 0

    def run(
        self, setting: Setting, scheduler: Scheduler | None = None,
        emit: Callable[[str, str, str], None] | None = None,
    ) -> Result:  # fmt: skip
        """One run."""
        output: list[tuple[str, str, str]] = []

        def written(name: str, stream: str, line: str) -> None:
            output.append((name, stream, line))
            if emit is not None:
                emit(name, stream, line)

        random = Random(setting.seed)
        chosen = scheduler or Seeded(setting.seed)
        world = World(chosen, random, setting.network, setting.limits, self._title)
        world.hosts = {"localhost": LOCAL, **{k.lower(): v for k, v in setting.hosts.items()}}
        world.expected = len(self._programs)
        for place, loaded in enumerate(self._programs):
            begin = loaded.starter(world, written)
            world.clock.after(place * setting.stagger, begin, background=False)
        collects = gc.isenabled()
        gc.disable()
        current.enter(world)
        try:
            with watched(world, setting.limits.patience):
                world.run()
        finally:
            current.leave()
            if collects:
                gc.enable()
        now = world.clock.now
        ended = [process.event.ended or now for process in world.processes]
        return Result(
            world.journal.trace(world.kernel.network.packets),
            [(process.name, process.status) for process in world.processes],
            world.findings, output, world.calls, max(ended, default=now),
        )  # fmt: skip


def _called(program: Program, programs: Sequence[Program], place: int) -> str:
    """Its name, with a number where several have the same one."""
    same = [i for i, other in enumerate(programs) if other.name == program.name]
    return program.name if len(same) == 1 else f"{program.name}#{same.index(place) + 1}"


class _Loaded:
    """A program that was read, and its modules."""

    def __init__(self, program: Program, name: str, code: CodeType | None) -> None:
        self._program, self._name, self._code = program, name, code
        self._imports: Imports | None = None

    def starter(self, world: World, emit: Callable[[str, str, str], None]) -> Callable[[], None]:
        """What starts it in a world."""
        program = self._program
        words = ("-m", program.module) if program.module else (program.file or program.name,)
        stem = self._name.partition(".")[0].lower()

        def begin() -> None:
            host = world.hosts.get(stem, LOCAL)
            process = Process(world, self._name, (*words, *program.arguments), host, emit)
            process.begin(lambda: self._body(process))

        return begin

    def _body(self, process: Process) -> int:
        """What the main thread does; gives the exit status."""
        program, imports = self._program, self._imports
        folder = os.path.dirname(os.path.abspath(program.file)) if program.file else os.getcwd()
        argv = [program.file or program.module or program.name, *program.arguments]
        if imports is None:
            imports = self._imports = Imports(process)
        imports.begin(process, argv, [folder])
        status = 0
        try:
            imports.run(program.module, program.file, self._code)
        except SystemExit as leaving:
            status = _status(process, leaving.code)
        except (Gone, GreenletExit):
            raise
        except KeyboardInterrupt as error:
            if not process.interrupted:
                process.report(type(error), error, error.__traceback__)
            status = INTERRUPTED
        except BaseException as error:  # noqa: BLE001 - whatever the program lets go
            process.failed(error)
            status = 1
        threading: Any = imports.modules.get("threading")
        if threading is not None:
            threading._shutdown()
        imports.system.leave()
        return status


def _status(process: Process, code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    process.err.write(f"{code}\n")
    return 1
