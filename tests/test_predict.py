"""Predictions: outcomes, states, reasons; batches; and the `check` command."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from sockfsm.cli.main import main
from sockfsm.errors import UsageError
from sockfsm.model.batch import Batch
from sockfsm.model.kinds import KINDS, flat_of
from sockfsm.model.lints import LINTS, enabled
from sockfsm.model.predict import Predictor, predict
from sockfsm.model.rules import parse_conditions
from sockfsm.model.teach import legal_now, meant


def outcomes(kind: str, calls: str, **given: str) -> list[str]:
    return [p.outcome for p in predict(kind, calls.split(), given=given)]


@pytest.mark.parametrize(
    ("kind", "calls", "expected"),
    [
        ("tcp", "bind listen accept", "ok ok EAGAIN"),
        ("tcp", "listen", "ok"),
        ("tcp", "connect connect connect send", "EINPROGRESS ok EISCONN ok"),
        ("tcp", "shutdown_wr connect connect send", "ENOTCONN EINPROGRESS ok EPIPE"),
        ("tcp", "connect disconnect recv recv", "EINPROGRESS ok ECONNRESET ENOTCONN"),
        ("tcp", "bind listen shutdown_rd listen accept", "ok ok ok ok EAGAIN"),
        ("tcp", "close close send", "ok ok EBADF"),
        ("udp", "send bind", "EDESTADDRREQ EINVAL"),
        ("udp", "shutdown_wr connect send", "ENOTCONN ok EPIPE"),
        ("unix-stream", "listen bind listen accept", "EINVAL ok ok EAGAIN"),
        ("unix-stream", "connect bind bind", "ok ok EINVAL"),
        ("unix-dgram", "send shutdown_wr send", "ENOTCONN ok EPIPE"),
    ],
)
def test_in_the_reference_environment(kind: str, calls: str, expected: str) -> None:
    assert outcomes(kind, calls) == expected.split()


def test_in_other_environments() -> None:
    assert outcomes("tcp", "connect connect connect", peer="refuses") == [
        "EINPROGRESS", "ECONNREFUSED", "EINPROGRESS",
    ]  # fmt: skip
    assert outcomes("tcp", "connect so_error connect", peer="refuses")[-1] == "ECONNABORTED"
    assert outcomes("tcp", "connect send", peer="closes", mode="blocking") == ["ok", "ok"]
    assert outcomes("tcp", "connect send send", peer="closes", mode="blocking")[-1] == "EPIPE"
    assert outcomes("udp", "connect send send send", peer="dead")[1:] == [
        "ok", "ECONNREFUSED", "ok",
    ]  # fmt: skip


def test_a_prediction_says_everything() -> None:
    first, second = predict("tcp", ["listen", "recv"])
    assert (first.before, first.after, first.legal) == ("CREATED", "LISTENING", True)
    assert first.lint == "unbound-listen"
    assert first.verdict == "lint"
    assert (second.outcome, second.verdict) == ("ENOTCONN", "refused")
    assert "accept()" in second.why
    assert "accept" in second.legal_calls
    assert "recv" not in second.legal_calls


def test_the_end_of_a_stream_is_ok_and_said() -> None:
    last = predict("tcp", "connect connect shutdown_rd recv")[-1]
    assert (last.outcome, last.end_of_stream, last.lint) == ("ok", True, "")


def test_sequences_that_make_the_socket_begin_before_it() -> None:
    steps = predict("tcp", "resolve create bind exit")
    assert [p.before for p in steps] == ["START", "RESOLVED", "CREATED", "BOUND"]
    assert predict("unix-stream", "socketpair send")[0].after == "CONNECTED"
    assert predict("tcp", "send", state="PEER_CLOSED")[0].lint == "send-after-peer-closed"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sctp", ["bind"]), "no kind 'sctp'"),
        (("tcp", ["frobnicate"]), "no call 'frobnicate'"),
        (("tcp", ["bind", "create"]), "put create first"),
    ],
)
def test_what_cannot_be_predicted(arguments: tuple[str, list[str]], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        predict(*arguments)


def test_unknown_facts_and_states_are_named() -> None:
    with pytest.raises(UsageError, match="no fact 'weather'"):
        predict("tcp", "bind", given={"weather": "fine"})
    with pytest.raises(UsageError, match="peer cannot be 'nice'"):
        predict("tcp", "bind", given={"peer": "nice"})
    with pytest.raises(UsageError, match="no state 'LIMBO'"):
        predict("tcp", "bind", state="LIMBO")


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str, *args: str
        ) -> tuple[int, list[str], str]:  # fmt: skip
    import os
    import tempfile

    with tempfile.TemporaryFile() as file:
        file.write(text.encode())
        file.seek(0)
        with open(os.dup(file.fileno()), encoding="utf-8") as stdin:
            monkeypatch.setattr("sys.stdin", stdin)
            status = main(["check", *args])
    out, err = capsys.readouterr()
    return status, out.splitlines(), err


def test_batch(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    status, lines, err = run(
        monkeypatch, capsys, "bind listen accept\nconnect,listen\n", "tcp", "--batch"
    )
    assert (status, err) == (0, "")
    assert [json.loads(line) for line in lines] == [
        {"outcomes": ["ok", "ok", "EAGAIN"], "states": ["BOUND", "LISTENING", "LISTENING"],
         "legal": [True, True, True]},
        {"outcomes": ["EINPROGRESS", "EINVAL"], "states": ["CONNECTING", "CONNECTING"],
         "legal": [True, False]},
    ]  # fmt: skip


def test_a_bad_line_is_named_and_the_rest_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, lines, err = run(
        monkeypatch, capsys, "bind\nbind hello\n\n\udcff\nbind\n".replace("\udcff", "\x00"),
        "tcp", "--batch",
    )  # fmt: skip
    assert status == 2
    assert len(lines) == 5
    assert json.loads(lines[0]) == json.loads(lines[4])
    assert "line 2" in json.loads(lines[1])["error"]
    assert json.loads(lines[2])["outcomes"] == []
    assert "line 2: no call 'hello'" in err
    assert "line 4" in err


def test_a_batch_says_what_predict_says() -> None:
    calls = "connect send shutdown_wr recv disconnect bind listen accept close recv".split()  # noqa: SIM905
    for kind in KINDS:
        line = Batch(Predictor(kind), pytest.fail).line(" ".join(calls))
        steps = predict(kind, calls)
        assert json.loads(line) == {
            "outcomes": [p.outcome for p in steps],
            "states": [p.after for p in steps],
            "legal": [p.legal for p in steps],
        }


def test_a_batch_works_out_each_step_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What makes it quick: however many sequences, the rules are asked once for each step."""
    words = "bind listen accept connect send recv shutdown_wr close".split()  # noqa: SIM905
    predictor = Predictor("tcp")
    asked: list[str] = []
    step = predictor.step

    def counted(*args: Any) -> Any:
        asked.append(args[1])
        return step(*args)

    monkeypatch.setattr(predictor, "step", counted)
    batch = Batch(predictor, pytest.fail)
    assert sum(1 for _ in batch.lines([" ".join(words)] * 4000)) == 4000
    assert asked == words


