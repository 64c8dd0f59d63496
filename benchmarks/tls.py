"""What TLS costs ``kumod`` and Postfix: CPU time per handshake and per message, one certificate for both.

``python -m benchmarks.tls``; needs root, as Postfix does, and Postfix itself (Debian: apt install postfix),
of which a private instance is made in a folder that is removed afterwards. Both servers run at the same time
and are used in turn; what counts is the ratio of their medians. The plain scenarios tell what of a number is
not TLS: ``kumod`` runs as a sink, Postfix always writes its queue files.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import smtplib
import ssl
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks import report
from benchmarks.report import number
from benchmarks.servers import POSTFIX, Server, kumod, started

SIZE = 1_048_576
"""Octets of a bulk message."""

TIMEOUT = 30.0
"""Seconds that one step of a client may take."""


class Scenario(NamedTuple):
    """One kind of use.

    Args:
        name: as printed.
        repetitions: of one sample.
        act: does that many on the server that listens at a port.
    """

    name: str
    repetitions: int
    act: Callable[[int, int], None]


def _client_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def connect(port: int, count: int) -> None:
    """Connections that say EHLO and QUIT."""
    for _ in range(count):
        with smtplib.SMTP("127.0.0.1", port, "client.example.com", timeout=TIMEOUT) as client:
            client.ehlo()


def handshake(port: int, count: int) -> None:
    """Connections with a full handshake."""
    for _ in range(count):
        with smtplib.SMTP("127.0.0.1", port, "client.example.com", timeout=TIMEOUT) as client:
            client.starttls(context=_client_context())
            client.ehlo()


def resume(port: int, count: int) -> None:
    """Connections that resume a session, the first one but."""
    context = _client_context()
    session: ssl.SSLSession | None = None
    for _ in range(count):
        with smtplib.SMTP("127.0.0.1", port, "client.example.com", timeout=TIMEOUT) as client:
            client.docmd("EHLO", "client.example.com")
            client.docmd("STARTTLS")
            assert client.sock is not None
            sock = context.wrap_socket(client.sock, session=session)
            client.sock = sock
            client.file = None
            client.ehlo()  # TLS 1.3 sends tickets with the first data
            session = sock.session


def bulk_plain(port: int, count: int) -> None:
    """Large messages over one connection, in the clear."""
    with smtplib.SMTP("127.0.0.1", port, "client.example.com", timeout=TIMEOUT) as client:
        _send(client, count)


def bulk_tls(port: int, count: int) -> None:
    """Large messages over one connection, inside TLS."""
    with smtplib.SMTP("127.0.0.1", port, "client.example.com", timeout=TIMEOUT) as client:
        client.starttls(context=_client_context())
        _send(client, count)


def _send(client: smtplib.SMTP, count: int) -> None:
    line = b"x" * 74 + b"\r\n"
    content = b"Subject: bulk\r\n\r\n" + line * (SIZE // len(line)) + b".\r\n"
    client.ehlo()
    for _ in range(count):
        assert client.mail("sender@example.com")[0] == 250
        assert client.rcpt("recipient@example.org")[0] == 250
        assert client.docmd("DATA")[0] == 354
        client.send(content)
        assert client.getreply()[0] == 250


SCENARIOS = (
    Scenario("connection", 1000, connect),
    Scenario("handshake", 400, handshake),
    Scenario("resumed handshake", 400, resume),
    Scenario("1 MiB plain", 300, bulk_plain),
    Scenario("1 MiB TLS", 300, bulk_tls),
)


@contextmanager
def key_pair() -> Iterator[dict[str, str]]:
    """A self-signed EC P-256 certificate and its key; gives the environment that names the two files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    with tempfile.TemporaryDirectory(prefix="kumo-bench-") as folder:
        certificate_path, key_path = Path(folder, "certificate.pem"), Path(folder, "key.pem")
        certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        yield {"BENCH_CERTIFICATE": str(certificate_path), "BENCH_KEY": str(key_path)}


def measure(scenario: Scenario, server: Server) -> float:
    """Take one sample of a server: CPU milliseconds per 1000."""
    before = server.settled_cpu_seconds()
    scenario.act(server.port, scenario.repetitions)
    return (server.settled_cpu_seconds() - before) * 1_000_000 / scenario.repetitions


def compare(rounds: int) -> dict[str, Any]:
    """Measure both servers, by turns.

    Returns:
        What ``section`` makes a table of.
    """
    medians: dict[str, dict[str, float]] = {}
    with key_pair() as environment:
        os.environ.update(environment)
        with started(kumod("kumod", "discard")) as ours, started(POSTFIX) as postfix:
            servers = [ours, postfix]
            for scenario in SCENARIOS:
                samples: dict[str, list[float]] = {server.name: [] for server in servers}
                for server in servers:
                    scenario.act(server.port, 20)
                for turn in range(rounds):
                    for server in servers if turn % 2 == 0 else servers[::-1]:
                        samples[server.name].append(measure(scenario, server))
                medians[scenario.name] = {name: statistics.median(taken) for name, taken in samples.items()}
    return {"machine": report.machine(), "rounds": rounds, "cpu_ms": medians}


def section(results: dict[str, Any]) -> str:
    """The table: CPU ms per 1000, and what a second of CPU is enough for."""
    rows = []
    for scenario, medians in results["cpu_ms"].items():
        cells = [f"{number(cpu)} ({1_000_000 / cpu:.0f})" if cpu else "0" for cpu in medians.values()]
        ours, theirs = medians.values()
        rows.append([scenario, *cells, number(ours / theirs) if theirs else "-"])
    heads = ["CPU ms per 1000 (a CPU second is enough for)", "kumod", "Postfix", "ratio"]
    preface = (
        f"{results['machine']}; client and servers on one processor; {results['rounds']} rounds, medians."
    )
    return f"{preface}\n\n{report.table(heads, rows)}"


def main() -> None:
    """Run the comparison and print its table."""
    parser = argparse.ArgumentParser(description="CPU time of TLS in kumod and Postfix.")
    parser.add_argument("--rounds", type=int, default=5, help="samples of each server (default: %(default)s)")
    report.add_options(parser)
    options = parser.parse_args()
    if missing := POSTFIX.missing():
        raise SystemExit(missing)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # inherited by all that is started below
    if not options.saved:
        report.keep("tls", compare(options.rounds))
    report.publish({"tls": section(report.saved("tls"))}, write=options.write)


if __name__ == "__main__":
    main()
