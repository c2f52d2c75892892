"""A slow wire: each packet comes back after 0.2 s with its addresses swapped."""

from __future__ import annotations

import sys

from tun import Tun, mirrored

DELAY = 0.2  # longer than it takes to call connect, or shutdown, for the other end

with Tun("wire0") as tun:
    print("wire0", flush=True)
    tun.serve(lambda packet: [(DELAY, mirrored(packet))], sys.stdin.fileno())
