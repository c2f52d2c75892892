"""Records the traces that stand beside this file: `make traces`; `--pictures` only redraws.

Each program of programs/ runs, unmodified, under `sockfsm run` in a temporary working folder. The
paths of this machine are then taken out of what was recorded (`relative`): source files are named
relative to the working folder or to Python's library, and the interpreter is `python3`.

Each runs in a network namespace of its own, so no other program's packets are on the loopback. What
the packets have to pass there is in wires/: NAME.nft are nftables rules that lose some of them,
NAME.py plays the far end of a network device. Root also records the kernel's own TCP states.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from wires.alone import alone

from sockfsm.diagrams.graph import Graph
from sockfsm.diagrams.path import path
from sockfsm.diagrams.render import draw
from sockfsm.record.codec import fragments
from sockfsm.record.layout import CALL, FRAGMENT, MAGIC, SLOT
from sockfsm.record.reader import LogReader
from sockfsm.trace.trace import ABOUT, PACKETS, Trace

HERE = Path(__file__).resolve().parent
PROGRAMS = HERE / "programs"
WIRES = HERE / "wires"
SYSTEM = "/usr/sbin:/sbin"  # where nft lies; not in everybody's PATH
PICTURE = "path.svg"
PICTURED = ("tcp-echo", "wrong-order", "shutdown-trap")
"""The traces whose path the README shows."""


def main(arguments: list[str]) -> int:
    """Record the named programs, or all; 1 when one could not be recorded completely."""
    if arguments == ["--pictures"]:
        for name in PICTURED:
            (HERE / name / PICTURE).write_bytes(draw(picture(HERE / name), "svg"))
        return 0
    # A background job of a shell is born with SIGINT ignored, and http_fetch sends one.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    chosen = arguments or sorted(file.stem for file in PROGRAMS.glob("*.py"))
    for name in chosen:
        if not (PROGRAMS / f"{name}.py").exists():
            raise SystemExit(f"{name}: no program of that name in traces/programs")
    if len(chosen) == 1:
        return 0 if record(chosen[0], HERE / chosen[0].replace("_", "-")) else 1
    # Each in a process of its own, which enters a network of its own.
    codes = [subprocess.run([sys.executable, __file__, name]).returncode for name in chosen]
    return 1 if any(codes) else 0


def record(name: str, folder: Path) -> bool:
    """Record one program into `folder`, which is replaced; whether its packets are there.

    This process must have a single thread; it ends up in a network namespace of its own.
    """
    alone()
    with TemporaryDirectory(prefix="sockfsm-traces-") as temporary:
        work = Path(temporary).resolve()
        shutil.copy(PROGRAMS / f"{name}.py", work)
        result = work / "trace"
        command = [sys.executable, "-m", "sockfsm", "run", "-o", str(result)]
        with wire(name) as interface:
            command += ["--interface", interface, f"{name}.py"]
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


@contextmanager
def wire(name: str) -> Iterator[str]:
    """What the program's packets have to pass, while it runs: the interface to capture."""
    rules, host = WIRES / f"{name}.nft", WIRES / f"{name}.py"
    if rules.exists():
        nft = shutil.which("nft", path=f"{os.environ.get('PATH', '')}:{SYSTEM}")
        if nft is None:
            raise SystemExit(f"{rules.name}: needs nft (Debian: apt-get install nftables)")
        subprocess.run([nft, "-f", rules], check=True)
    if not host.exists():
        yield "lo"
        return
    with subprocess.Popen(
        [sys.executable, host], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as peer:
        assert peer.stdin is not None
        assert peer.stdout is not None
        # It names its interface when that is there, and ends when its input does.
        interface = peer.stdout.readline().strip()
        if not interface:
            raise SystemExit(f"{host.name}: there is no network device")
        yield interface


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
