"""What a program writes to its standard streams: whole lines, in their order."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any


class _Lines(io.RawIOBase):
    """Bytes, cut into lines."""

    def __init__(self, name: str, stream: str, emit: Callable[[str, str, str], None]) -> None:
        self._name, self._stream, self._emit = name, stream, emit
        self._rest = b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        *lines, self._rest = (self._rest + bytes(data)).split(b"\n")
        for line in lines:
            self._emit(self._name, self._stream, line.decode("utf-8", "backslashreplace"))
        return memoryview(data).nbytes

    def end(self) -> None:
        """What has no end of line is a line, too."""
        if self._rest:
            self.write(b"\n")


class Output(io.TextIOWrapper):
    """A program's stdout or stderr."""

    def __init__(self, name: str, stream: str, emit: Callable[[str, str, str], None]) -> None:
        self._lines = _Lines(name, stream, emit)
        buffer = io.BufferedWriter(self._lines)
        errors = "backslashreplace" if stream == "stderr" else "strict"
        super().__init__(
            buffer, encoding="utf-8", errors=errors, newline="\n", line_buffering=True,
            write_through=True,
        )  # fmt: skip
        self._muted = False

    def write(self, text: str) -> int:
        """See io.TextIOBase. What a thread says after its process has ended is lost."""
        if self._muted:
            return len(text)
        return super().write(text)

    def end(self) -> None:
        """The process has ended."""
        if not self._muted and not self.closed:
            self.flush()
            self._lines.end()
        self._muted = True
