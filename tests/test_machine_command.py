"""`sockfsm machine`: complete, consistent and readable."""

from __future__ import annotations

import json

import pytest

from sockfsm.cli.main import main
from sockfsm.model.describe import as_data, ways
from sockfsm.model.kinds import KINDS, flat_of
from sockfsm.model.predict import predict


@pytest.mark.parametrize("kind", KINDS)
def test_the_listing_fits_100_columns_and_has_every_state(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["machine", kind]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 100
    for state in flat_of(kind).states:
        assert f"  {state}" in out


@pytest.mark.parametrize("kind", KINDS)
def test_the_data_is_the_machine(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["machine", kind, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    flat = flat_of(kind)
    assert data == json.loads(json.dumps(as_data(flat)))
    assert list(data["states"]) == list(flat.states)
    assert sum(len(c) for s in data["states"].values() for c in s["calls"].values()) == len(
        list(flat)
    )
    assert len(data["rules"]) == len(flat.table.rules)
    assert data["refusals"]["CLOSED"]["send"] == "EBADF"


@pytest.mark.parametrize("kind", KINDS)
def test_ways_lead_there(kind: str) -> None:
    for state, calls in ways(kind).items():
        if calls:
            assert predict(kind, calls)[-1].after == state


def test_one_state_and_one_call(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["machine", "tcp", "--state", "LISTENING", "--call", "send"]) == 0
    out = capsys.readouterr().out
    assert "EPIPE" in out
    assert "accept() returned" in " ".join(out.split())
    assert main(["machine", "tcp", "--call", "listen", "--json"]) == 0
    assert {r["call"] for r in json.loads(capsys.readouterr().out)["rules"]} == {"listen", "*"}


@pytest.mark.parametrize(
    "arguments", [["sctp"], ["tcp", "--state", "LIMBO"], ["udp", "--call", "frobnicate"]]
)
def test_bad_input(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["machine", *arguments]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
