"""The names of errnos. Linux gives some numbers two names; we always use the same one.

`errno.errorcode` keeps whichever name its table lists last: 95 is ENOTSUP there, while the manual
pages and the machines say EOPNOTSUPP.
"""

from __future__ import annotations

import errno

_PREFERRED = ("EAGAIN", "EDEADLK", "EOPNOTSUPP")
_NAMES = {
    **errno.errorcode,
    **{getattr(errno, name): name for name in _PREFERRED if hasattr(errno, name)},
}


def errno_name(number: int) -> str:
    """`EOPNOTSUPP` for 95; the number as text if the system has no name for it."""
    return _NAMES.get(number) or str(number)


def known_errno(name: str) -> str:
    """The name that we use for the errno `name`; '' if the system has no such errno."""
    number = getattr(errno, name, None)
    return _NAMES.get(number, "") if isinstance(number, int) else ""


def errno_number(name: str) -> int:
    """The number of an errno; the inverse of `errno_name`."""
    number = getattr(errno, name, None)
    if isinstance(number, int):
        return number
    return int(name) if name.isdecimal() else 0
