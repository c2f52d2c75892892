"""TCP's own states, as RFC 9293 figure 5 draws them: all eleven, in the form of a machine.

One end's events are what it sends and what arrives: `snd_syn` (OPEN), `snd_fin` (CLOSE), `rcv_fin`.
`rcv_ack_syn` and `rcv_ack_fin` are acknowledgements of this end's own SYN and FIN; a segment that
carries both an acknowledgement and FIN is two events, the acknowledgement first (section 3.10.7.4).
This is not the state of the API: a reset connection is CLOSED here and still a socket there.
"""

from __future__ import annotations

from sockfsm.model.rules import Rule, Table, rule
from sockfsm.tcp_names import STATES

_FIGURE = "RFC 9293, figure 5"


def _arrow(event: str, source: str, target: str, why: str, where: str = _FIGURE) -> Rule:
    return rule(event, f"state={source}", "ok", f"state={target}", why=why, source=where)


def _stays(event: str, source: str, why: str, where: str = _FIGURE) -> Rule:
    return rule(event, f"state={source}", "ok", why=why, source=where)


RULES = (
    # Opening
    _arrow("listen", "CLOSED", "LISTEN", "passive OPEN: wait for a SYN"),
    _arrow("snd_syn", "CLOSED", "SYN-SENT", "active OPEN sends SYN"),
    _arrow("snd_syn", "LISTEN", "SYN-SENT", "SEND or active OPEN on a listening end sends SYN"),
    _stays("snd_syn", "SYN-SENT", "the SYN is repeated until it is answered", "RFC 9293, 3.8.1"),
    _arrow("rcv_syn", "LISTEN", "SYN-RECEIVED", "a SYN is answered with SYN-ACK"),
    _arrow("rcv_syn", "SYN-SENT", "SYN-RECEIVED", "both ends sent a SYN: simultaneous open"),
    _stays("rcv_syn", "SYN-RECEIVED", "the SYN came again", "RFC 9293, 3.10.7.4"),
    _stays("snd_syn_ack", "SYN-RECEIVED", "the answer to a SYN, repeated until acknowledged"),
    _stays("rcv_syn_ack", "SYN-RECEIVED", "both ends sent a SYN, the other answers ours too"),
    _arrow("rcv_ack_syn", "SYN-SENT", "ESTABLISHED", "SYN-ACK came: it is acknowledged"),
    _arrow("rcv_ack_syn", "SYN-RECEIVED", "ESTABLISHED", "our SYN is acknowledged"),
    # Closing
    _arrow("snd_fin", "SYN-RECEIVED", "FIN-WAIT-1", "CLOSE before the opening was complete"),
    _arrow("snd_fin", "ESTABLISHED", "FIN-WAIT-1", "CLOSE or shutdown(SHUT_WR) sends FIN"),
    _arrow("snd_fin", "CLOSE-WAIT", "LAST-ACK", "CLOSE after the other end's FIN sends ours"),
    _stays("snd_fin", "FIN-WAIT-1|CLOSING|LAST-ACK", "the FIN is repeated", "RFC 9293, 3.8.1"),
    _arrow(
        "rcv_fin",
        "SYN-RECEIVED",
        "CLOSE-WAIT",
        "FIN with the last part of the opening",
        "RFC 9293, 3.10.7.4",
    ),
    _arrow("rcv_fin", "ESTABLISHED", "CLOSE-WAIT", "the other end will send no more"),
    _arrow("rcv_fin", "FIN-WAIT-1", "CLOSING", "both ends sent FIN: simultaneous close"),
    _arrow("rcv_fin", "FIN-WAIT-2", "TIME-WAIT", "the other end closed too"),
    _stays(
        "rcv_fin",
        "CLOSE-WAIT|CLOSING|LAST-ACK|TIME-WAIT",
        "the FIN came again",
        "RFC 9293, 3.10.7.4",
    ),
    _arrow("rcv_ack_fin", "FIN-WAIT-1", "FIN-WAIT-2", "our FIN is acknowledged"),
    _arrow("rcv_ack_fin", "CLOSING", "TIME-WAIT", "our FIN is acknowledged, theirs came before"),
    _arrow("rcv_ack_fin", "LAST-ACK", "CLOSED", "our FIN is acknowledged, theirs came first"),
    _arrow("timeout_2msl", "TIME-WAIT", "CLOSED", "no segment of the old connection can be left"),
    # Reset and abort
    _stays("rcv_rst", "LISTEN", "a reset means nothing to a listening end", "RFC 9293, 3.10.7.2"),
    rule(
        "rcv_rst",
        "state!=LISTEN",
        "ok",
        "state=CLOSED",
        why="the connection was reset",
        source="RFC 9293, 3.5.3",
    ),
    _stays("snd_rst", "LISTEN", "an answer to a segment of no connection", "RFC 9293, 3.10.7.2"),
    rule(
        "snd_rst",
        "state!=LISTEN",
        "ok",
        "state=CLOSED",
        why="ABORT, or data that nobody takes",
        source="RFC 9293, 3.10.5",
    ),
)

TABLE = Table(
    kind="rfc9293",
    title="TCP as RFC 9293 draws it",
    parts={"state": STATES},
    environment={},
    rules=RULES,
    names=tuple((f"state={state}", state) for state in STATES),
)
