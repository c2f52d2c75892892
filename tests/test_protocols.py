"""Protocols above sockets: SMTP against `smtplib`, and one of a student's own."""

from __future__ import annotations

import json
import random
import shutil
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from patience import PATIENCE
from transitions import Machine
from transitions.extensions import HierarchicalMachine

from sockfsm.cli.main import main
from sockfsm.errors import OutOfOrderError, UsageError
from sockfsm.model.predict import predict
from sockfsm.protocols.dialogue import LONGEST, Dialogue
from sockfsm.protocols.names import protocol
from sockfsm.protocols.payload import _Stream, conversations
from sockfsm.protocols.protocol import CLIENT, SERVER, Protocol, table_of_machine
from sockfsm.protocols.smtp import SMTP, reply, request
from sockfsm.protocols.watching import unwatch, watch
from sockfsm.trace.trace import Trace

HERE = Path(__file__).parent / "protocols"

STORY = [
    (SERVER, b"220-hello\r\n220 ready\r\n"),
    (CLIENT, b"EHLO me\r\n"),
    (SERVER, b"250-me\r\n250 PIPELINING\r\n"),
    (CLIENT, b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\n"),
    (SERVER, b"250 ok\r\n250 ok\r\n550 who?\r\n354 go on\r\n"),
    (CLIENT, b"Subject: x\r\n\r\nQUIT\r\n..\r\n.\r\nQUIT\r\n"),
    (SERVER, b"250 taken\r\n221 bye\r\n"),
]
"""A pipelined dialogue (RFC 2920): the content has a line that looks like a command."""

TOLD = [
    ("greeting", "ok", "GREETED"),
    ("EHLO", "ok", "READY"),
    ("MAIL", "ok", "MAIL"),
    ("RCPT", "ok", "RCPT"),
    ("RCPT", "550", "RCPT"),
    ("DATA", "ok", "DATA"),
    ("content", "ok", "READY"),
    ("QUIT", "ok", "CLOSED"),
]


def exchanged(dialogue: Dialogue) -> list[tuple[str, str, str]]:
    return [(each.request, each.outcome, each.after) for each in dialogue.exchanges]


@given(st.integers(0, 2**32))
def test_a_dialogue_does_not_depend_on_how_its_bytes_are_cut(seed: int) -> None:
    chance = random.Random(seed)
    dialogue = Dialogue(SMTP)
    for who, data in STORY:
        while data:
            size = chance.randint(1, len(data))
            dialogue.feed(who, data[:size], 1)
            data = data[size:]
    assert exchanged(dialogue) == TOLD
    assert not dialogue.broken
    assert all(each.explained for each in dialogue.exchanges)
    assert not any(each.illegal for each in dialogue.exchanges)


@given(st.integers(0, 2**32))
def test_a_stream_is_put_in_order(seed: int) -> None:
    """Segments come in any order, again, and overlapping, as retransmissions do."""
    chance = random.Random(seed)
    whole = bytes(chance.randbytes(200))
    pieces = [(at, whole[at : at + chance.randint(7, 40)]) for at in range(0, 200, 7)]
    pieces += chance.choices(pieces, k=20)
    chance.shuffle(pieces)
    stream = _Stream()
    assert b"".join(stream.take(at + 1, piece) for at, piece in pieces) == whole


@pytest.mark.parametrize(
    ("state", "legal"),
    [
        ("CONNECTED", "greeting QUIT"),
        ("GREETED", "QUIT EHLO HELO RSET NOOP VRFY EXPN HELP"),
        ("READY", "QUIT EHLO HELO MAIL RSET NOOP VRFY EXPN HELP STARTTLS AUTH"),
        ("MAIL", "QUIT EHLO HELO RCPT RSET NOOP VRFY EXPN HELP"),
        ("RCPT", "QUIT EHLO HELO RCPT DATA RSET NOOP VRFY EXPN HELP"),
        ("DATA", "content"),
        ("AUTH", "credentials"),
        ("SECRET", ""),
        ("REFUSED", "QUIT"),
        ("CLOSED", ""),
    ],
)
def test_what_rfc_5321_allows(state: str, legal: str) -> None:
    """By hand, from its sections 3.1, 3.3, 4.1.1 and 4.1.4."""
    assert set(SMTP.machine.legal(state)) == set(legal.split())


def test_smtp_is_predicted_like_a_socket() -> None:
    protocol("smtp")
    found = predict("smtp", ["greeting", "EHLO", "MAIL", "DATA"])
    assert [each.outcome for each in found] == ["ok", "ok", "ok", "503"]
    assert not found[-1].legal
    assert "RCPT" in found[-1].legal_calls


def test_a_server_that_takes_what_is_illegal() -> None:
    dialogue = Dialogue(SMTP)
    dialogue.feed(SERVER, b"220 x\r\n", 1)
    dialogue.feed(CLIENT, b"MAIL FROM:<a>\r\n", 2)
    dialogue.feed(SERVER, b"250 ok\r\n", 3)
    exchange = dialogue.exchanges[-1]
    assert (exchange.illegal, exchange.explained, exchange.predicted) == (True, False, "503")


def test_credentials_are_no_commands() -> None:
    dialogue = Dialogue(SMTP)
    for who, data in [
        (SERVER, b"220 x\r\n"), (CLIENT, b"EHLO x\r\n"), (SERVER, b"250 x\r\n"),
        (CLIENT, b"AUTH LOGIN\r\n"), (SERVER, b"334 VXNlcm5hbWU6\r\n"),
        (CLIENT, b"cXVpdA==\r\n"), (SERVER, b"334 UGFzc3dvcmQ6\r\n"),
        (CLIENT, b"cXVpdA==\r\n"), (SERVER, b"535 no\r\n"),
    ]:  # fmt: skip
        dialogue.feed(who, data, 1)
    assert exchanged(dialogue)[2:] == [
        ("AUTH", "continue", "AUTH"),
        ("credentials", "continue", "AUTH"),
        ("credentials", "535", "READY"),
    ]


@pytest.mark.parametrize(
    ("who", "data", "why"),
    [
        (SERVER, b"hello\r\n", "no reply of a mail server: b'hello\\r'"),
        (SERVER, b"2" * (LONGEST + 1), "no message ends within 1,048,576 bytes"),
    ],
)
def test_bytes_of_another_protocol(who: str, data: bytes, why: str) -> None:
    dialogue = Dialogue(SMTP)
    dialogue.feed(who, data, 1)
    assert dialogue.broken == why
    dialogue.feed(who, b"220 x\r\n", 1)
    assert not dialogue.exchanges


@given(st.binary(), st.sampled_from(list(SMTP.machine.states)))
def test_readers_take_any_bytes(data: bytes, state: str) -> None:
    for found in (request(data, state), _read(data)):
        assert found is None or 0 < found[1] <= len(data)


def _read(data: bytes) -> tuple[str, int] | None:
    try:
        return reply(data, "NOOP")
    except ValueError:
        return None


@pytest.fixture(scope="module")
def mail(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mail") / "trace"
    command = [sys.executable, "-m", "sockfsm", "run", "--payload", "-o", str(folder)]
    subprocess.run([*command, HERE / "mail.py"], check=True, timeout=PATIENCE)
    return folder


def test_the_dialogue_of_smtplib(mail: Path) -> None:
    [talk] = conversations(Trace.open(mail), SMTP)
    assert exchanged(talk.dialogue) == [
        ("greeting", "ok", "GREETED"),
        ("EHLO", "ok", "READY"),
        ("MAIL", "ok", "MAIL"),
        ("RCPT", "ok", "RCPT"),
        ("DATA", "ok", "DATA"),
        ("content", "ok", "READY"),
        ("MAIL", "ok", "MAIL"),
        ("DATA", "503", "MAIL"),
        ("QUIT", "ok", "CLOSED"),
    ]
    assert [each.request for each in talk.dialogue.exchanges if each.illegal] == ["DATA"]
    client, server = talk.sockets
    assert client is not None
    assert server is not None
    assert (client.made_by, server.made_by) == ("create", "accepted")
    sites = [talk.causes[each.begin].site for each in talk.dialogue.exchanges]
    assert all(site is not None for site in sites)


def test_the_command(mail: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["protocol", "smtp", str(mail)]) == 1
    text = capsys.readouterr().out
    assert "9 requests, 1 illegal; it ended in CLOSED" in text
    assert "ILLEGAL: There is no recipient yet" in text
    assert "legal here: QUIT, EHLO" in text
    assert max(map(len, text.splitlines())) <= 80
    assert main(["protocol", "smtp", str(mail), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert [each["request"] for each in told["exchanges"] if each["illegal"]] == ["DATA"]


def test_the_path_of_the_dialogues(
    mail: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "path.dot"
    assert main(["protocol", "smtp", str(mail), "-o", str(picture)]) == 1
    assert f"wrote {picture}" in capsys.readouterr().out
    text = picture.read_text()
    assert "2 visits" in text  # READY, and MAIL
    assert "DATA: 503" in text


def test_a_program_in_the_simulator(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same program on a wire that loses one segment in five: the dialogue is the same."""
    folder, wire = str(tmp_path / "trace"), "latency 20ms, loss 20%"
    main(["simulate", str(HERE / "mail.py"), "--network", wire, "--seed", "3", "-o", folder])
    capsys.readouterr()
    trace = Trace.open(folder)
    assert any(p.cause is not None and p.cause.why == "retransmission" for p in trace.packets())
    [talk] = conversations(trace, SMTP)
    assert exchanged(talk.dialogue)[-2:] == [("DATA", "503", "MAIL"), ("QUIT", "ok", "CLOSED")]


def test_what_the_trace_lacks_is_said(
    mail: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(mail, tmp_path / "cut")
    for log in folder.glob("*.calls"):
        log.write_bytes(log.read_bytes() + b"x" * 7)
    assert main(["protocol", "smtp", str(folder)]) == 1
    assert "incomplete: " in capsys.readouterr().out
    assert main(["protocol", "smtp", str(folder), "--json"]) == 1
    assert "no whole record" in json.loads(capsys.readouterr().out.splitlines()[-1])["problems"][0]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nntp", "."], "no protocol 'nntp': choose one of smtp"),
        (["nowhere:X", "."], "nowhere: No module named 'nowhere'"),
        ([f"{HERE}/chat.py:MACHINE", "."], "has no Protocol of the name MACHINE"),
        ([f"{HERE}/none.py:X", "."], "none.py: no such file"),
        (["smtp", "/nowhere"], "/nowhere"),
        (["smtp", "MAIL", "--port", "1"], "no captured TCP connection to port 1"),
    ],
)
def test_bad_input(
    mail: Path, arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(mail) if word == "MAIL" else word for word in arguments]
    assert main(["protocol", *arguments]) == 2
    said = capsys.readouterr().err
    assert line in said
    assert said.count("\n") == 1


def test_packets_without_payload(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "trace"
    command = [sys.executable, "-m", "sockfsm", "run", "-o", str(folder), str(HERE / "mail.py")]
    subprocess.run(command, check=True, timeout=PATIENCE)
    assert main(["protocol", "smtp", str(folder)]) == 2
    assert "record it with `sockfsm run --payload`" in capsys.readouterr().err


def test_a_machine_of_transitions(capsys: pytest.CaptureFixture[str]) -> None:
    chat = protocol(f"{HERE}/chat.py:CHAT")
    dialogue = Dialogue(chat)
    dialogue.feed(CLIENT, b"SAY hi\nJOIN\nSAY hi\nLEAVE\nSHOUT\nSAY late\n", 1)
    assert [(e.request, e.outcome, e.after, e.illegal) for e in dialogue.exchanges] == [
        ("SAY", "refused", "outside", True),
        ("JOIN", "ok", "in the room", False),
        ("SAY", "ok", "in the room", False),
        ("LEAVE", "ok", "left", False),
        ("SHOUT", "ok", "left", False),
        ("SAY", "refused", "left", True),
    ]
    assert not dialogue.exchanges[4].explained
    for command in (["check", f"{HERE}/chat.py:CHAT", "JOIN"], ["machine", f"{HERE}/chat.py:CHAT"]):
        assert main(command) == 0
        assert "JOIN" in capsys.readouterr().out


def test_a_machine_that_is_no_protocol() -> None:
    nested = HierarchicalMachine(states=["a", {"name": "b", "children": ["c"]}], initial="a")
    with pytest.raises(UsageError, match="states inside states"):
        table_of_machine(nested, name="nested")


@pytest.mark.parametrize("refusals", [(), ("--refusals",)])
def test_the_picture(refusals: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagram", "smtp", *refusals]) == 0
    text = capsys.readouterr().out
    for state in set(SMTP.machine.states) - {"REFUSED"}:
        assert state in text
    assert "close()" not in text
    assert ("503" in text) == bool(refusals)


def pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair()


def test_a_live_socket_is_followed() -> None:
    client, server = pair()
    with client, server:
        dialogue = watch(client, SMTP, CLIENT)
        server.sendall(b"220 x\r\n")
        assert client.recv(100, socket.MSG_PEEK) == b"220 x\r\n"
        lines = client.makefile("rb")
        assert lines.readline() == b"220 x\r\n"
        client.sendmsg(iter([b"EH", b"LO x\r\n"]))
        assert server.recv(100) == b"EHLO x\r\n"
        server.sendall(b"250 x\r\n")
        assert client.recv_into(bytearray(100)) == 7
        client.send(b"MAIL FROM:<a>\r\n")
        assert exchanged(dialogue) == TOLD[:2]
        assert unwatch(client) is dialogue
        assert exchanged(dialogue)[2:] == [("MAIL", "", "READY")]
        assert type(client) is socket.socket
        client.send(b"QUIT\r\n")
        assert len(dialogue.exchanges) == 3
        lines.close()


def test_an_illegal_request_is_not_sent() -> None:
    client, server = pair()
    with client, server:
        watch(client, SMTP, CLIENT, enforce=True)
        server.sendall(b"220 x\r\n")
        client.recv(100)
        with pytest.raises(OutOfOrderError, match="DATA is illegal in GREETED"):
            client.sendall(b"DATA\r\n")
        client.sendall(b"EHLO x\r\n")
        assert server.recv(100) == b"EHLO x\r\n"


def test_tls_is_followed_in_the_clear(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-keyout",
         key, "-out", certificate], check=True, capture_output=True, timeout=PATIENCE,
    )  # fmt: skip
    here = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    here.load_cert_chain(certificate, key)
    there = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    there.check_hostname, there.verify_mode = False, ssl.CERT_NONE
    listening = socket.create_server(("127.0.0.1", 0))
    with listening, socket.create_connection(listening.getsockname()) as plain:
        accepted = listening.accept()[0]
        plain.setblocking(False)
        client = there.wrap_socket(plain, do_handshake_on_connect=False)
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        accepted.settimeout(PATIENCE)
        server = here.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False)
        _both(client, server)
        with client, server:
            dialogue = watch(server, SMTP, SERVER)
            server.sendall(b"220 x\r\n")
            client.setblocking(True)
            assert client.recv(100) == b"220 x\r\n"
            client.sendall(b"EHLO x\r\n")
            assert server.recv(100) == b"EHLO x\r\n"
            server.send(b"250 x\r\n")
            assert exchanged(dialogue) == TOLD[:2]


def _both(client: ssl.SSLSocket, server: ssl.SSLSocket) -> None:
    """The handshake, by turns in one thread."""
    server.setblocking(False)
    done: set[ssl.SSLSocket] = set()
    while len(done) < 2:
        for each in (client, server):
            try:
                each.do_handshake()
                done.add(each)
            except ssl.SSLWantReadError:
                continue
    server.setblocking(True)


@pytest.mark.parametrize("role", ["peer", ""])
def test_no_such_role(role: str) -> None:
    client, server = pair()
    with client, server, pytest.raises(UsageError, match="no role"):
        watch(client, SMTP, role)


def test_what_cannot_be_followed() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        with pytest.raises(UsageError, match="stream sockets"):
            watch(sock, SMTP, CLIENT)
        with pytest.raises(UsageError, match="not followed"):
            unwatch(sock)
    client, server = pair()
    with client, server:
        watch(client, SMTP, CLIENT)
        with pytest.raises(UsageError, match="already"):
            watch(client, SMTP, CLIENT)


def test_two_machines_of_one_name() -> None:
    protocol("smtp")
    other = Protocol(table_of_machine(Machine(states=["a"], initial="a"), name="smtp"), request)
    sys.modules["tests_other"] = sys.modules[__name__]
    globals()["OTHER"] = other
    with pytest.raises(UsageError, match="a machine named smtp already"):
        protocol("tests_other:OTHER")
    del globals()["OTHER"], sys.modules["tests_other"]
