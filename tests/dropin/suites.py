"""The suites of others: CPython's own and those of packages, from their sdists."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

from differ import PROGRAMS

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".dropin"
"""Ignored by git: sdists, and an environment with the packages and what their tests need."""

SHARED = """
urllib3 httpx httpcore aiohttp tornado trio anyio twisted paramiko redis uvicorn
dnspython pytest pytest-timeout pytest-asyncio pytest-trio pytest-mock pytest-socket
trustme hypothesis psutil chardet zstandard brotli h2 socksio websockets wsproto
httptools a2wsgi watchfiles python-dotenv pyyaml freezegun time-machine re-assert
proxy.py blockbuster isal pytest-codspeed gunicorn quart hypercorn quart-trio pysocks
pyopenssl icecream invoke uvloop gevent eventlet service_identity pyasn1 bcrypt
hyperlink async_generator pytest-relaxed pyhamcrest httpx2 coverage
""".split()  # noqa: SIM905 - a list of sixty lines says no more
APART = (
    *[
        "requests",
        "pytest",
        "pytest-timeout",
        "pytest-mock",
        "trustme",
        "pysocks",
        "pytest-httpbin",
    ],
    "httpbin>=0.10",
    "werkzeug<3",
    "flask<3",
)
"""httpbin works with the werkzeug of yesterday only, quart with that of today."""
HOMES = {"venv": SHARED, "venv-requests": APART}
"""Environment -> what is installed there."""


@dataclass(frozen=True)
class Suite:
    """One suite: what runs, and from where."""

    name: str
    tests: tuple[str, ...]
    """Modules of CPython, or paths and switches for pytest."""
    more: tuple[str, ...] = ()
    """Further ones, for the long form."""
    package: str = ""
    """Whose sdist; empty: CPython's own."""
    environment: dict[str, str] = field(default_factory=dict)
    server: bool = False
    """Whether it needs a redis-server."""

    def chosen(self, long: bool) -> tuple[str, ...]:
        """The tests of the short or the long form."""
        return (*self.tests, *(self.more if long else ()))


def _cpython(name: str, *tests: str, more: tuple[str, ...] = ()) -> Suite:
    chosen = [f"test.{each}" for each in tests or (name,)]
    return Suite(name, tuple(chosen), tuple(f"test.{each}" for each in more))


ASYNCIO = (
    "base_events buffered_proto events selector_events sendfile server sock_lowlevel sslproto"
    " streams unix_events"
)
MULTIPROCESSING = "TestConnection TestListener TestListenerClient TestPicklingConnections TestPoll"
TRIO = (
    "socket highlevel_socket highlevel_open_tcp_stream highlevel_open_tcp_listeners ssl subprocess"
)
SUITES = (
    _cpython("test_socket"),
    _cpython("test_socketserver"),
    _cpython("test_ssl"),
    _cpython(
        "test_asyncio",
        *(f"test_asyncio.test_{name}" for name in ASYNCIO.split()),
        more=("test_asyncio.test_ssl",),
    ),
    _cpython("test_ftplib"),
    _cpython("test_httplib"),
    _cpython("test_httpservers"),
    _cpython("test_smtplib"),
    _cpython("test_selectors"),
    _cpython("test_xmlrpc"),
    _cpython("test_poplib"),
    _cpython("test_imaplib"),
    _cpython("test_telnetlib"),
    *(
        Suite(
            f"test_multiprocessing_{method}",
            tuple(f"mp_{method}.WithProcesses{case}" for case in MULTIPROCESSING.split()),
            (f"mp_{method}",),
        )
        for method in ("fork", "spawn", "forkserver")
    ),
    Suite(
        "urllib3",
        (
            "test/with_dummyserver/test_connectionpool.py",
            "test/with_dummyserver/test_poolmanager.py",
            "test/test_connectionpool.py",
            "test/test_wait.py",
            "test/test_ssltransport.py",
        ),
        ("test",),
        "urllib3",
    ),
    Suite("httpx", ("tests",), (), "httpx"),
    Suite("httpcore", ("tests",), (), "httpcore"),
    Suite(
        "aiohttp",
        (
            "tests/test_client_functional.py",
            "tests/test_web_sendfile_functional.py",
            "tests/test_connector.py",
            "tests/test_run_app.py",
            "tests/test_tcp_helpers.py",
        ),
        ("tests",),
        "aiohttp",
    ),
    Suite("requests", ("tests",), (), "requests"),
    Suite(
        "tornado",
        (
            "tornado/test/iostream_test.py",
            "tornado/test/tcpserver_test.py",
            "tornado/test/tcpclient_test.py",
            "tornado/test/netutil_test.py",
            "tornado/test/httpserver_test.py",
            "tornado/test/simple_httpclient_test.py",
            "tornado/test/ioloop_test.py",
        ),
        ("tornado/test",),
        "tornado",
    ),
    Suite(
        "trio",
        (
            "--pyargs",
            *(f"trio._tests.test_{name}" for name in TRIO.split()),
            "trio._core._tests.test_io",
            "trio._core._tests.test_guest_mode",
        ),
        ("trio",),
        "trio",
    ),
    Suite("anyio", ("tests/test_sockets.py", "tests/streams"), ("tests",), "anyio"),
    Suite(
        "twisted",
        (
            "--pyargs",
            *(f"twisted.test.test_{name}" for name in ["tcp", "unix", "udp", "ssl"]),
            "twisted.internet.test.test_tcp",
            "twisted.internet.test.test_unix",
            "twisted.internet.test.test_udp",
        ),
        ("twisted.internet", "twisted.web", "twisted.protocols"),
        "twisted",
    ),
    Suite(
        "paramiko",
        (
            "tests/test_transport.py",
            "tests/test_client.py",
            "tests/test_sftp.py",
            "tests/test_proxy.py",
        ),
        ("tests",),
        "paramiko",
    ),
    Suite(
        "redis",
        (
            "tests/test_connection.py",
            "tests/test_connection_pool.py",
            "tests/test_pubsub.py",
            "tests/test_multiprocessing.py",
            "tests/test_retry.py",
            "tests/test_connect.py",
            "tests/test_pipeline.py",
        ),
        ("tests/test_commands.py", "tests/test_asyncio"),
        "redis",
        server=True,
    ),
    Suite(
        "uvicorn",
        (
            "tests/test_server.py",
            "tests/test_main.py",
            "tests/test_config.py",
            "tests/protocols",
            "tests/supervisors",
        ),
        ("tests",),
        "uvicorn",
    ),
    Suite(
        "dnspython",
        ("tests/test_async.py", "tests/test_doh.py", "tests/test_query.py"),
        ("tests",),
        "dnspython",
        {"NO_INTERNET": "1"},
    ),
)


