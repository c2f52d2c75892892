"""How tests are run: each worker in a network of its own, in any order, always the same examples."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import subprocess
from itertools import groupby

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "steady", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("steady")

_CLONE_NEWNET = 0x40000000
_BEFORE = pytest.StashKey[set[str]]()

# A background job of a shell is born with SIGINT ignored, and would hand that on to the programs.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--shuffle",
        type=int,
        metavar="SEED",
        help="the files, and the tests in each, in random order",
    )


def pytest_configure(config: pytest.Config) -> None:
    """No worker of `pytest -n` sees another's packets or ports."""
    # Without the right to it (a container may take it from root), the network is shared.
    if hasattr(config, "workerinput") and ctypes.CDLL(None).unshare(_CLONE_NEWNET) == 0:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def _elsewhere(config: pytest.Config) -> set[str]:
    """What lies where no test may leave or remove anything. As root, one could."""
    root = config.rootpath
    found = {entry.path for entry in os.scandir("/etc")}
    return found | {entry.path for entry in os.scandir(root) if entry.name[0] not in "._"}


def pytest_sessionstart(session: pytest.Session) -> None:
    session.config.stash[_BEFORE] = _elsewhere(session.config)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """The run fails where a test left or removed something outside its own folder."""
    changed = session.config.stash[_BEFORE] ^ _elsewhere(session.config)
    if changed and not hasattr(session.config, "workerinput"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        print("\nleft or removed by a test:", *sorted(changed))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    seed = config.getoption("--shuffle")
    if seed is None:
        return
    chance = random.Random(seed)
    files = [list(group) for _, group in groupby(items, key=lambda item: item.path)]
    chance.shuffle(files)
    for tests in files:
        chance.shuffle(tests)
    items[:] = [test for tests in files for test in tests]
