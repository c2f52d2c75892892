"""SMTP as a client and a server speak it (RFC 5321), with STARTTLS and AUTH."""

from __future__ import annotations

from sockfsm.model.rules import CONTINUE, OK, Rule, Table, rule
from sockfsm.protocols.protocol import Message, Protocol

CONTENT, CREDENTIALS = "content", "credentials"
_PHASES = ("connected", "greeted", "ready", "mail", "rcpt", "data", "auth", "secret", "refused",
           "closed")  # fmt: skip
_VERBS = ("EHLO", "HELO", "MAIL", "RCPT", "DATA", "RSET", "NOOP", "VRFY", "EXPN", "HELP", "AUTH",
          "STARTTLS", "QUIT")  # fmt: skip
_LONGEST_LINE = 4096  # RFC 5321, 4.5.3.1: 512, more for extensions
_SPEAKING = "phase=greeted|ready|mail|rcpt"

# A rule is a paragraph: situation and outcome first, then why and source.
# fmt: off

_ORDER = (
    rule("greeting", "phase=connected", "554", "phase=refused", given="service=none",
         why="The server wants no mail from this client.", source="RFC 5321, 3.1"),
    rule("greeting", "phase=connected", "421", "phase=closed", given="service=closing",
         why="The service is not available.", source="RFC 5321, 3.8"),
    rule("greeting", "phase=connected", OK, "phase=greeted",
         why="The server says that it is ready: 220.", source="RFC 5321, 3.1"),
    rule("greeting", "", "503", why="A server greets once.", source="RFC 5321, 3.1"),
    rule("*", "phase=closed", "gone", why="After QUIT the connection is closed.",
         source="RFC 5321, 4.1.1.10"),
    rule("QUIT", "phase!=data|auth|secret", OK, "phase=closed",
         why="The server answers 221 and closes the connection.", source="RFC 5321, 4.1.1.10"),
    rule("*", "phase=connected", "503", why="The client waits for the server's greeting.",
         source="RFC 5321, 4.3.1"),
    rule("*", "phase=refused", "503", why="After 554 a client may only say QUIT.",
         source="RFC 5321, 3.1"),
    *(rule(verb, _SPEAKING, OK, "phase=ready",
           why="The client names itself; a transaction under way is forgotten.",
           source="RFC 5321, 4.1.1.1") for verb in ("EHLO", "HELO")),
    *(rule(verb, _SPEAKING, code, given="syntax=wrong",
           why="The server takes no such greeting.", source="RFC 5321, 4.1.1.1")
      for verb, code in (("EHLO", "502"), ("EHLO", "501"), ("HELO", "501"))),
    rule("MAIL", "phase=ready", "530", given="service=locked",
         why="STARTTLS or AUTH has to come first.", source="RFC 3207, 4; RFC 4954, 6"),
    rule("MAIL", "phase=ready", "552", given="size=big", why="The message is too large.",
         source="RFC 1870, 6.1"),
    rule("MAIL", "phase=ready", "501", given="syntax=wrong", why="The address is no address.",
         source="RFC 5321, 4.1.1.2"),
    rule("MAIL", "phase=ready", OK, "phase=mail", why="A transaction begins.",
         source="RFC 5321, 3.3"),
    rule("MAIL", "phase=mail|rcpt", "503",
         why="A transaction is under way: end it by DATA, or by RSET.",
         source="RFC 5321, 4.1.4"),
    rule("MAIL", "", "503", why="The client has to name itself first: EHLO or HELO.",
         source="RFC 5321, 4.1.4"),
    rule("RCPT", "phase=mail|rcpt", "550", given="mailbox=unknown",
         why="The server has no such mailbox; other recipients may follow.",
         source="RFC 5321, 3.3"),
    rule("RCPT", "phase=mail|rcpt", "452", given="mailbox=full", why="There are too many recipients.",
         source="RFC 5321, 4.5.3.1.10"),
    rule("RCPT", "phase=mail|rcpt", "501", given="syntax=wrong", why="The address is no address.",
         source="RFC 5321, 4.1.1.3"),
    rule("RCPT", "phase=mail|rcpt", OK, "phase=rcpt", why="There is a recipient.",
         source="RFC 5321, 3.3"),
    rule("RCPT", "", "503", why="A recipient belongs to a transaction: MAIL has to come first.",
         source="RFC 5321, 4.1.4"),
    rule("DATA", "phase=rcpt", OK, "phase=data",
         why="The server answers 354: the message follows, up to a line with a dot alone.",
         source="RFC 5321, 4.1.1.4"),
    rule("DATA", "phase=mail", "503",
         why="There is no recipient yet: RCPT has to be accepted first.", source="RFC 5321, 4.1.1.4"),
    rule("DATA", "phase=mail", "554",
         why="There is no recipient yet: RCPT has to be accepted first.", source="RFC 5321, 4.1.1.4"),
    rule("DATA", "", "503", why="MAIL and RCPT have to come first.", source="RFC 5321, 4.1.4"),
    rule(CONTENT, "phase=data", "552", "phase=ready", given="size=big",
         why="The message is too large.", source="RFC 5321, 4.5.3.1.9"),
    rule(CONTENT, "phase=data", "554", "phase=ready", given="service=none",
         why="The server rejects the message.", source="RFC 5321, 4.2.2"),
    rule(CONTENT, "phase=data", OK, "phase=ready", why="The server has taken the message.",
         source="RFC 5321, 4.1.1.4"),
    rule(CONTENT, "", "500", why="Without DATA a message's lines are no commands.",
         source="RFC 5321, 4.2.4"),
    rule("RSET", "phase=mail|rcpt", OK, "phase=ready", why="The transaction is forgotten.",
         source="RFC 5321, 4.1.1.5"),
    rule("RSET", _SPEAKING, OK, why="There is nothing to forget.", source="RFC 5321, 4.1.1.5"),
    rule("STARTTLS", "phase=ready", "454", given="service=none", why="There is no TLS just now.",
         source="RFC 3207, 4"),
    rule("STARTTLS", "phase=ready", "502", given="syntax=wrong", why="The server has no TLS.",
         source="RFC 5321, 4.2.4"),
    rule("STARTTLS", "phase=ready", OK, "phase=secret",
         why="From here on the bytes are encrypted, and the dialogue starts anew.",
         source="RFC 3207, 4.2"),
    rule("STARTTLS", "", "503", why="It comes after EHLO and outside of a transaction.",
         source="RFC 3207, 4"),
    rule("AUTH", "phase=ready", "535", given="service=locked", why="The credentials are wrong.",
         source="RFC 4954, 6"),
    rule("AUTH", "phase=ready", CONTINUE, "phase=auth", given="asked=more",
         why="The server answers 334: it asks for the credentials.", source="RFC 4954, 4"),
    rule("AUTH", "phase=ready", OK, why="The client is who it says.", source="RFC 4954, 4"),
    rule("AUTH", "", "503", why="It comes after EHLO and outside of a transaction.",
         source="RFC 4954, 4"),
    rule(CREDENTIALS, "phase=auth", "535", "phase=ready", given="service=locked",
         why="The credentials are wrong.", source="RFC 4954, 6"),
    rule(CREDENTIALS, "phase=auth", "501", "phase=ready", given="syntax=wrong",
         why="The client gave up (`*`), or sent no base64.", source="RFC 4954, 4"),
    rule(CREDENTIALS, "phase=auth", CONTINUE, given="asked=more", why="The server asks for more.",
         source="RFC 4954, 4"),
    rule(CREDENTIALS, "phase=auth", OK, "phase=ready", why="The client is who it says.",
         source="RFC 4954, 4"),
    rule(CREDENTIALS, "", "503", why="Nobody has asked for them.", source="RFC 4954, 4"),
    *(rule(verb, _SPEAKING, code, given="syntax=wrong", why="The server does not tell.",
           source="RFC 5321, 3.5.3") for verb in ("VRFY", "EXPN") for code in ("502", "550")),
    *(rule(verb, _SPEAKING, OK, why="It changes nothing.", source="RFC 5321, 4.1.1")
      for verb in ("NOOP", "VRFY", "EXPN", "HELP")),
)
_EVERYWHERE = tuple(
    rule(verb, "phase=data|auth|secret", "500", why="Here the bytes are no commands.",
         source="RFC 5321, 4.1.1.4; RFC 3207, 4.2") for verb in (*_VERBS, CONTENT)
)
# fmt: on

