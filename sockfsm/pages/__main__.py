"""`python -m sockfsm.pages [FOLDER]`: write the pages (into `diagrams/` when no folder is given)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from sockfsm.errors import UsageError
from sockfsm.model.kinds import KINDS, flat_of
from sockfsm.pages import agreement, kind


def pages() -> dict[str, str]:
    """File name -> Markdown."""
    made = {f"{name}.md": kind.page(flat_of(name)) for name in KINDS}
    made["agreement.md"] = agreement.page()
    return made


def main(arguments: Sequence[str]) -> int:
    """Write what has changed. Status 2 when the folder cannot be written."""
    folder = Path(arguments[0] if arguments else "diagrams")
    try:
        for name, text in pages().items():
            path = folder / name
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                path.write_text(text, encoding="utf-8")
                print(f"wrote {path}")
    except OSError as error:
        print(f"sockfsm: {UsageError(f'cannot write {error.filename}: {error.strerror}')}",
              file=sys.stderr)  # fmt: skip
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
