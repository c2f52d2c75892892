"""What can be known of a call besides its outcome. A module of its own, because the tracer needs it.

A variant is a text of such words: `blocking zero` for a recv(0) that may wait. A fact without a word
has its first value: a non-blocking socket, no flag, no address.
"""

from __future__ import annotations

VARIANTS: dict[str, dict[str, str]] = {
    "blocking": {"mode": "blocking"},
    "timeout": {"mode": "timeout"},
    "abstract": {"address": "abstract"},
    "auto": {"address": "auto"},
    "zero": {"length": "zero"},
    "address": {"to": "address"},
    "peek": {"flag": "peek"},
    "oob": {"flag": "oob"},
    "errqueue": {"flag": "errqueue"},
    "fastopen": {"flag": "fastopen"},
    "tls": {"layer": "tls"},
}
"""What the tracer knows of a call's environment, if that makes the same outcome lead elsewhere."""

NOW = "now"
"""A call of a blocking socket that must not wait (MSG_DONTWAIT)."""

PROBE = "probe"
"""A datagram that is looked at and not sent (MSG_PROBE): nothing that hinders sending is in its way."""

UNASKED = "unasked"
"""A layer above the socket gave the outcome by itself, so it tells nothing of the socket."""


_OF_DATA = frozenset({"zero", "address", "peek", "oob", "errqueue"})


def understood(kind: str, word: str, variant: str) -> tuple[str, str]:
    """The call's word and variant as the machine of `kind` has them.

    With Fast Open a send is a connect, for kinds that have it.
    """
    said = [known for known in variant.split() if known != PROBE]
    if NOW in said:
        said = [known for known in said if known not in (NOW, "blocking")]
    if "fastopen" in said:
        if kind == "tcp" and word.startswith("send"):
            # It connects before it looks at other flags.
            return "connect", " ".join(known for known in said if known not in _OF_DATA)
        said.remove("fastopen")
    return word, " ".join(said)
