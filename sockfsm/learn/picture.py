"""A learned machine as a graph, its states named after ours."""

from __future__ import annotations

from sockfsm.diagrams.graph import Edge, Graph, Meaning, Node, Word, Words
from sockfsm.learn.mealy import Comparison, Mealy
from sockfsm.model.rules import ACCEPTED


def picture(learned: Mealy, compared: Comparison) -> Graph:
    """The learned machine as a graph, with one node for each state and one edge for each pair.

    A state to which a *failed* call has led (a fresh socket with one side shut) is coloured, because no
    textbook draws it.
    """
    graph = Graph(
        title=f"{learned.kind}: learned from the kernel",
        subtitle=f"{learned.size} states, {learned.queries:,} sequences asked, "
        f"{learned.seconds:.1f} s",
    )
    for state in range(learned.size):
        names = compared.names.get(state, ())
        meanings = {Meaning.INITIAL} if state == 0 else set()
        if any(name.startswith(("CREATED", "BOUND")) and "_SHUT" in name for name in names):
            meanings.add(Meaning.HALF)
        elif state != 0:
            meanings.add(_meaning(names[0] if names else ""))
        rows: list[Words] = [(Word(name),) for name in names[1:3]]
        label = names[0] if names else f"state {state}"
        graph.add(Node(str(state), label, frozenset(meanings), tuple(rows)))
    between: dict[tuple[int, int], list[tuple[str, str]]] = {}
    for (state, call), (outcome, target) in learned.steps.items():
        if state != target:
            between.setdefault((state, target), []).append((call, outcome))
    for (state, target), entries in between.items():
        # Each state has that edge; a note says so.
        if all(call == "close" for call, _ in entries):
            continue
        graph.link(
            Edge(
                str(state),
                str(target),
                tuple(_row(call, outcome) for call, outcome in entries),
            )
        )
    graph.notes.append(
        "close() leads from every state to CLOSED; calls that change nothing are left out."
    )
    return graph


def _meaning(name: str) -> Meaning:
    if name.startswith("LISTENING"):
        return Meaning.LISTENING
    if name.startswith("CLOSED"):
        return Meaning.FINAL
    if name.startswith(("CREATED", "BOUND")):
        return Meaning.SETUP
    return Meaning.HALF if "_SHUT" in name else Meaning.OPEN


def _row(call: str, outcome: str) -> Words:
    if outcome in ACCEPTED:
        return (Word(f"{call}: {outcome}"),)
    return (Word(f"{call}: "), Word(outcome, Meaning.REFUSED))
