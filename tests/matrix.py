"""The tests on every Python from 3.10 on that is installed, each in an environment of its own.

    python tests/matrix.py [--ends] [PYTEST'S ARGUMENTS ...]

The running Python is left out: `make test` is its test. `--ends`: only the oldest and the newest.
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
from pathlib import Path

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


def environment(minor: int, python: str) -> str:
    """The Python of its environment, which is made when it is missing or older than its description."""
    folder = ROOT / f".venv-3.{minor}"
    ready, described = folder / ".ready", ROOT / "pyproject.toml"
    if not ready.exists() or ready.stat().st_mtime < described.stat().st_mtime:
        subprocess.run([python, "-m", "venv", str(folder)], check=True)
        pip = [
            str(folder / "bin" / "python"),
            "-m",
            "pip",
            "--quiet",
            "--disable-pip-version-check",
        ]
        subprocess.run([*pip, "install", "-e", ".[draw,learn,test]"], check=True, cwd=ROOT)
        ready.touch()
    return str(folder / "bin" / "python")


def main() -> int:
    """Exit status 0 when every Python passed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ends", action="store_true", help="only the oldest and the newest")
    chosen, arguments = parser.parse_known_args()
    others = {n: python for n, python in installed().items() if n != sys.version_info.minor}
    if not others:
        print(f"matrix: no other Python from 3.{OLDEST} on is installed: nothing else to test")
        return 0
    picked = sorted({min(others), max(others)} if chosen.ends else others)
    rows, bad = [], 0
    for minor in picked:
        print(f"== Python 3.{minor}", flush=True)
        began = time.monotonic()
        try:
            python = environment(minor, others[minor])
        except subprocess.CalledProcessError as error:
            rows.append((minor, f"no environment: {error}"))
            bad += 1
            continue
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
