"""TCP's own words, each in one place: the names of its states and of its flags (RFC 9293).

These states are not the API's: a reset connection is CLOSED here, and its socket is still open.
"""

from __future__ import annotations

# In the order of a life (RFC 9293, 3.3.2).
STATES = (
    CLOSED,
    LISTEN,
    SYN_SENT,
    SYN_RECEIVED,
    ESTABLISHED,
    FIN_WAIT_1,
    FIN_WAIT_2,
    CLOSE_WAIT,
    CLOSING,
    LAST_ACK,
    TIME_WAIT,
) = (
    "CLOSED",
    "LISTEN",
    "SYN-SENT",
    "SYN-RECEIVED",
    "ESTABLISHED",
    "FIN-WAIT-1",
    "FIN-WAIT-2",
    "CLOSE-WAIT",
    "CLOSING",
    "LAST-ACK",
    "TIME-WAIT",
)

# Letter -> name, from bit 0 of the header on (RFC 9293, 3.1; RFC 3168 for ECE and CWR). The letters are
# scapy's, and a packet's flags are written with them in this order: `SA` is SYN-ACK.
FLAGS = {
    "F": "FIN",
    "S": "SYN",
    "R": "RST",
    "P": "PSH",
    "A": "ACK",
    "U": "URG",
    "E": "ECE",
    "C": "CWR",
}
