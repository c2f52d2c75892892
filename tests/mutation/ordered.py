"""A plugin for pytest: runs the tests that `MUTANTS_ORDER` lists, or tells how long each one took."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

_ORDER = os.environ.get("MUTANTS_ORDER", "")
_SECONDS = os.environ.get("MUTANTS_SECONDS", "")
_seconds: dict[str, float] = {}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not _ORDER:
        return
    listed = json.loads(Path(_ORDER).read_text(encoding="utf-8"))
    place = {test: number for number, test in enumerate(listed["tests"])}
    left = [item for item in items if (item.nodeid in place) == listed["rest"]]
    items[:] = [item for item in items if (item.nodeid in place) != listed["rest"]]
    if not listed["rest"]:
        items.sort(key=lambda item: place[item.nodeid])
    config.hook.pytest_deselected(items=left)


def pytest_runtest_logstart(nodeid: str) -> None:
    if "heard" in sys.modules:
        sys.modules["heard"].known.clear()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _seconds[report.nodeid] = _seconds.get(report.nodeid, 0) + report.duration


def pytest_sessionfinish() -> None:
    if _SECONDS:
        Path(_SECONDS).write_text(json.dumps(_seconds), encoding="utf-8")
