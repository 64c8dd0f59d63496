"""Clients that others wrote: swaks and openssl; where one is missing, tests are skipped and say so."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from .daemon import PATIENCE

TLS_HEAD = """
local function pem(name) return var .. '/' .. name .. '.pem' end
local function listener(parameters)
  parameters.listen = '127.0.0.1:0'
  parameters.hostname = parameters.hostname or 'mx.test'
  kumo.start_esmtp_listener(parameters)
end
local function logs_with_meta()
  kumo.configure_local_logs {
    log_dir = var .. '/log', meta = { '*' }, min_free_space = '0%', min_free_inodes = '0%',
  }
end
maildir()
"""
"""Head of a policy for TLS: files beside it as PEM, listeners, logs with meta."""


def swaks(port: int, *arguments: str, status: int = 0) -> str:
    """Run swaks against a port of 127.0.0.1.

    Args:
        port: of the daemon.
        arguments: further ones; sender and recipient have defaults.
        status: what it must exit with; 0: the message was accepted.

    Returns:
        The transcript. Every line that came begins with ``<`` or, inside TLS, ``<~``.
    """
    command = command_of("swaks", "swaks")
    if any(argument.startswith("--tls") for argument in arguments) and not _swaks_speaks_tls(command):
        pytest.skip("swaks lacks TLS (Debian package libnet-ssleay-perl)")
    addresses = ("--from", "a@example.com", "--to", "b@example.org", "--helo", "client.example.com")
    done = subprocess.run(
        [command, "--server", "127.0.0.1", "--port", str(port), *addresses, *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    transcript = done.stdout + done.stderr
    assert done.returncode == status, transcript
    return transcript


def s_client(port: int, *arguments: str, says: str = "") -> str:
    """Run ``openssl s_client -starttls smtp``, to the end of the connection.

    Args:
        port: of the daemon.
        arguments: further ones.
        says: what it sends inside TLS, lines with LF; QUIT follows.

    Returns:
        What it has to tell and what came, with LF; nothing is assumed of its exit status.
    """
    done = subprocess.run(
        [*s_client_command(port), "-ign_eof", "-nocommands", *arguments],
        input=says + "QUIT\n",
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return (done.stdout + done.stderr).replace("\r\n", "\n")


def mail_to(recipient: str) -> str:
    """A session for ``s_client``, in one go."""
    return (
        "EHLO client.example.com\nMAIL FROM:<a@example.com>\n"
        f"RCPT TO:<{recipient}>\nDATA\nSubject: x\n\nbody\n.\n"
    )


def s_client_command(port: int) -> list[str]:
    """``openssl s_client`` as a list of arguments, for who wants to hold its strings."""
    openssl = command_of("openssl", "openssl")
    return [openssl, "s_client", "-starttls", "smtp", "-crlf", "-connect", f"127.0.0.1:{port}"]


def command_of(name: str, package: str) -> str:
    """Where a command is."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is missing (Debian package {package})")
    return found


def _swaks_speaks_tls(command: str) -> bool:
    told = subprocess.run([command, "--support"], capture_output=True, text=True, check=False)
    return "=== TLS supported" in told.stdout
