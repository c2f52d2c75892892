"""Predicts many sequences: reads one from each line, and writes a JSON object for each, in order."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator

from sockfsm.errors import UsageError
from sockfsm.model.predict import Predictor, Situation
from sockfsm.model.rules import ACCEPTED, EOF, OK, WITHOUT_DESCRIPTOR

_LONGEST = 100_000
# JSON fragments of one step: outcome, state after, legal; and the situation that follows.
_Fragments = tuple[str, str, str, "_Place"]


class _Place:
    """A situation, with its steps as JSON text."""

    __slots__ = ("situation", "steps")

    def __init__(self, situation: Situation) -> None:
        self.situation = situation
        self.steps: dict[str, _Fragments] = {}


class Batch:
    """Turns lines into JSON lines. Each (state, call) is predicted once.

    A line has call words, separated by spaces or commas; an empty line is the empty sequence. For a
    line that is no sequence it writes `{"error": ...}`, and calls `failed`.
    """

    def __init__(
        self, predictor: Predictor, failed: Callable[[str], None], state: str = ""
    ) -> None:
        self._predictor = predictor
        self._failed = failed
        self._places: dict[int, _Place] = {}
        self._created = self._place(predictor.origin((), state))
        self._start = self._created if state else self._place(predictor.start)

    def _place(self, situation: Situation) -> _Place:
        place = self._places.get(id(situation))
        if place is None:
            place = self._places[id(situation)] = _Place(situation)
        return place

    def _step(self, place: _Place, call: str) -> _Fragments:
        outcome, after, _ = self._predictor.step(place.situation, call)
        fragments = (
            f'"{OK if outcome == EOF else outcome}"',
            f'"{after.name}"',
            "true" if outcome in ACCEPTED else "false",
            self._place(after),
        )
        place.steps[call] = fragments
        return fragments

    def line(self, text: str) -> str:
        """The JSON object for one sequence. UsageError if the line is no sequence."""
        words = text.replace(",", " ").split()
        if len(words) > _LONGEST:
            raise UsageError(f"{len(words)} calls are too many: at most {_LONGEST}")
        made = words and words[0] in WITHOUT_DESCRIPTOR and words[0] != "exit"
        place = self._start if made else self._created
        outcomes, states, legal = [], [], []
        for word in words:
            found = place.steps.get(word) or self._step(place, word)
            outcomes.append(found[0])
            states.append(found[1])
            legal.append(found[2])
            place = found[3]
        return (
            f'{{"outcomes": [{", ".join(outcomes)}], "states": [{", ".join(states)}], '
            f'"legal": [{", ".join(legal)}]}}'
        )

    def lines(self, texts: Iterable[str]) -> Iterator[str]:
        """Yield a JSON object for each line."""
        for number, text in enumerate(texts, 1):
            try:
                yield self.line(text)
            except UsageError as error:
                message = f"line {number}: {error}"
                self._failed(message)
                yield json.dumps({"error": message})
