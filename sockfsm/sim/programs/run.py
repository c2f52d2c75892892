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
from typing import TYPE_CHECKING, Any

from sockfsm.errors import UsageError
from sockfsm.sim.network import Rules
from sockfsm.sim.programs import current
from sockfsm.sim.programs.actor import Gone
from sockfsm.sim.programs.addresses import LOCAL
from sockfsm.sim.programs.imports import Imports
from sockfsm.sim.programs.process import INTERRUPTED, Process
from sockfsm.sim.programs.scheduler import Scheduler, Seeded
from sockfsm.sim.programs.switch import GreenletExit
from sockfsm.sim.programs.world import Finding, Limits, World
from sockfsm.trace.source import MemoryTrace

if TYPE_CHECKING:
    from types import ModuleType

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
    setting = setting or Setting()
    codes = [program.compiled() for program in programs]
    title = ", ".join(program.name for program in programs)
    output: list[tuple[str, str, str]] = []

    def written(name: str, stream: str, line: str) -> None:
        output.append((name, stream, line))
        if emit is not None:
            emit(name, stream, line)

    random = Random(setting.seed)
    chosen = scheduler or Seeded(setting.seed)
    world = World(chosen, random, setting.network, setting.limits, title)
    world.hosts = {"localhost": LOCAL, **{k.lower(): v for k, v in setting.hosts.items()}}
    for place, (program, code) in enumerate(zip(programs, codes, strict=True)):
        begin = _starter(world, program, code, _called(program, programs, place), written)
        world.clock.after(place * setting.stagger, begin, background=False)
    world.expected = len(programs)
    collects = gc.isenabled()
    gc.disable()
    current.enter(world)
    try:
        world.run()
    finally:
        current.leave()
        if collects:
            gc.enable()
    statuses = [(process.name, process.status) for process in world.processes]
    ended = max(
        (p.event.ended or world.clock.now for p in world.processes), default=world.clock.now
    )
    trace = world.journal.trace(world.kernel.network.packets)
    return Result(trace, statuses, world.findings, output, world.calls, ended)


def _called(program: Program, programs: Sequence[Program], place: int) -> str:
    """Its name, with a number where several have the same one."""
    same = [i for i, other in enumerate(programs) if other.name == program.name]
    return program.name if len(same) == 1 else f"{program.name}#{same.index(place) + 1}"


def _starter(
    world: World, program: Program, code: CodeType | None, name: str,
    emit: Callable[[str, str, str], None],
) -> Callable[[], None]:  # fmt: skip
    words = ("-m", program.module) if program.module else (program.file or program.name,)
    stem = name.partition(".")[0].lower()

    def begin() -> None:
        host = world.hosts.get(stem, LOCAL)
        process = Process(world, name, (*words, *program.arguments), host, emit)
        process.begin(lambda: _body(process, program, code))

    return begin


def _body(process: Process, program: Program, code: CodeType | None) -> int:
    """What the main thread does; gives the exit status."""
    folder = os.path.dirname(os.path.abspath(program.file)) if program.file else os.getcwd()
    argv = [program.file or program.module or program.name, *program.arguments]
    imports = Imports(process, argv, [folder])
    status = 0
    try:
        imports.run(program.module, program.file, code)
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
    threading: ModuleType | Any = imports.modules.get("threading")
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
