"""A digest of what the rules say in every situation that can be reached: `python meaning.py`.

Two tables with the same digest are the same machine, however their rules are written down.
"""

from __future__ import annotations

import hashlib

from sockfsm.model.kinds import KINDS, table_of
from sockfsm.model.rules import Table


def meaning(table: Table) -> str:
    digest = hashlib.sha256()
    todo, known = [table.initial], {table.initial}
    while todo:
        parts = todo.pop()
        digest.update(f"{parts} {table.name(parts)}\n".encode())
        for call in table.calls:
            for entry in table.fitting(call, parts):
                after = table.after(entry, parts)
                given = " ".join(map(str, entry.given))
                said = f"{call} {entry.outcome} {after} {given} {entry.aside} {entry.lint}\n"
                digest.update(said.encode())
                if after not in known:
                    known.add(after)
                    todo.append(after)
    return digest.hexdigest()


if __name__ == "__main__":
    for kind in KINDS:
        print(kind, meaning(table_of(kind)))
