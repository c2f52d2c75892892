"""Expands a table of rules to named flat states, which `transitions` runs and diagrams draw."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from sockfsm.model.rules import ACCEPTED, Parts, Rule, Table
from sockfsm.model.variants import VARIANTS
from sockfsm.model.ways import Reach, given_name

_DRAWN = frozenset({"blocking", "timeout", "abstract", "address"})
"""The variants that may get a cell of their own. Other flags and lengths matter only to the tracer."""

Ways = dict[str, dict[str, tuple["Cell", ...]]]
"""variant -> outcome -> the cells that fit, the likeliest first."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One way a call can end in a state: its outcome, where it leads, and the rule that says so.

    variant: '', or the case in which the same outcome leads elsewhere: words of VARIANTS (a refused
    connect leaves a `blocking` socket fresh, but not one with a `timeout`), or `if_` and the
    environment, which a tracer cannot see.
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
        return f"{self.call}_{self.outcome}_{self.variant.replace(' ', '_')}".removesuffix("_")


class FlatMachine:
    """All reachable states of a kind and, for each state and call, the possible outcomes.

    cells: (state, call) -> the likeliest way of each outcome. hidden: the other ways, between which the
    environment decides unseen. ways: all of them, by what is known of the call.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        self.kind = table.kind
        self.calls = table.calls
        self.states: dict[str, Parts] = {}
        self.cells: dict[tuple[str, str], tuple[Cell, ...]] = {}
        self.hidden: dict[tuple[str, str], tuple[Cell, ...]] = {}
        self.ways: dict[tuple[str, str], Ways] = {}
        self._named: dict[Parts, str] = {}
        self._reach = Reach(table)
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
        """Walk all ways. The visible ones come first, for the order of states that readers expect."""
        done = 0
        seen: list[str] = []
        while done < len(self.states):
            while done < len(self.states):
                seen.append(list(self.states)[done])
                done += 1
                for call in self.calls:
                    self._fill(seen[-1], call)
            for state in seen:
                for call in self.calls:
                    self._hide(state, call)
            seen.clear()

    def _fill(self, state: str, call: str) -> None:
        """Add the cells: the likeliest rule of each outcome, also for variants that lead elsewhere."""
        parts = self.states[state]
        chosen: dict[tuple[str, str], Cell] = {}
        usual: set[str] = set()
        for variant in self._reach.variants(call, parts):
            if not _DRAWN.issuperset(variant.split()):
                continue
            likeliest: dict[str, Rule] = {}
            for entry in self._reach.ordered(call, parts, variant):
                likeliest.setdefault(entry.outcome, entry)
            rules = self._reach.within(call, parts, variant)
            for outcome in dict.fromkeys(entry.outcome for entry in rules):
                entry = likeliest[outcome]
                target = self._add(self.table.after(entry, parts))
                word = variant if outcome in usual else ""
                usual.add(outcome)
                chosen.setdefault(
                    (outcome, target), Cell(state, call, outcome, target, entry, word)
                )
        self.cells[state, call] = tuple(chosen.values())

    def _hide(self, state: str, call: str) -> None:
        """Add the ways that are never the likeliest, and the table of all ways."""
        parts = self.states[state]
        cells = {(cell.outcome, cell.target): cell for cell in self.cells[state, call]}
        seen = len(cells)
        ways = self.ways[state, call] = {}
        for variant in self._reach.variants(call, parts):
            found: dict[str, dict[str, Cell]] = {}
            for entry in self._reach.ordered(call, parts, variant):
                target = self._add(self.table.after(entry, parts))
                outcome = entry.outcome
                if (outcome, target) not in cells:
                    case = f"if_{given_name(entry)}"
                    cells[outcome, target] = Cell(state, call, outcome, target, entry, case)
                way = replace(cells[outcome, target], rule=entry)
                found.setdefault(outcome, {}).setdefault(target, way)
            ways[variant] = {outcome: tuple(targets.values()) for outcome, targets in found.items()}
        self.hidden[state, call] = tuple(cells.values())[seen:]
        triggers = [cell.trigger for cell in cells.values()]
        if len(set(triggers)) < len(triggers):
            raise ValueError(
                f"{self.kind}: two ways of {call} in {state} have one name: {triggers}"
            )

    def __iter__(self) -> Iterator[Cell]:
        """Yield every cell, in the order of states and calls."""
        for cells in self.cells.values():
            yield from cells

    def unseen(self) -> Iterator[Cell]:
        """Yield every hidden way."""
        for cells in self.hidden.values():
            yield from cells

    def cell(self, state: str, call: str, outcome: str, variant: str | None = None) -> Cell | None:
        """The likeliest cell of this outcome (in this variant); None if no rule fits."""
        if variant is None:
            cells = self.cells.get((state, call), ())
        else:
            cells = self.possible(state, call, outcome, variant)
        return next((cell for cell in cells if cell.outcome == outcome), None)

    def possible(self, state: str, call: str, outcome: str, variant: str = "") -> tuple[Cell, ...]:
        """All ways in which the outcome may have come about, the likeliest first."""
        ways = self.ways.get((state, call), {})
        said = variant.split()
        telling = {word for words in ways for word in words.split()}
        return ways.get(" ".join(w for w in VARIANTS if w in said and w in telling), {}).get(
            outcome, ()
        )

    def refusal(self, state: str, call: str, facts: Mapping[str, str] | None = None) -> Rule | None:
        """The rule that refuses `call` in `state`, whatever the environment; None if it is legal.

        facts: what is known of the environment, such as {"to": "none"} for a send without an address.
        """
        parts = self.states[state]
        rules = tuple(self.table.fitting(call, parts, facts))
        if not rules or any(entry.outcome in ACCEPTED and not entry.aside for entry in rules):
            return None
        environment = {**self.table.reference, **(facts or {})}
        return self.table.predict(call, parts, environment) or rules[-1]

    def legal(self, state: str) -> tuple[str, ...]:
        """The calls that may succeed in `state`."""
        return tuple(
            call
            for call in self.calls
            if self.cells[state, call] and self.refusal(state, call) is None
        )
