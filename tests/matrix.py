"""Runs tests on every other installed Python from 3.10 on, each in an environment of its own.

    python tests/matrix.py [--ends] [--prepare] [PYTEST'S ARGUMENTS ...]

The running Python is left out: `make test` tests it. `--ends`: only the oldest and the newest, with
what the tracer's tests need. `--prepare`: only make the environments: without root the tests run in a
namespace that has no network.
A Python is `python3.N` on PATH, or a version of pyenv. Its environment is `.venv-3.N`.
"""

from __future__ import annotations

import argparse
import glob
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

EVERYTHING = ("-e", ".[draw,learn,test]")
TRACING = ("--no-compile", "-e", ".", "pytest>=8", "pytest-xdist>=3.6", "hypothesis>=6.100")
LONGEST = 3600  # seconds for the tests of one Python
ROOT = Path(__file__).parent.parent
OLDEST = 10
ASKED = "import ensurepip, sys, venv; print(sys.implementation.name, *sys.version_info[:2])"


def version(python: str) -> int | None:
    """N of a CPython 3.N that can make environments; None for anything else."""
    # A shim of pyenv is there for versions that are not chosen, too: it fails.
    done = subprocess.run([python, "-c", ASKED], capture_output=True, text=True)
    match = re.fullmatch(r"cpython 3 (\d+)", done.stdout.strip())
    return int(match[1]) if done.returncode == 0 and match else None


def pyenv() -> list[str]:
    """The Pythons of pyenv, when there is one."""
    if shutil.which("pyenv") is None:
        return []
    root = subprocess.run(["pyenv", "root"], capture_output=True, text=True, check=True).stdout
    return sorted(glob.glob(os.path.join(glob.escape(root.strip()), "versions/3.*/bin/python3")))


def installed() -> dict[int, str]:
    """N -> a Python 3.N, from 3.10 on."""
    on_path = [shutil.which(f"python3.{minor}") for minor in range(OLDEST, 30)]
    found: dict[int, str] = {}
    for python in (*filter(None, on_path), *pyenv()):
        minor = version(python)
        if minor is not None and minor >= OLDEST:
            found.setdefault(minor, python)
    return dict(sorted(found.items()))


def environment(minor: int, python: str, what: Sequence[str]) -> str:
    """The Python of an environment that has `what`. Makes it if it is missing or out of date."""
    folder = ROOT / f".venv-3.{minor}"
    ready, described = folder / ".ready", ROOT / "pyproject.toml"
    inside = str(folder / "bin" / "python")
    if ready.exists() and ready.stat().st_mtime >= described.stat().st_mtime:
        if ready.read_text() in ("\n".join(EVERYTHING), "\n".join(what)):
            return inside
        ready.unlink()
    subprocess.run([python, "-m", "venv", str(folder)], check=True)
    pip = [inside, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", *what], check=True, cwd=ROOT)
    ready.write_text("\n".join(what))
    return inside


def environments(pythons: dict[int, str], what: Sequence[str]) -> dict[int, str | None]:
    """N -> the Python of its environment, None if that cannot be made. Makes them at the same time."""

    def made(minor: int) -> str | None:
        try:
            return environment(minor, pythons[minor], what)
        except (subprocess.CalledProcessError, OSError) as error:
            print(f"matrix: no environment for 3.{minor}: {error}", flush=True)
            return None

    with ThreadPoolExecutor() as pool:
        return dict(zip(pythons, pool.map(made, pythons), strict=True))


def chosen_pythons(ends: bool) -> dict[int, str]:
    """The installed Pythons but the running one. ends: of all, only the oldest and the newest."""
    running = sys.version_info.minor
    found = installed()
    known = {*found, running}
    wanted = {min(known), max(known)} if ends else known
    return {minor: python for minor, python in found.items() if minor in wanted - {running}}


def main() -> int:
    """Exit status 0 when every Python passed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ends", action="store_true", help="only the oldest and the newest")
    parser.add_argument("--prepare", action="store_true", help="only make the environments")
    chosen, arguments = parser.parse_known_args()
    pythons = chosen_pythons(chosen.ends)
    if not pythons:
        print(f"matrix: no other Python from 3.{OLDEST} on is installed: nothing else to test")
        return 0
    made = environments(pythons, TRACING if chosen.ends else EVERYTHING)
    if chosen.prepare:
        return 0
    rows, bad = [], 0
    for minor, python in made.items():
        print(f"== Python 3.{minor}", flush=True)
        if python is None:
            # CI must not fail because a package cannot be had for some Python on the machine.
            bad += not chosen.ends
            rows.append((minor, "left out: no environment"))
            continue
        began = time.monotonic()
        command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
        status = subprocess.run(command, cwd=ROOT, timeout=LONGEST).returncode
        bad += status != 0
        verdict = f"failed, exit status {status}" if status else "passed"
        rows.append((minor, f"{verdict}, {time.monotonic() - began:.0f} s"))
    print("\nPython  tests")
    for minor, verdict in rows:
        print(f"3.{minor:<6}{verdict}")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