_RULES: tuple[Rule, ...] = (*_ORDER, *_EVERYWHERE)

TABLE = Table(
    kind="smtp",
    title="a client's dialogue with a mail server",
    parts={"phase": _PHASES},
    environment={
        "service": ("ready", "none", "closing", "locked"),
        "mailbox": ("known", "unknown", "full"),
        "syntax": ("right", "wrong"),
        "size": ("small", "big"),
        "asked": ("nothing", "more"),
    },
    rules=_RULES,
    names=tuple((f"phase={phase}", phase.upper()) for phase in _PHASES),
    words={
        "phase": "How far the dialogue has come.",
        "service": "Whether the server does its work for this client.",
        "mailbox": "Whether the server knows the recipient.",
        "syntax": "Whether the server understands the arguments.",
        "size": "How large the message is.",
        "asked": "Whether the server asks for more of the credentials.",
    },
)


def request(data: bytes, state: str) -> Message | None:
    """The command at the start of the bytes; in DATA, the message up to its lonely dot."""
    if state == "SECRET":
        return None  # a TLS record, of which nothing can be read
    if state == "DATA":
        end = 3 if data.startswith(b".\r\n") else data.find(b"\r\n.\r\n") + 5
        return (CONTENT, end) if end >= 5 or data.startswith(b".\r\n") else None
    line, newline, _ = data.partition(b"\n")
    if not newline:
        if len(line) > _LONGEST_LINE:
            raise ValueError(f"no command: {len(line)} bytes without an end of line")
        return None
    if state == "AUTH":
        return CREDENTIALS, len(line) + 1
    verb = line.split(None, 1)[0].upper() if line.split() else b""
    name = verb.decode("ascii", "backslashreplace")
    return name if name in _VERBS else f"{name[:20]!r}", len(line) + 1


def reply(data: bytes, _request: str) -> Message | None:
    """The server's reply: `ok` for 2xx and 3xx, else its code. It may have several lines."""
    size = 0
    for line in data.split(b"\n")[:-1]:
        size += len(line) + 1
        code = line[:3]
        if not code.isdigit() or line[3:4] not in (b" ", b"-", b"\r", b""):
            raise ValueError(f"no reply of a mail server: {line[:40]!r}")
        if line[3:4] != b"-":
            word = code.decode("ascii")
            return (CONTINUE if word == "334" else OK if word[0] in "23" else word), size
    return None


SMTP = Protocol(TABLE, request, reply, greeting="greeting", ports=(25, 587, 2525))
