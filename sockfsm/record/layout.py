"""The layout of a call log: 48-byte slots, little-endian, one slot for one finished call.

A log is one file or several, its *segments*, each of which begins with MAGIC and

    lost u64             calls that could not be written while this segment was the newest
    first u64, last u64  when the first and the last of them ended, monotonic ns
    errno u16            why the last one could not
    windows u8           how many WINDOWS of this segment were begun; CONTINUED: another segment was
                         begun after it; LEAST: `lost` is a lower bound
    marked u8            1: at least one more was lost, and there was not even the memory to count it
    orphans u32          calls of forked children that could not begin a log of their own

a slot in all. A segment that will not grow any more ends with a *seal*: a slot of method SEAL whose
`begin` is the number of slots before it. One that was rewritten has WHOLE windows, and always a seal.
One without (its process was killed) has all of its windows. Any other slot is

    begin u64, end u64   monotonic ns
    head u64             see below; 0 marks a slot that was never written: before the last one that was,
                         a call that ended and whose record is lost
    socket u32           the socket's number in its process, 0 for none
    site u32             number of a `site` note, 0 for none
    thread u32           number of a `thread` note
    asked u32            bytes asked for, backlog, or `how`
    done u64             bytes moved

and head packs, from the lowest bit: method 8, state before 12, state after 12, errno 16, address
form 2, outcome 3, WAITED, UNEXPLAINED, ENFORCED, BEGUN, REFUSED (the machine refuses the call in the
state before). States are numbered by the `kind` note.

A *birth* (create, accepted, ...) has in asked: family 8, type 8, kind 8; in done: descriptor 32,
protocol 16. An address of form INET has its peer (or, for bind, its name) in done: IPv4 32, port 16,
and the local port in the last 16, the local IPv4 in asked. One of form NOTED has the number of an
`address` note in the upper half of done. BEGUN marks a call that started to block.

Everything of variable length is a *note*: JSON cut into fragments of 40 bytes, one to a slot,
before the first slot that refers to it. A fragment's head has method NOTE, then last-one 1,
fragment number 15, note number 32.
"""

from __future__ import annotations

import struct
import sys

MAGIC = b"sockfsm calls 1\n"
SLOT = 48

_WORD = "L" if struct.calcsize("L") == 8 else "Q"
# Native letters pack in half the time of standard ones; on little-endian LP64 they mean the same.
NATIVE = f"@{_WORD * 3}IIII{_WORD}"
STANDARD = "<QQQIIIIQ"
LOSS = struct.Struct("<QQQH")
LOSS_AT = len(MAGIC)
WINDOWS_AT = LOSS_AT + LOSS.size
LEAST, CONTINUED, WINDOWS = 0x80, 0x40, 0x3F
WHOLE = WINDOWS
MARKED_AT = WINDOWS_AT + 1
ORPHANS = struct.Struct("<I")
ORPHANS_AT = MARKED_AT + 1
CALL = struct.Struct(NATIVE if sys.byteorder == "little" and _WORD == "L" else STANDARD)
FRAGMENT = struct.Struct("<16sQ24s")
FRAGMENT_BYTES = 40
LONGEST = FRAGMENT_BYTES * 0x7FFF  # bytes of a note

NOTE, SEAL = 255, 254

BEFORE = 8
AFTER = 20
ERRNO = 32
ADDRESS = 48
OUTCOME = 50
WAITED = 1 << 53
UNEXPLAINED = 1 << 54
ENFORCED = 1 << 55
BEGUN = 1 << 56
REFUSED = 1 << 57

NO_ADDRESS, INET, NOTED = range(3)
OUTCOMES = ("ok", "eof", "errno", "deferred", "raised", "timeout", "gaierror")
OK, EOF, ERROR, DEFERRED, RAISED, TIMEOUT, UNRESOLVED = range(7)

MOST = 0xFFFFFFFF

METHODS: tuple[tuple[str, str], ...] = (
    ("", ""),
    ("socket", "create"),
    ("accepted", "accepted"),
    ("socketpair", "socketpair"),
    ("adopt", "adopt"),
    ("dup", "adopt"),
    ("fromfd", "adopt"),
    ("bind", "bind"),
    ("listen", "listen"),
    ("accept", "accept"),
    ("connect", "connect"),
    ("connect_ex", "connect"),
    ("send", "send"),
    ("sendall", "send"),
    ("sendto", "send"),
    ("sendmsg", "send"),
    ("sendmsg_afalg", "send"),
    ("sendfile", "send"),
    ("recv", "recv"),
    ("recv_into", "recv"),
    ("recvfrom", "recv"),
    ("recvfrom_into", "recv"),
    ("recvmsg", "recv"),
    ("recvmsg_into", "recv"),
    ("shutdown(SHUT_RD)", "shutdown_rd"),
    ("shutdown(SHUT_WR)", "shutdown_wr"),
    ("shutdown(SHUT_RDWR)", "shutdown_rdwr"),
    ("getsockopt(SO_ERROR)", "so_error"),
    ("close", "close"),
    ("collected", "close"),
    ("detach", "detach"),
    ("getaddrinfo", "resolve"),
    ("unlink", "unlink"),
    ("exit", "exit"),
    ("ssl.do_handshake", "send"),
    ("ssl.read", "recv"),
    ("ssl.write", "send"),
    ("ssl.unwrap", "send"),
    ("Connection.send", "send"),
    ("Connection.recv", "recv"),
    ("released", "close"),
)
"""Number -> (what the program called, its word in the machine); written into every log."""

NUMBER = {method: number for number, (method, _) in enumerate(METHODS)}
BIRTHS = frozenset({"create", "accepted", "socketpair", "adopt"})
"""Words of the calls that make a socket, or meet one that was made elsewhere."""


def inet_name(packed: int) -> tuple[str, int]:
    """The (host, port) of the 48 bits of an IPv4 name."""
    quad = (packed & MOST).to_bytes(4, "big")
    return ".".join(map(str, quad)), packed >> 32 & 0xFFFF
