"""The names of a log's files: `<pid>-<n>.calls`, and `<pid>-<n>+<k>.calls` for its k-th segment after
the first. n tells apart the logs of one process number: after `exec`, in a subinterpreter, or when
the kernel gave the number again. A process number counts in its PID namespace."""

from __future__ import annotations

import re
from os import stat

SUFFIX = ".calls"
UNUSED = ".unused"
"""What stands for it where a process has begun two logs at a time, and went on with the other."""
_NAME = re.compile(r"(?P<log>.*?)(\+(?P<segment>\d{1,9}))?\.calls", re.DOTALL)
_LATER = re.compile(r"\d+-(?P<n>[1-9]\d{0,8})\.calls")


UNKNOWN = 0


def namespace() -> int:
    """What tells our PID namespace from others; UNKNOWN without /proc."""
    try:
        return stat("/proc/self/ns/pid").st_ino
    except OSError as error:
        traceback = error.__traceback__
        if traceback is not None and traceback.tb_next is not None:
            raise  # by a signal handler
        return UNKNOWN


def segment_path(first: str, segment: int) -> str:
    """The path of a log's segment, by that of its first one."""
    return first if segment == 0 else f"{first.removesuffix(SUFFIX)}+{segment}{SUFFIX}"


def split(name: str) -> tuple[str, int]:
    """A file's (log, segment). The log has the name of its first file."""
    found = _NAME.fullmatch(name)
    if found is None:
        return name, 0
    return found["log"] + SUFFIX, int(found["segment"] or 0)


def label(pid: int, log: str) -> str:
    """What the identities of a log's sockets begin with: the process number where that is enough."""
    later = _LATER.fullmatch(log)
    return f"{pid}-{later['n']}" if later else str(pid)
