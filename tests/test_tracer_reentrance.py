"""The collector, a signal handler or another thread comes between two of the tracer's steps."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from sockfsm.events import Lost
from sockfsm.model.shipped import shipped
from sockfsm.record.layout import NUMBER
from sockfsm.trace.trace import Trace
from sockfsm.tracer import about as module
from sockfsm.tracer import current
from sockfsm.tracer.about import About
from sockfsm.tracer.ongoing import Ongoing, _flying
from sockfsm.tracer.rows import Kind, Model, Tracked


class Falling:
    """Garbage: the collector finds it, it does something, and leaves another one, `times` times."""

    def __init__(self, does: Callable[[], object], times: int) -> None:
        self.itself, self.does, self.times = self, does, times

    def __del__(self) -> None:
        self.does()
        if self.times:
            Falling(self.does, self.times - 1)


@pytest.fixture
def collecting() -> Iterator[None]:
    """The collector runs at every allocation that can make it."""
    before = gc.get_threshold()
    gc.set_threshold(1)
    yield
    gc.set_threshold(*before)


@pytest.mark.usefixtures("collecting")
def test_calls_that_begin_while_those_under_way_are_looked_at() -> None:
    model = Model(1, Kind("tcp", shipped("tcp")).initial)
    tracked = Tracked(current.session, model)
    calls = [Ongoing(tracked, NUMBER["close"], None) for _ in range(200)]
    more: list[Ongoing] = []
    for _ in range(20):
        Falling(lambda: more.append(Ongoing(tracked, NUMBER["close"], None)), 100)
        assert len(_flying(model)) >= len(calls)
    assert more  # how often the collector runs depends on the Python


def test_a_signal_handler_that_tells_of_another_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = About(Trace(tmp_path), print)
    told: list[Lost] = []
    plain = asdict

    def interrupted(one: Lost) -> dict[str, Any]:
        if not told:
            told.append(one)
            about.lack("more", [])
        return plain(one)

    monkeypatch.setattr(module, "asdict", interrupted)
    about.lack("packets", [Lost("packets", "", 1, False, 0, 0, "", "")])
    assert len(about.facts["losses"]) == 1