def test_check_explains(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "unix-stream", "listen", "bind", "close"]) == 0
    out = capsys.readouterr().out
    assert "EINVAL" in out
    assert "Usually meant: bind() a path first." in out
    assert "Elsewhere: POSIX names EDESTADDRREQ." in out
    assert "CLOSED_PATH_LEFT" in out
    assert max(map(len, out.splitlines())) <= 100


def test_check_as_json_and_without_a_lint(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "tcp", "listen", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["lint"] == "unbound-listen"
    assert main(["check", "tcp", "listen", "--json", "--no-lint", "unbound-listen"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["verdict"] == "legal"


@pytest.mark.parametrize(
    "arguments",
    [["tcp"], ["sctp", "bind"], ["tcp", "hello"], ["tcp", "--given", "peer", "bind"],
     ["tcp", "bind", "--no-lint", "none-such"], ["tcp", "--batch", "bind"]],
)  # fmt: skip
def test_check_refuses_bad_input(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", *arguments]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_lints_can_be_switched_off_one_by_one() -> None:
    assert "stale-path" not in enabled(["stale-path"])
    assert len(enabled()) == len(LINTS)
    with pytest.raises(UsageError, match="no lint 'x'"):
        enabled(["x"])


def test_every_lint_of_a_rule_is_documented_and_every_rule_lint_is_on_a_rule() -> None:
    used = {cell.rule.lint for kind in KINDS for cell in flat_of(kind) if cell.rule.lint}
    assert used == {lint.name for lint in LINTS.values() if lint.found == "rule"}


def test_what_people_usually_meant() -> None:
    assert meant("tcp", "LISTENING", "recv", "ENOTCONN").endswith("conn, peer = listener.accept().")
    assert meant("udp", "BOUND", "accept", "EOPNOTSUPP").startswith("a datagram server")
    assert meant("udp", "BOUND", "accept", "EXDEV") == ""


def test_what_is_legal_has_a_rule_and_is_not_always_refused() -> None:
    for kind in KINDS:
        flat = flat_of(kind)
        for state in flat.states:
            known = {call for call in flat.calls if flat.cells[state, call]}
            refused = {call for call in known if flat.refusal(state, call)}
            assert set(flat.legal(state)) == known - refused
    assert "accept" in legal_now(flat_of("tcp"), "LISTENING")
    assert "bind" not in legal_now(flat_of("tcp"), "LISTENING")


@pytest.mark.parametrize("word", ["role", "role=", "role!", "role!="])
def test_a_condition_without_a_value_is_none(word: str) -> None:
    with pytest.raises(ValueError, match="is no condition"):
        parse_conditions(word)


def test_stdin_is_left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = Batch(Predictor("udp"), pytest.fail)
    assert list(batch.lines(io.StringIO("bind\n"))) == [batch.line("bind")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tcp", "shutdown"), "did you mean shutdown_wr, shutdown_rd or shutdown_rdwr[?]$"),
        (("tcp", "acept"), "did you mean accept"),
        (("tcp", "frobnicate"), "there are resolve, create, "),
    ],
)
def test_the_nearest_names_are_offered(arguments: tuple[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        predict(arguments[0], [arguments[1]])


@pytest.mark.parametrize("word", ["listening", "LISTENNING"])
def test_a_hundred_states_are_not_listed(word: str) -> None:
    with pytest.raises(UsageError, match="did you mean LISTENING") as error:
        predict("tcp", "bind", state=word)
    assert len(str(error.value)) < 120


def test_pythons_methods_are_taken_for_their_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "tcp", "socket", "connect_ex", "sendall", "recv_into"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in said if line[1:2].isdigit()] == [
        *("create", "connect", "send", "recv"),
    ]