def python(package: str = "") -> str:
    """The Python of the environment that has the package."""
    home = "venv-requests" if package == "requests" else "venv"
    return str(CACHE / home / "bin" / "python")


def prepare(report: Path) -> None:
    """Fetch the sdists and install what is missing, once."""
    ready, wanted = CACHE / "ready", json.dumps(HOMES)
    if ready.exists() and ready.read_text() == wanted:
        return
    sources = CACHE / "src"
    sources.mkdir(parents=True, exist_ok=True)
    with report.open("a") as log:
        for home, packages in HOMES.items():
            subprocess.run([sys.executable, "-m", "venv", str(CACHE / home)], check=True)
            install = [str(CACHE / home / "bin" / "python"), "-m", "pip", "install", "--quiet"]
            subprocess.run([*install, *packages], check=True, stdout=log, stderr=log)
        for name in sorted({suite.package for suite in SUITES} - {""}):
            _source(name, sources, log.fileno())
    # Packages without a configuration for pytest shall not find ours.
    (CACHE / "pytest.ini").write_text("[pytest]\n")
    ready.write_text(wanted)


def _source(name: str, sources: Path, log: int) -> None:
    """The sdist of the version that is installed, unpacked."""
    told = [python(name), "-c", f"import importlib.metadata as m; print(m.version({name!r}))"]
    version = subprocess.run(told, capture_output=True, text=True, check=True).stdout.strip()
    if (sources / f"{name}-{version}").exists():
        return
    fetch = [python(name), "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", name]
    wanted = ["--dest", str(sources), f"{name}=={version}"]
    subprocess.run([*fetch, *wanted], check=True, stdout=log, stderr=log)
    with tarfile.open(sources / f"{name}-{version}.tar.gz") as archive:
        archive.extractall(sources, filter="data")


def source(name: str) -> Path:
    """Where a package's sdist lies."""
    return next(path for path in sorted((CACHE / "src").glob(f"{name}-*")) if path.is_dir())


def command(suite: Suite, results: Path, long: bool, redis: int) -> list[str]:
    """The command that runs a suite and writes its results."""
    if not suite.package:
        return [sys.executable, str(PROGRAMS / "cpython.py"), str(results), *suite.chosen(long)]
    switches = ["-p", "no:cacheprovider", "-p", "no:codspeed", "-p", "no:cov", "-p", "no:relaxed"]
    switches += [
        # When garbage is collected, another test than its own may be blamed.
        "-W",
        "default::pytest.PytestUnraisableExceptionWarning",
        "-o",
        "asyncio_default_fixture_loop_scope=function",
        "-o",
        "addopts=",
        "--timeout=60",
        "-q",
        f"--junitxml={results}",
    ]
    if suite.package == "trio":
        switches += ["-p", "trio._tests.pytest_plugin"]
    if suite.server:
        switches.append(f"--redis-url=redis://127.0.0.1:{redis}/9")
    return [python(suite.package), "-m", "pytest", *switches, *suite.chosen(long)]


def place(suite: Suite) -> Path:
    """The folder that a suite runs in."""
    if not suite.package or "--pyargs" in suite.tests:
        return CACHE
    return source(suite.package)


def environment(suite: Suite) -> dict[str, str]:
    """What a suite finds in its environment."""
    return {**os.environ, "PYTHONHASHSEED": "0", "COLUMNS": "80", **suite.environment}
