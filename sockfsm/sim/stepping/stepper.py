"""A scenario step by step: forward, by any event that may come next, and back.

An actor, or a packet, may be late: whatever is due may come before it. A timer is never late, and
packets of one direction do not overtake each other. In the order in which all is due, a run is the one
of `Simulation`.
"""

from __future__ import annotations

from sockfsm.sim.scenario import Scenario
from sockfsm.sim.stepping.looks import Looks
from sockfsm.sim.stepping.paced import Paced
from sockfsm.sim.stepping.view import View
from sockfsm.trace.source import MemoryTrace

Taken = tuple[int, bool]
"""The number of an event, and whether it is a packet that was lost."""


class Stepper:
    """Takes the steps of one run. To go back is to run it again: it is deterministic."""

    def __init__(self, scenario: Scenario, seed: int = 0) -> None:
        self._scenario, self._seed = scenario, seed
        self._taken: list[Taken] = []
        self._undone: list[Taken] = []
        self._run = Paced(scenario, seed)
        self._view: View | None = None

    @property
    def view(self) -> View:
        """What there is to see now."""
        if self._view is None:
            chosen = self._undone[-1][0] if self._undone else -1
            self._view = Looks(self._run).view(len(self._taken), chosen)
        return self._view

    @property
    def over(self) -> bool:
        """Whether nothing is left that may happen."""
        return self._run.over

    @property
    def unmet(self) -> list[str]:
        """What was not as the scenario expects, so far."""
        run = self._run
        found = run.unmet if run.over else [f for f in run.failures if f.kind != "deadlock"]
        return [str(failure) for failure in found]

    def step(self, number: int | None = None, *, lose: bool = False) -> bool:
        """Let an event happen, by default the one that is due first. False where it cannot.

        number: of a choice. lose: it is a packet, and is lost.
        """
        run = self._run
        if number is None and not run.over:
            number = run.first()
        if number is None or not run.possible(number, lose):
            return False
        self._view = None
        taken = (number, lose)
        if self._undone and self._undone[-1] == taken:
            self._undone.pop()
        else:
            self._undone.clear()
        self._taken.append(taken)
        run.take(number, lose)
        return True

    def back(self) -> bool:
        """Undo a step. False at the beginning."""
        if not self._taken:
            return False
        self._undone.append(self._taken.pop())
        self._again()
        return True

    def to_start(self) -> None:
        """Undo all."""
        self._undone += reversed(self._taken)
        self._taken.clear()
        self._again()

    def go_on(self, *, to_refusal: bool = False, most: int | None = None) -> bool:
        """Go on in the order of time, to the end or until a call is refused.

        most: steps after which to come back. Returns whether they were too few.
        """
        taken = 0
        while self.step():
            taken += 1
            answered = self._run.answered
            if to_refusal and answered is not None and answered.refused:
                return False
            if taken == most:
                return not self.over
        return False

    def trace(self) -> MemoryTrace:
        """The run so far as a trace."""
        run = self._repeated()
        if not run.over:
            run.interrupted()
        return run.recorder.trace(run.kernel.network.packets)

    def _again(self) -> None:
        self._run = self._repeated()
        self._view = None

    def _repeated(self) -> Paced:
        run = Paced(self._scenario, self._seed)
        for number, lose in self._taken:
            run.take(number, lose)
        return run
