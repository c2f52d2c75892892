"""gevent's and eventlet's own tests of sockets, plain and traced: they must end alike.

    python tests/green_suites.py [gevent] [eventlet]

Prints a line for each module; exit status 1 when one differs. gevent brings its tests along, those of
eventlet are in its source distribution, which pip fetches.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from patience import PATIENCE

GEVENT = (
    "socket", "socket_close", "socket_ex", "socket_timeout", "socketpair", "socket_errors",
    "socket_send_memoryview", "ssl", "server", "greenio", "makefile_ref", "refcount", "pywsgi",
    "server_pywsgi", "select", "selectors", "monkey", "backdoor",
)  # fmt: skip
EVENTLET = "greenio_test", "ssl_test", "wsgi_test", "socket_test", "api_test", "convenience_test"
_RESULT = re.compile(
    r"^(\S.*?) \.\.\. (ok|FAIL|ERROR|skipped)|^(\S+::\S+) (PASSED|FAILED|ERROR|SKIPPED)",
    re.MULTILINE,
)


class Compared(NamedTuple):
    """One module's tests: name -> result of those that ended otherwise when traced."""

    module: str
    tests: int
    differing: dict[str, tuple[str, str]]


def compare(library: str) -> Iterator[Compared]:
    """Run the library's tests plain and traced."""
    if library == "gevent":
        for name in GEVENT:
            module = f"gevent.tests.test__{name}"
            yield _both(module, ["-m", module, "-v"], Path.cwd())
        return
    with tempfile.TemporaryDirectory() as folder:
        home = _source(library, folder)
        for name in EVENTLET:
            words = ["-m", "pytest", "-p", "no:sockfsm", "-p", "no:cacheprovider", "-v"]
            yield _both(name, [*words, "-W", "ignore", f"tests/{name}.py"], home)


def _source(library: str, folder: str) -> Path:
    wanted = f"{library}=={version(library)}"
    words = ["-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "-d"]
    subprocess.run([sys.executable, *words, folder, wanted], check=True, capture_output=True)
    archive = next(Path(folder).glob("*.tar.gz"))
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return Path(folder) / archive.name.removesuffix(".tar.gz")


def _both(module: str, words: list[str], home: Path) -> Compared:
    with tempfile.TemporaryDirectory() as folder:
        tracing = ["-m", "sockfsm", "run", "--no-capture", "-o", f"{folder}/trace", sys.executable]
        plain, traced = _results(words, home), _results([*tracing, *words], home)
    names = plain.keys() | traced.keys()
    pairs = {name: (plain.get(name, "-"), traced.get(name, "-")) for name in names}
    return Compared(module, len(plain), {n: p for n, p in pairs.items() if p[0] != p[1]})


def _results(words: list[str], home: Path) -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, timeout=PATIENCE, cwd=home
    )
    found = _RESULT.findall(done.stdout + done.stderr)
    return {one or two: how or result for one, how, two, result in found}


if __name__ == "__main__":
    differs = False
    for chosen in sys.argv[1:] or ("gevent", "eventlet"):
        for compared in compare(chosen):
            print(compared.module, compared.tests, compared.differing or "the same", flush=True)
            differs |= bool(compared.differing) or not compared.tests
    sys.exit(differs)
