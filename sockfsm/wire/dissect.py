"""scapy's full dissection of single packets. The only module that imports scapy.

scapy takes 256 ms to import and 175 us for a packet, so nothing that handles every packet may use it.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

from sockfsm.events import Packet


@cache
def _layers() -> dict[int, Any]:
    """scapy's layers by link type, imported when first needed."""
    # Otherwise scapy warns about routes and interfaces that it does not find.
    logging.getLogger("scapy.runtime").setLevel(logging.ERROR)
    from scapy.config import conf
    from scapy.layers import inet, inet6, l2  # noqa: F401

    known: dict[int, Any] = conf.l2types.num2layer
    return known


def dissect(link: int, data: bytes) -> Any:
    """The frame as scapy sees it; `scapy.packet.Raw` for a link type that scapy does not know."""
    from scapy.packet import Raw

    return _layers().get(link, Raw)(data)


def network_offset(link: int, data: bytes) -> int | None:
    """Offset of the IP header in a frame of a link type that only scapy knows; None without one."""
    layer = _layers().get(link)
    if layer is None:
        return None
    from scapy.layers.inet import IP
    from scapy.layers.inet6 import IPv6

    try:
        frame = layer(data)
    except Exception:  # noqa: BLE001 - hostile bytes raise anything in dissectors
        return None
    inner = frame.getlayer(IP) or frame.getlayer(IPv6)
    if inner is None:
        return None
    # scapy knows the layers but not their offsets.
    place = data.find(bytes(inner.original)) if inner.original else -1
    return place if place >= 0 else None


def details(packet: Packet) -> str:
    """All layers and fields of a packet, as scapy prints them."""
    text: str = dissect(packet.link, packet.raw).show(dump=True)
    return text
