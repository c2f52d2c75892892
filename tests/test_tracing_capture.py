"""Packets beside the calls of a block, and what happens where capturing is not permitted."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

import sockfsm
from sockfsm.wire.capture import Capture, CaptureError


def talk() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        data, _ = listening.accept()
        client.sendall(b"hello")
        data.recv(5)
        data.close()
        client.close()


def test_the_packets_of_traced_connections_each_once(tmp_path: Path) -> None:
    stranger, friend = socket.socket(type=socket.SOCK_DGRAM), socket.socket(type=socket.SOCK_DGRAM)
    friend.bind(("127.0.0.1", 0))
    name = friend.getsockname()
    with sockfsm.tracing(tmp_path / "trace", capture=True) as trace:
        talk()
        # The stranger's packet is nobody's: the call goes by the tracer.
        import _socket

        _socket.socket.sendto(stranger, b"?", name)
    stranger.close()
    friend.close()
    packets = list(trace.packets())
    flags = [packet.flags for packet in packets if packet.protocol == "tcp"]
    assert [p for p in packets if p.protocol == "udp"] == []
    assert flags[:3] == ["S", "SA", "A"]
    assert flags.count("S") == 1
    data = next(packet for packet in packets if packet.length == 5)
    assert data.call is not None
    assert data.call.method == "sendall"
    assert data.call.begin <= data.time <= data.call.end
    assert packets[0].call is not None
    assert packets[0].call.method == "connect"


def test_without_permission_the_trace_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refused(*_args: object, **_options: object) -> None:
        raise CaptureError("capturing is not permitted: run as root")

    monkeypatch.setattr(Capture, "start", refused)
    with sockfsm.tracing(tmp_path / "trace", capture=True) as trace:
        talk()
    assert (
        capfd.readouterr().err == "sockfsm: no packets: capturing is not permitted: run as root\n"
    )
    assert list(trace.packets()) == []
    assert any(call.method == "sendall" for call in trace.calls())
    assert "not permitted" in trace.about["capture"]


def test_a_datagram_of_a_socket_that_was_named_late(tmp_path: Path) -> None:
    with sockfsm.tracing(tmp_path / "trace", capture=True) as trace:
        server = socket.socket(type=socket.SOCK_DGRAM)
        server.bind(("127.0.0.1", 0))
        client = socket.socket(type=socket.SOCK_DGRAM)
        client.sendto(b"1", server.getsockname())
        client.connect(server.getsockname())
        client.send(b"22")
        client.close()
        server.close()
    first, second = trace.packets()
    assert [p.call.method for p in (first, second) if p.call] == ["sendto", "send"]
    assert first.socket is not None
    assert second.socket is not None
    assert first.socket.identity == second.socket.identity
