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
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks.loopback import Server, started

KUMOD_POLICY = """
local kumo = require 'kumo'
local folder = os.getenv 'KUMO_VAR'
kumo.on('init', function()
  for _, name in ipairs { 'data', 'meta' } do
    kumo.define_spool {
      name = name, path = folder .. '/' .. name, min_free_space = '1%', min_free_inodes = '1%'
    }
  end
  kumo.start_esmtp_listener {
    listen = '127.0.0.1:0',
    hostname = 'localhost',
    tls_certificate = os.getenv 'BENCH_CERTIFICATE',
    tls_private_key = os.getenv 'BENCH_KEY',
  }
end)
kumo.on('smtp_server_message_received', function(msg) msg:set_meta('queue', 'null') end)
"""

# Makes a Postfix instance in KUMO_VAR, starts it, and says where it listens.
POSTFIX = r"""
import os, psutil, pwd, signal, socket, subprocess, sys, time
folder = os.environ["KUMO_VAR"]
owner = pwd.getpwnam("postfix")
os.chmod(folder, 0o755)
for name in ("conf", "queue", "data"):
    os.mkdir(f"{folder}/{name}", 0o755)
os.chown(f"{folder}/data", owner.pw_uid, owner.pw_gid)
with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
with open(f"{folder}/conf/main.cf", "w") as main:
    main.write(f'''
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
maillog_file_prefixes = {folder}
maillog_file = {folder}/data/maillog
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = localhost
mydestination =
local_recipient_maps =
alias_maps =
mynetworks = 127.0.0.0/8
default_transport = discard:
message_size_limit = 20971520
smtpd_client_connection_count_limit = 0
smtpd_tls_security_level = may
smtpd_tls_cert_file = {os.environ["BENCH_CERTIFICATE"]}
smtpd_tls_key_file = {os.environ["BENCH_KEY"]}
smtpd_tls_loglevel = 0
max_use = 1000000
max_idle = 1000s
''')
with open(f"{folder}/conf/master.cf", "w") as master:
    master.write(f'''
127.0.0.1:{port} inet n - n - 20 smtpd
postlog unix-dgram n - n - 1 postlogd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
discard unix - - n - - discard
anvil unix - - n - 1 anvil
''')
subprocess.run(["postfix", "-c", f"{folder}/conf", "check"], check=True)
def stop(*_):
    for process in psutil.Process().children(recursive=True):  # they outlive their master
        process.kill()
signal.signal(signal.SIGTERM, stop)
master = subprocess.Popen(["/usr/lib/postfix/sbin/master", "-c", f"{folder}/conf", "-d"])
for _ in range(250):
    try:
        socket.create_connection(("127.0.0.1", port)).close()
        break
    except OSError:
        time.sleep(0.02)
print(f"smtp listener on 127.0.0.1:{port}", file=sys.stderr, flush=True)
master.wait()
"""

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
        Path(folder, "sink.lua").write_text(KUMOD_POLICY)
        yield {
            "BENCH_CERTIFICATE": str(certificate_path),
            "BENCH_KEY": str(key_path),
            "BENCH_POLICY": str(Path(folder, "sink.lua")),
        }


def measure(scenario: Scenario, server: Server) -> None:
    """Take one sample of a server."""
    before = server.cpu_seconds()
    scenario.act(server.port, scenario.repetitions)
    seconds = server.cpu_seconds() - before
    server.samples.setdefault(scenario.name, []).append(seconds * 1_000_000 / scenario.repetitions)


def table(servers: list[Server]) -> Iterator[str]:
    """The results: CPU ms per 1000, and what a second of CPU is enough for."""
    heads = [f"{server.name}{what}" for what in ("", ", per CPU second") for server in servers]
    yield f"{'CPU ms per 1000':20}" + "".join(f"{head:>24}" for head in [*heads, "ratio"])
    for scenario in SCENARIOS:
        medians = [statistics.median(server.samples[scenario.name]) for server in servers]
        cells = [f"{median:24.0f}" for median in medians]
        cells += [f"{1_000_000 / median if median else float('inf'):24.0f}" for median in medians]
        ratio = medians[0] / medians[-1] if medians[-1] else float("inf")
        yield f"{scenario.name:20}{''.join(cells)}{ratio:24.2f}"


def main() -> None:
    """Run the comparison and print its table."""
    parser = argparse.ArgumentParser(description="CPU time of TLS in kumod and Postfix.")
    parser.add_argument("--rounds", type=int, default=5, help="samples of each server (default: %(default)s)")
    options = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("Postfix must be started by root")
    os.environ["PATH"] += ":/usr/sbin"
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # inherited by all that is started below
    with key_pair() as environment:
        os.environ.update(environment)
        kumod_command = [sys.executable, "-m", "kumo", "--policy", environment["BENCH_POLICY"]]
        with (
            started("kumod", kumod_command) as kumod,
            started("postfix", [sys.executable, "-c", POSTFIX]) as postfix,
        ):
            servers = [kumod, postfix]
            for scenario in SCENARIOS:
                for server in servers:
                    scenario.act(server.port, 20)
                for number in range(options.rounds):
                    for server in servers if number % 2 == 0 else servers[::-1]:
                        measure(scenario, server)
            print("\n".join(table(servers)))


if __name__ == "__main__":
    main()
