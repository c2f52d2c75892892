"""TCP over IPv4 and IPv6: what seemed to have ended, but had not. A part of the table in tcp.py.

To TCP an ICMP error may be no more than a doubt (a soft error, RFC 5461), if it comes while a call
such as connect() uses the socket. SO_ERROR reports it, Python takes the attempt for failed, and the
kernel goes on trying. A data socket of a listening one that was shut before listen() is shut from its
birth: what it reads is no FIN of the peer's. A tracer cannot know until a later call shows it.
"""

from __future__ import annotations

from sockfsm.model.rules import rule
from sockfsm.model.tcp_transfer import GONE, MEASURED

# A rule is a paragraph: situation and outcome first, then why and source.
# fmt: off

DOUBTS = ("ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH")
"""What ICMP says of a port, a host and a network; a firewall that rejects says the first."""

_GIVEN = "network=doubts history=partial"
_SOURCE = "RFC 5461, measured"
_TOLD = "role=connecting|established peer=reset err=none"
_OPEN = "peer=open rd=open wr=open name=yes"
_FRESH = "role=fresh peer=open rd=open wr=open own=none name=no"

ALIVE = (
    rule("connect", _TOLD, "EALREADY", f"role=connecting {_OPEN}", given=_GIVEN,
         why="The error that was read was ICMP's: TCP itself goes on trying.", source=_SOURCE),
    *(rule("connect", _TOLD, outcome, _FRESH, given=_GIVEN,
           why="The error that was read was ICMP's; now the attempt has failed.", source=_SOURCE)
      for outcome in (*DOUBTS, "ETIMEDOUT")),
    rule("connect", _TOLD, "ok", f"role=connected {_OPEN}", given=_GIVEN,
         why="The error that was read was ICMP's; TCP went on trying, and the handshake is done.",
         source=_SOURCE),
    *(rule(call, _TOLD, "EAGAIN", f"role=connecting {_OPEN}", given=_GIVEN,
           why="The error that was read was ICMP's: TCP itself goes on trying.", source=_SOURCE)
      for call in ("send", "recv")),
    rule("send", _TOLD, "ok", f"role=established {_OPEN}", given=_GIVEN,
         why="The error that was read was ICMP's; TCP went on trying, and the handshake is done.",
         source=_SOURCE),
    *(rule(call, _TOLD, "ok", f"{_FRESH} err=pending", given=_GIVEN,
           why="The error that was read was ICMP's: TCP still tried, and now the attempt is given up.",
           source=_SOURCE)
      for call in ("shutdown_rd", "shutdown_wr", "shutdown_rdwr")),
    *(rule("so_error", _TOLD, outcome, given=_GIVEN,
           why="The error that was read was ICMP's, and TCP went on trying: here is the next one.",
           source=_SOURCE)
      for outcome in (*DOUBTS, "ETIMEDOUT")),
)

_BORN = "made=shut history=partial"
_ENDED = "role=connected peer=reset|done err=none"

SHUT_FROM_BIRTH = (
    *(rule(call, _ENDED, "ok", "peer=open rd=shut wr=shut name=yes", given=_BORN,
           why="The listening socket was shut before listen(), and its data socket with it: the end "
           "that was read, and the EPIPE, came of that: the connection lives on.", source=MEASURED)
      for call in ("shutdown_rd", "shutdown_wr", "shutdown_rdwr")),
    *(rule(call, _ENDED, "ECONNRESET", GONE, given=_BORN,
           why="The listening socket was shut before listen(), and its data socket with it: only now "
           "the connection was reset.", source=MEASURED)
      for call in ("send", "recv", "so_error")),
)
