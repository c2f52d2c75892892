"""A table of rules, expanded to named flat states: what `transitions` runs and diagrams draw."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sockfsm.model.rules import ACCEPTED, Parts, Rule, Table


@dataclass(frozen=True, slots=True)
class Cell:
    """One way a call can end in a state: its outcome, where it leads, and the rule that says so."""

    state: str
    call: str
    outcome: str
    target: str
    rule: Rule

    @property
    def trigger(self) -> str:
        """The trigger's name in the `transitions` machine, such as `bind_ok`."""
        return f"{self.call}_{self.outcome}"


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
                cells: dict[str, Cell] = {}
                for entry in self._choices(call, parts):
                    count = len(self.states)
                    target = self._add(self.table.after(entry, parts))
                    if len(self.states) > count:
                        todo.append(target)
                    cells[entry.outcome] = Cell(state, call, entry.outcome, target, entry)
                self.cells[state, call] = tuple(cells.values())

    def _choices(self, call: str, parts: Parts) -> Iterator[Rule]:
        """One rule for each outcome: that of the reference environment, else the first."""
        chosen: dict[str, Rule] = {}
        expected: Rule | None = None
        for entry in self.table.fitting(call, parts):
            chosen.setdefault(entry.outcome, entry)
            if expected is None and all(c.holds(self._reference[c.name]) for c in entry.given):
                expected = chosen[entry.outcome] = entry
        yield from chosen.values()

    def __iter__(self) -> Iterator[Cell]:
        """Every cell of the machine, in the order of states and calls."""
        for cells in self.cells.values():
            yield from cells

    def cell(self, state: str, call: str, outcome: str) -> Cell | None:
        """The cell for this outcome, None when no rule explains it."""
        for cell in self.cells.get((state, call), ()):
            if cell.outcome == outcome:
                return cell
        return None

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
