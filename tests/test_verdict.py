"""What is the state's fault, and what the world's."""

import pytest
from synthetic import Story

from sockfsm.trace.verdict import out_of_order
from sockfsm.views.phrases import reason


@pytest.mark.parametrize(
    ("method", "outcome", "state", "verdict"),
    [
        ("listen", "EINVAL", "CONNECTED", True),
        ("bind", "EINVAL", "CONNECTED", True),
        ("bind", "EINVAL", "BOUND", True),
        ("connect", "EISCONN", "CONNECTED", True),
        ("bind", "EADDRINUSE", "CREATED", False),
        ("connect", "ECONNREFUSED", "CREATED", False),
        ("recv", "EAGAIN", "CONNECTED", False),
        ("send", "ok", "CONNECTED", False),
        ("listen", "EINVAL", "NO_SUCH_STATE", False),
    ],
)
def test_verdict(method: str, outcome: str, state: str, verdict: bool) -> None:
    story = Story()
    story.process()
    call = story.call(1, story.socket(), method, outcome, state)
    assert out_of_order(call) is verdict


def test_a_socket_without_a_machine_is_never_judged() -> None:
    story = Story()
    story.process()
    assert not out_of_order(story.call(1, story.socket("other"), "bind", "EINVAL", "-"))
    assert not out_of_order(story.call(2, None, "unlink", "ENOENT", ""))


def test_a_reason_says_only_what_is_certain() -> None:
    story = Story()
    story.process()
    sock = story.socket()
    refused = reason(story.call(1, sock, "connect", "ECONNREFUSED", "CREATED"))
    assert refused.startswith("Nobody listens there")
    assert "SO_ERROR" not in refused, "true of a socket with a timeout only"
    assert "accept" in reason(story.call(2, sock, "recv", "ENOTCONN", "LISTENING"))
    assert reason(story.call(3, sock, "recv", "EAGAIN", "CONNECTED")) == ""
    assert reason(story.call(4, sock, "recv", "ENOTCONN", "NO_SUCH_STATE")) == ""
