"""A signal handler that raises between what the kernel has done and the record: the loss is told."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import sockfsm
from sockfsm.record.layout import NUMBER
from sockfsm.record.writer import Log, Told
from sockfsm.trace.trace import Trace
from sockfsm.tracer import ongoing, transfer


class StopError(Exception):
    """What the program's handler raises."""


@pytest.fixture(params=[StopError, KeyError, KeyboardInterrupt])
def kind(request: pytest.FixtureRequest) -> Iterator[type[BaseException]]:
    """A kind of exception that SIGUSR1 raises."""

    def handler(number: int, frame: FrameType | None) -> None:
        raise request.param("the program's")

    before = signal.signal(signal.SIGUSR1, handler)
    yield request.param
    signal.signal(signal.SIGUSR1, before)


def coming(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function; a signal comes first, once."""
    left = [1]

    def interrupted(*arguments: Any, **named: Any) -> Any:
        if left:
            left.pop()
            signal.raise_signal(signal.SIGUSR1)
        return function(*arguments, **named)

    return interrupted


PLACES: dict[str, tuple[Any, str]] = {
    "fast path": (transfer, "_getframe"),
    "slow path": (ongoing.Ongoing, "_judged"),
    "record": (ongoing.Ongoing, "_write"),
    "log": (Log, "tell"),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_call_that_was_interrupted_behind_the_kernel_is_counted(
    place: str, kind: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, name = PLACES[place]
    with sockfsm.tracing(tmp_path):
        near, far = socket.socketpair()
        # The first goes the slow way in any case: nobody knows its place yet.
        for _ in range(3):
            near.send(b"x")
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, coming(getattr(owner, name)))
            with pytest.raises(kind):
                near.sendmsg([b"x"]) if place != "fast path" else [near.send(b"x") for _ in "123"]
        there = len(far.recv(100))
        near.close()
        far.close()
    trace = Trace.open(tmp_path)
    sent = [call for call in trace.calls() if call.call == "send" and call.outcome == "ok"]
    (lost,) = trace.losses
    assert (lost.what, lost.count, lost.least) == ("calls", 1, True)
    assert len(sent) + 1 == there
    assert "Interrupted system call" in lost.text


def test_no_slot_is_lost_to_a_handler_that_comes_at_any_step(tmp_path: Path) -> None:
    """The taking of a slot and its use are one step: nothing is called between them."""
    import ast
    import inspect
    import textwrap

    for function in (transfer.sender, transfer.receiver, transfer.filler, Log._put):
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
        taken = [
            n for n in ast.walk(tree) if isinstance(n, ast.For) and "slots" in ast.unparse(n.iter)
        ]
        assert len(taken) == 1
        assert isinstance(taken[0].iter, ast.Name | ast.Attribute)
        assert isinstance(taken[0].body[0], ast.Expr | ast.Break)
        assert "next(" not in ast.unparse(tree)


def test_a_record_that_is_written_is_no_loss(tmp_path: Path) -> None:
    log = Log()
    log.open(str(tmp_path), 1, lambda _: [], print)
    call = Told()
    call.begin_watch(log)
    log.tell(call, 1, 2, NUMBER["send"], 1, 0, 0, 0, 0)
    del call
    assert not log.untold
    call = Told()
    call.begin_watch(log)
    del call
    assert len(log.untold) == 1
    log.close()
