"""Sockets that are accepted as plain ones must be whole sockets."""

from __future__ import annotations

import socket

import pytest

from kumo.listener.accepted_socket import ListeningSocket


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_it_is_what_the_operating_system_accepted(family: socket.AddressFamily, host: str) -> None:
    opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    opened.bind((host, 0))
    opened.listen()
    with ListeningSocket(opened) as listening:
        assert opened.fileno() == -1
        with pytest.raises(BlockingIOError):
            listening.accept()
        with socket.create_connection(listening.getsockname()[:2]) as client:
            accepted, peer = listening.accept()
            with accepted:
                assert peer == client.getsockname()
                assert accepted.getpeername() == client.getsockname()
                assert (accepted.family, accepted.type) == (family, socket.SOCK_STREAM)
                # Nagle's algorithm is switched off only where the protocol is known.
                assert accepted.proto == socket.IPPROTO_TCP
                assert type(accepted.family) is int
                assert accepted.get_inheritable() is False
                client.sendall(b"octets")
                assert accepted.recv(100) == b"octets"
            assert client.recv(100) == b""
