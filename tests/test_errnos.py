"""Every errno has one name, wherever it is read or written."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

import pytest

import sockfsm
from sockfsm.model.errnos import errno_name, errno_number, known_errno
from sockfsm.model.kinds import KINDS, table_of
from sockfsm.testing import illegal

PACKAGE = Path(sockfsm.__file__).parent


@pytest.mark.parametrize("name", ["EOPNOTSUPP", "EAGAIN", "EDEADLK"])
def test_the_name_of_the_manual_pages(name: str) -> None:
    number = getattr(errno, name)
    twins = [other for other in dir(errno) if getattr(errno, other) == number]
    assert len(twins) == 2, "an errno with one name proves nothing"
    assert errno_name(number) == name
    assert {known_errno(other) for other in twins} == {name}


def test_every_number_comes_back() -> None:
    for number in (*errno.errorcode, 4095):
        assert errno_number(errno_name(number)) == number
    assert known_errno("ENONSENSE") == ""
    assert known_errno("errorcode") == ""
    assert errno_number("raised") == 0


def test_the_machines_use_these_names() -> None:
    for kind in KINDS:
        for entry in table_of(kind).rules:
            if entry.outcome.startswith("E"):
                assert known_errno(entry.outcome) == entry.outcome


def test_nobody_else_names_errnos() -> None:
    users = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if "errorcode" in path.read_text(encoding="utf-8")
    }
    # The traps are lines to type at a prompt.
    assert users == {"model/errnos.py", "model/traps.py"}


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX])
@pytest.mark.parametrize("call", ["listen", "accept"])
@pytest.mark.parametrize("spelled", [errno.EOPNOTSUPP, "EOPNOTSUPP", "ENOTSUP"])
def test_a_datagram_socket_that_listens_is_explained(
    family: int, call: str, spelled: int | str
) -> None:
    with (
        sockfsm.tracing() as trace,
        socket.socket(family, socket.SOCK_DGRAM) as sock,
        illegal(call, state="CREATED", errno=spelled),
    ):
        getattr(sock, call)()
    (refused,) = (entry for entry in trace.calls() if entry.call == call)
    assert (refused.outcome, refused.explained) == ("EOPNOTSUPP", True)
