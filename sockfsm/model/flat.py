"""A table of rules, expanded to named flat states: what `transitions` runs and diagrams draw."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from sockfsm.model.rules import ACCEPTED, Condition, Parts, Rule, Table
from sockfsm.model.variants import VARIANTS


def _special(condition: Condition) -> bool:
    return condition.name == "mode" or "abstract" in condition.values


@dataclass(frozen=True, slots=True)
class Cell:
    """One way a call can end in a state: its outcome, where it leads, and the rule that says so.

    variant: one of VARIANTS, in which the outcome leads elsewhere than it usually does: a refused
    connect of a `blocking` socket leaves it fresh, one of a socket with a `timeout` does not.
    """

    state: str
    call: str
    outcome: str
    target: str
    rule: Rule
    variant: str = ""

    @property
    def trigger(self) -> str:
        """The trigger's name in the `transitions` machine: `bind_ok`, `connect_ok_timeout`."""
        return f"{self.call}_{self.outcome}_{self.variant}".removesuffix("_")


class FlatMachine:
    """All reachable states of a kind and, for each state and call, the possible outcomes."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.kind = table.kind
        self.calls = table.calls
        self.states: dict[str, Parts] = {}
        self.cells: dict[tuple[str, str], tuple[Cell, ...]] = {}
        self._named: dict[Parts, str] = {}
        self._reference = table.reference
        self.initial = self._add(table.initial)
        self._expand()

    def _add(self, parts: Parts) -> str:
        name = self._named.get(parts)
        if name is not None:
            return name
        name = self._named[parts] = self.table.name(parts)
        known = self.states.setdefault(name, parts)
        if known != parts:
            raise ValueError(f"{self.kind}: two situations are called {name}: {known} and {parts}")
        return name

    def _expand(self) -> None:
        todo = [self.initial]
        while todo:
            state = todo.pop(0)
            parts = self.states[state]
            for call in self.calls:
                cells: list[Cell] = []
                for entry, variant in self._choices(call, parts):
                    count = len(self.states)
                    target = self._add(self.table.after(entry, parts))
                    if len(self.states) > count:
                        todo.append(target)
                    cells.append(Cell(state, call, entry.outcome, target, entry, variant))
                self.cells[state, call] = tuple(cells)

    def _choices(self, call: str, parts: Parts) -> Iterator[tuple[Rule, str]]:
        """One rule for each outcome, and one more for each variant in which it leads elsewhere."""
        rules = tuple(self.table.fitting(call, parts))
        if not any(_special(condition) for entry in rules for condition in entry.given):
            yield from ((entry, "") for entry in self._first(rules, self._reference).values())
            return
        usual: dict[str, Rule] = {}
        for variant, known in {"": {"mode": self._reference["mode"]}, **VARIANTS}.items():
            if not all(value in self.table.environment[fact] for fact, value in known.items()):
                continue
            rules = tuple(self.table.fitting(call, parts, known))
            for outcome, entry in self._first(rules, {**self._reference, **known}).items():
                if outcome not in usual:
                    usual[outcome] = entry
                    yield entry, ""
                elif self.table.after(entry, parts) != self.table.after(usual[outcome], parts):
                    yield entry, variant

    @staticmethod
    def _first(rules: Iterable[Rule], environment: Mapping[str, str]) -> dict[str, Rule]:
        """One rule for each outcome: that of the environment, else the first."""
        chosen: dict[str, Rule] = {}
        expected: Rule | None = None
        for entry in rules:
            chosen.setdefault(entry.outcome, entry)
            if expected is None and all(c.holds(environment[c.name]) for c in entry.given):
                expected = chosen[entry.outcome] = entry
        return chosen

    def __iter__(self) -> Iterator[Cell]:
        """Every cell of the machine, in the order of states and calls."""
        for cells in self.cells.values():
            yield from cells

    def cell(self, state: str, call: str, outcome: str, variant: str = "") -> Cell | None:
        """The cell for this outcome (of this variant, where it matters), None when no rule fits."""
        found: Cell | None = None
        for cell in self.cells.get((state, call), ()):
            fits = cell.outcome == outcome and cell.variant in ("", variant)
            if fits and (found is None or cell.variant):
                found = cell
        return found

    def refusal(self, state: str, call: str, facts: Mapping[str, str] | None = None) -> Rule | None:
        """The rule that refuses `call` in `state`; None when it is legal.

        A refusal holds whatever the environment is. facts: what is known of it all the same, such
        as {"to": "none"} for a send without an address.
        """
        parts = self.states[state]
        rules = tuple(self.table.fitting(call, parts, facts))
        if not rules or any(entry.outcome in ACCEPTED and not entry.aside for entry in rules):
            return None
        environment = {**self.table.reference, **(facts or {})}
        return self.table.predict(call, parts, environment) or rules[-1]

    def legal(self, state: str) -> tuple[str, ...]:
        """The calls that the kernel may take in `state`."""
        return tuple(
            call
            for call in self.calls
            if self.cells[state, call] and self.refusal(state, call) is None
        )
