"""A private instance of Postfix in the folder KUMO_VAR: queue files with its syncs, delivery to ``discard``.

Run as a program, by root, as Postfix needs. With BENCH_CERTIFICATE and BENCH_KEY, the paths of two files, it
offers STARTTLS. Its processes are kept between connections.
"""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from benchmarks.launchers.free_port import announce, free_port

MAIN = """
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
max_use = 1000000
max_idle = 1000s
"""

TLS = """
smtpd_tls_security_level = may
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {key}
smtpd_tls_loglevel = 0
"""

MASTER = """
127.0.0.1:{port} inet n - n - 50 smtpd
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
"""


def make_instance(folder: Path, port: int) -> None:
    """Write the configuration of an instance into an empty folder."""
    owner = pwd.getpwnam("postfix")
    folder.chmod(0o755)
    for name in ("conf", "queue", "data"):
        (folder / name).mkdir(mode=0o755)
    os.chown(folder / "data", owner.pw_uid, owner.pw_gid)
    main = MAIN.format(folder=folder)
    if certificate := os.environ.get("BENCH_CERTIFICATE"):
        main += TLS.format(certificate=certificate, key=os.environ["BENCH_KEY"])
    (folder / "conf" / "main.cf").write_text(main)
    (folder / "conf" / "master.cf").write_text(MASTER.format(port=port))


def stop(*_: object) -> None:
    """End the children: they outlive their master."""
    for process in psutil.Process().children(recursive=True):
        process.kill()


def main() -> int:
    """Serve until told to end."""
    os.environ["PATH"] += ":/usr/sbin"
    folder, port = Path(os.environ["KUMO_VAR"]), free_port()
    make_instance(folder, port)
    subprocess.run(["postfix", "-c", str(folder / "conf"), "check"], check=True)
    signal.signal(signal.SIGTERM, stop)
    master = subprocess.Popen(["/usr/lib/postfix/sbin/master", "-c", str(folder / "conf"), "-d"])
    announce(port)
    return master.wait()


sys.exit(main())
