"""`python -m sockfsm.diagrams [FOLDER]`: redraw the committed diagrams that are out of date."""

from __future__ import annotations

import sys
from pathlib import Path

from sockfsm.diagrams.committed import out_of_step, regenerate
from sockfsm.errors import SockfsmError


def main(arguments: list[str]) -> int:
    """Redraw what is out of date in the folder (default `diagrams`); 2 if it cannot be used."""
    folder = Path(arguments[0] if arguments else "diagrams")
    if not folder.is_dir():
        print(f"sockfsm: no folder {folder}: name the one that holds the diagrams", file=sys.stderr)
        return 2
    try:
        for path in regenerate(folder):
            print(f"wrote {path}")
    except OSError as error:
        print(f"sockfsm: cannot write {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    except SockfsmError as error:
        print(f"sockfsm: {error}", file=sys.stderr)
        return 2
    for name in out_of_step(folder):
        print(f"{folder / name} belongs to no diagram: remove it")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
