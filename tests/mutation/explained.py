"""`explained.txt`: mutants that change nothing which anybody could see, each with the reason.

A paragraph is the module, the lines that go and come as `make mutants` prints them, and the reason.
"""

from __future__ import annotations

from pathlib import Path

FILE = Path(__file__).with_name("explained.txt")


def explained() -> dict[str, str]:
    """Module and lines, as printed -> the reason."""
    found = {}
    for paragraph in FILE.read_text(encoding="utf-8").split("\n\n"):
        lines = [line for line in paragraph.splitlines() if not line.startswith("#")]
        if lines:
            changed = [line for line in lines[1:] if line.startswith(("- ", "+ "))]
            reason = " ".join(line.strip() for line in lines[1 + len(changed) :])
            found["\n".join((lines[0], *changed))] = reason
    return found
