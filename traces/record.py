"""Records the traces that stand beside this file: `make traces`; `--pictures` only redraws.

Each program of programs/ runs, unmodified, under `sockfsm run` in a temporary working folder. The
paths of this machine are then taken out of what was recorded (`relative`): source files are named
relative to the working folder or to Python's library, and the interpreter is `python3`. All this
happens in a network namespace of our own, so no other program's packets are on the loopback.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sockfsm.diagrams.graph import Graph
from sockfsm.diagrams.path import path
from sockfsm.diagrams.render import draw
from sockfsm.record.layout import CALL, FRAGMENT, MAGIC, SLOT, fragments
from sockfsm.record.reader import LogReader
from sockfsm.trace.trace import ABOUT, PACKETS, Trace
from sockfsm.wire import namespace

HERE = Path(__file__).resolve().parent
PROGRAMS = HERE / "programs"
PICTURE = "path.svg"
PICTURED = ("tcp-echo", "wrong-order", "shutdown-trap")
"""The traces whose path the README shows."""


def main(arguments: list[str]) -> int:
    """Record the named programs, or all; 1 when a capture was not permitted."""
    if arguments == ["--pictures"]:
        for name in PICTURED:
            (HERE / name / PICTURE).write_bytes(draw(picture(HERE / name), "svg"))
        return 0
    # A background job of a shell is born with SIGINT ignored, and http_fetch sends one.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    namespace.enter()
    chosen = arguments or sorted(file.stem for file in PROGRAMS.glob("*.py"))
    complete = [record(name, HERE / name.replace("_", "-")) for name in chosen]
    return 0 if all(complete) else 1


def record(name: str, folder: Path) -> bool:
    """Record one program into `folder`, which is replaced; whether its packets are there."""
    with TemporaryDirectory(prefix="sockfsm-traces-") as temporary:
        work = Path(temporary).resolve()
        shutil.copy(PROGRAMS / f"{name}.py", work)
        result = work / "trace"
        command = [sys.executable, "-m", "sockfsm", "run", "-o", str(result), f"{name}.py"]
        subprocess.run(command, cwd=work, check=True)
        library = sysconfig.get_path("stdlib")
        python = f"python{sys.version_info.major}.{sys.version_info.minor}"
        names = {f"{work}/": "", f"{library}/": f"{python}/", sys.executable: "python3"}
        relative(Trace.open(result), names)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(result, folder)
    if folder.name in PICTURED:
        (folder / PICTURE).write_bytes(draw(picture(folder), "svg"))
    captured = (folder / PACKETS).exists()
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(f"{folder.name}: {size:,} bytes{'' if captured else ', WITHOUT PACKETS'}")
    return captured


def picture(folder: Path) -> Graph:
    """A trace's path over its machine, as `sockfsm diagram` draws it."""
    return path(Trace.open(folder).calls(), title=folder.name)


def relative(trace: Trace, names: Mapping[str, str]) -> None:
    """Replace the paths `names` (old -> new) in all texts of a finished trace."""
    about = trace.path / ABOUT
    about.write_text(json.dumps(renamed(trace.about, names), indent=1) + "\n")
    for log in trace.logs:
        reader = LogReader(log)
        slots = [MAGIC.ljust(SLOT, b"\0")]
        notes = 0
        for item in reader:
            if isinstance(item, tuple):
                slots.append(CALL.pack(*item))
                continue
            notes += 1
            text = json.dumps(renamed(item, names), separators=(",", ":")).encode()
            slots += [FRAGMENT.pack(*fragment) for fragment in fragments(notes, text)]
        if reader.problems:
            raise SystemExit("\n".join(reader.problems))
        log.write_bytes(b"".join(slots))


def renamed(value: Any, names: Mapping[str, str]) -> Any:
    """`value` (of JSON) with every occurrence of a name of `names` replaced."""
    if isinstance(value, str):
        for old, new in names.items():
            value = value.replace(old, new)
        return value
    if isinstance(value, list):
        return [renamed(item, names) for item in value]
    if isinstance(value, dict):
        return {key: renamed(item, names) for key, item in value.items()}
    return value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
