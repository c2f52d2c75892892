"""Sizes as people write them: `512M`, `2G`, `1048576`."""

from __future__ import annotations

import os
import re

from sockfsm.errors import UsageError
from sockfsm.record.windows import SIZE
from sockfsm.record.writer import MAX_SIZE

VARIABLE = "SOCKFSM_MAX_SIZE"
LEAST = 4 * SIZE
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SIZE = re.compile(r"\s*(\d{1,15})\s*([kmgt]?)(i?b)?\s*", re.IGNORECASE)


def parse(size: int | str | None) -> int:
    """Bytes; without a size that of the environment, or the default. UsageError for what is none."""
    if size is None:
        size = os.environ.get(VARIABLE) or MAX_SIZE
    if isinstance(size, str):
        found = _SIZE.fullmatch(size)
        if found is None:
            raise UsageError(f"max_size: {size[:40]!r} is no size: write 512M, 2G or bytes")
        size = int(found[1]) * _UNITS[found[2].lower()]
    if isinstance(size, bool) or not isinstance(size, int):
        raise UsageError(f"max_size: {type(size).__name__} is no size: write 512M, 2G or bytes")
    if size < LEAST:
        raise UsageError(f"max_size: {size} bytes are too few: {LEAST >> 10}K is the least")
    return size
