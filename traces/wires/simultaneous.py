"""A slow wire: each packet comes back after 20 ms with its addresses swapped."""

from __future__ import annotations

import sys

from tun import Tun, mirrored

DELAY = 0.02

with Tun("wire0") as tun:
    print("wire0", flush=True)
    tun.serve(lambda packet: [(DELAY, mirrored(packet))], sys.stdin.fileno())
