"""`sockfsm conform` with the virtual kernel where the running one stands: it answers by the rules."""

from __future__ import annotations

import os

import pytest
from simulated_sockets import simulated

from sockfsm.conform.compare import compare
from sockfsm.conform.suites import REFERENCE, WORDS, Suite, suites
from sockfsm.model.kinds import KINDS

DEPTH = int(os.environ.get("SOCKFSM_DEPTH", "2"))
"""Calls in every environment, one less than in the reference one; `make proof` takes more."""

NOT_SIMULATED = {
    "port is privileged": "who may do what",
    "no descriptors": "limits of a process",
    "file.read()": "files made of sockets",
    "file.write()": "files made of sockets",
    "sendfile() with a deadline": "files",
    "MSG_OOB": "urgent data",
    "MSG_ERRQUEUE": "the queue of errors",
    "Fast Open": "data in a SYN",
    "path in no folder": "folders",
}
"""The beginning of an environment's name -> what the virtual kernel has nothing of."""


def has(suite: Suite) -> bool:
    """Whether the virtual kernel has the environment."""
    return suite.name != REFERENCE and not suite.name.startswith(tuple(NOT_SIMULATED))


@pytest.mark.parametrize("kind", KINDS)
def test_every_sequence_agrees_with_the_virtual_kernel(kind: str) -> None:
    with simulated():
        share = compare(f"{kind}: {REFERENCE}", DEPTH + 1, (), 1)
    assert share.sequences == len(WORDS) ** (DEPTH + 1)
    assert share.facts > share.sequences
    assert share.disagreements == []


@pytest.mark.parametrize(
    "suite", [suite for suite in suites() if has(suite)], ids=lambda s: s.title
)
def test_other_environments_agree_with_the_virtual_kernel(suite: Suite) -> None:
    with simulated():
        share = compare(suite.title, DEPTH, (), 1)
    assert share.sequences >= len(suite.words) ** 2
    assert share.disagreements == []
