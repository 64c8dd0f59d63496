"""kumod as a newcomer meets it: a real process, real clients, files on disk."""

from __future__ import annotations

import os
import shutil
import signal
import smtplib
import socket
import subprocess
import urllib.request
from email.message import EmailMessage
from pathlib import Path

import aiosmtplib
import pytest

from kumo.spool import list_spool

from .daemon import PATIENCE, Kumod, run_kumod

WHOLE = """
kumo.on('init', function()
  spools(false)
  logs()
  kumo.start_esmtp_listener { listen = '127.0.0.1:0', hostname = 'mx.test' }
end)
maildir()
"""

SINK = """
kumo.on('init', function()
  spools(false)
  logs()
  kumo.start_esmtp_listener { listen = '127.0.0.1:0', hostname = 'mx.test' }
end)
kumo.on('smtp_server_message_received', function(msg) msg:set_meta('queue', 'null') end)
"""


def a_message() -> EmailMessage:
    message = EmailMessage()
    message["From"] = "a@example.com"
    message["To"] = "b@example.org"
    message["Subject"] = "first mail"
    message.set_content(".starts with a dot\nhello\n")
    return message


def smtp_source() -> str:
    found = shutil.which("smtp-source") or shutil.which("smtp-source", path="/usr/sbin")
    assert found is not None, "smtp-source is missing (Debian package postfix)"
    return found


def wait_until_delivered(daemon: Kumod, count: int) -> list[Path]:
    """What is in the maildirs once ``count`` messages are; stops the daemon, which logs the last ones."""
    daemon.wait_until(lambda: len(list(daemon.delivered())) >= count)
    assert daemon.stop() == 0
    found = list(daemon.delivered())
    assert len(found) == count
    return found


def test_a_mail_is_stamped_delivered_and_logged(tmp_path: Path) -> None:
    with Kumod(tmp_path, WHOLE) as daemon:
        with daemon.client() as client:
            client.send_message(a_message())
        (path,) = wait_until_delivered(daemon, 1)
        content = path.read_bytes()
        assert content.startswith(b"X-KumoRef: ")
        assert (
            b"\r\nReceived: from client.example.com (127.0.0.1)\r\n  by mx.test (KumoMTA 127.0.0.1) \r\n"
            in content
        )
        assert content.endswith(b"\r\n\r\n.starts with a dot\r\nhello\r\n")
        assert path.parts[-4:-1] == ("example.org", "b", "new")
        kinds = {record["type"]: record for record in daemon.records()}
        assert list(kinds) == ["Reception", "Delivery"]
        assert kinds["Reception"]["id"] == kinds["Delivery"]["id"]
        assert kinds["Delivery"]["delivery_protocol"] == "Maildir"
        daemon.wait_until(lambda: not list(list_spool(tmp_path / "spool" / "meta")))


def test_swaks_sends_an_attachment(tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(bytes(range(256)) * 400)
    with Kumod(tmp_path, WHOLE) as daemon:
        done = subprocess.run(
            [
                *f"swaks -s 127.0.0.1:{daemon.port} -f a@example.com -t b@example.org --attach".split(),
                f"@{photo}",
            ],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "250 OK ids=" in done.stdout
        (path,) = wait_until_delivered(daemon, 1)
        assert b"photo.jpg" in path.read_bytes()


def test_smtp_source_and_every_message_accounted_for(tmp_path: Path) -> None:
    with Kumod(tmp_path, WHOLE) as daemon:
        subprocess.run(
            [
                smtp_source(),
                *f"-s 10 -m 200 -l 2048 -f a@e.example -t b@f.example 127.0.0.1:{daemon.port}".split(),
            ],
            timeout=PATIENCE,
            check=True,
        )
        wait_until_delivered(daemon, 200)
        records = daemon.records()
        received = {r["id"] for r in records if r["type"] == "Reception"}
        delivered = {r["id"] for r in records if r["type"] == "Delivery"}
        assert len(received) == 200
        assert received == delivered


def test_a_sink_keeps_nothing_but_the_record(tmp_path: Path) -> None:
    with Kumod(tmp_path, SINK) as daemon:
        with daemon.client() as client:
            client.send_message(a_message())
        assert daemon.stop() == 0
        assert [(r["type"], r["queue"]) for r in daemon.records()] == [("Reception", "null")]
        assert [p for p in (tmp_path / "spool").rglob("*") if p.is_file() and p.name != "lock"] == []


def test_three_recipients_make_three_messages(tmp_path: Path) -> None:
    with Kumod(tmp_path, WHOLE) as daemon:
        with daemon.client() as client:
            client.sendmail(
                "a@example.com", ["x@e.example", "y@e.example", "z@f.example"], b"Subject: x\r\n\r\nhi\r\n"
            )
        found = wait_until_delivered(daemon, 3)
        assert sorted(p.parts[-3] for p in found) == ["x", "y", "z"]


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_tell_idle_sessions_and_end_cleanly(tmp_path: Path, sig: signal.Signals) -> None:
    with Kumod(tmp_path, WHOLE) as daemon:
        peer = socket.create_connection(("127.0.0.1", daemon.port), timeout=PATIENCE)
        with peer:
            assert peer.recv(1000).startswith(b"220 mx.test")
            assert daemon.stop(sig) == 0
            assert peer.recv(1000) == b"421 4.3.2 mx.test shutting down\r\n"
            assert peer.recv(1000) == b""


def test_a_second_signal_does_not_wait_for_sleeping_handlers(tmp_path: Path) -> None:
    policy = WHOLE + (
        "kumo.on('smtp_server_mail_from', function(sender)\n"
        "  kumo.log_info('asleep in mail_from') kumo.sleep(3600)\n"
        "end)\n"
        "kumo.on('smtp_server_data', function(msg) kumo.sleep(3600) end)"
    )
    with Kumod(tmp_path, policy) as daemon, daemon.client() as client:
        client.ehlo()
        client.putcmd("MAIL FROM:<a@example.com>")
        daemon.wait_for_line("asleep in mail_from")
        daemon.process.send_signal(signal.SIGTERM)
        daemon.wait_for_line("shutting down")
        assert daemon.stop() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is warned")
def test_root_is_warned_and_served(tmp_path: Path) -> None:
    with Kumod(tmp_path, WHOLE) as daemon:
        assert any("running as root" in line for line in daemon.lines)


@pytest.mark.parametrize("start_tls", [False, True])
async def test_aiosmtplib_sends_a_message(tmp_path: Path, *, start_tls: bool) -> None:
    with Kumod(tmp_path, WHOLE) as daemon:
        errors, text = await aiosmtplib.send(
            a_message(),
            hostname="127.0.0.1",
            port=daemon.port,
            start_tls=start_tls,
            validate_certs=False,
            timeout=PATIENCE,
        )
        assert errors == {}
        assert text.startswith("OK ids=")
        wait_until_delivered(daemon, 1)


def test_kill_9_after_the_250_loses_nothing(tmp_path: Path) -> None:
    """Queues without a way out keep their messages; the next start brings each back, once."""
    policy = WHOLE.replace("maildir()", "")
    with Kumod(tmp_path, policy) as daemon:
        with daemon.client() as client:
            for number in range(30):
                client.sendmail("a@example.com", ["b@example.org"], f"Subject: {number}\r\n\r\nbody\r\n")
        daemon.kill()
        listed = run_kumod("--list-spool", str(tmp_path / "spool" / "meta"), cwd=tmp_path)
        assert listed.returncode == 0
        assert len(listed.stdout.splitlines()) == 30
        daemon.script.write_text(daemon.script.read_text() + "\nmaildir()\n")
        daemon.start()
        with daemon.client() as client:
            client.noop()
        daemon.wait_for_line("spool enumeration complete")
        contents = [path.read_bytes() for path in wait_until_delivered(daemon, 30)]
        subjects = sorted(int(c.partition(b"Subject: ")[2].split(b"\r\n")[0]) for c in contents)
        assert subjects == list(range(30))


def test_messages_without_a_way_out_are_visible(tmp_path: Path) -> None:
    policy = WHOLE.replace("maildir()", "").replace(
        "logs()", "logs()\n kumo.start_http_listener { listen = '127.0.0.1:0' }"
    )
    with Kumod(tmp_path, policy) as daemon:
        with daemon.client() as client:
            client.send_message(a_message())
        base = f"http://127.0.0.1:{daemon.http_port}"
        with urllib.request.urlopen(f"{base}/metrics", timeout=PATIENCE) as answer:  # noqa: S310 - loopback
            text = answer.read().decode()
        assert 'scheduled_count{queue="example.org"} 1' in text
        with urllib.request.urlopen(f"{base}/api/check-liveness/v1", timeout=PATIENCE) as answer:  # noqa: S310
            assert answer.read() == b"OK"


def test_two_daemons_on_one_spool_refuse(tmp_path: Path) -> None:
    with Kumod(tmp_path, WHOLE) as daemon:
        second = run_kumod("--policy", str(daemon.script), cwd=tmp_path)
        assert second.returncode == 1
        assert "unable to lock pid file" in second.stderr
        assert str(tmp_path / "spool") in second.stderr


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (
            "kumo.on('init', function() kumo.start_esmtp_listener { hostnam = 'x' } end)",
            ["init.lua:", "unknown field `hostnam`", "did you mean `hostname`"],
        ),
        (
            "kumo.on('init', function() kumo.start_esmtp_listener { relay_hosts = { '10.0.0.1/8' } } end)",
            ["host part of address was not zero", "Did you mean 10.0.0.0/8?"],
        ),
        (
            "kumo.on('init', function() kumo.start_http_listener { use_tls = true } end)",
            ["use_tls", "is not implemented in kumo"],
        ),
        ("kumo.on('init', function() error 'no such luck' end)", ["init.lua:", "no such luck"]),
        ("this is not Lua", ["init.lua:"]),
        (
            "kumo.on('init', function() kumo.start_esmtp_listener { listen = '127.0.0.1:0' } end)",
            ["No spools have been defined"],
        ),
    ],
)
def test_a_bad_policy_exits_1_before_any_port_is_bound(
    tmp_path: Path, policy: str, expected: list[str]
) -> None:
    script = tmp_path / "init.lua"
    script.write_text("local kumo = require 'kumo'\n" + policy)
    done = run_kumod("--policy", str(script), cwd=tmp_path)
    assert done.returncode == 1
    for text in expected:
        assert text in done.stderr
    assert "listener on" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        script = tmp_path / "init.lua"
        script.write_text(Kumod(tmp_path, WHOLE.replace("127.0.0.1:0", address)).script.read_text())
        done = run_kumod("--policy", str(script), cwd=tmp_path)
    assert done.returncode == 1
    assert f"failed to bind to {address}" in done.stderr


def test_a_missing_policy_is_named(tmp_path: Path) -> None:
    done = run_kumod("--policy", "nowhere.lua", cwd=tmp_path)
    assert done.returncode == 1
    assert "nowhere.lua" in done.stderr


def test_wrong_usage_exits_2(tmp_path: Path) -> None:
    assert run_kumod("--no-such-flag", cwd=tmp_path).returncode == 2


def test_strangers_are_not_relayed(tmp_path: Path) -> None:
    policy = WHOLE.replace("hostname = 'mx.test'", "hostname = 'mx.test', relay_hosts = {}")
    with Kumod(tmp_path, policy) as daemon, daemon.client() as client:
        client.ehlo()
        client.mail("a@example.com")
        code, text = client.rcpt("b@example.org")
        assert code == 550
        assert text.startswith(b"5.7.1 relaying not permitted for 127.0.0.1:")


def test_a_failing_handler_ends_its_own_session_only(tmp_path: Path) -> None:
    policy = WHOLE + (
        "kumo.on('smtp_server_mail_from', function(sender)\n"
        "  if sender.user == 'bad' then error 'secret detail' end\n"
        "  while sender.user == 'loop' do end\n"
        "end)"
    )
    with Kumod(tmp_path, policy) as daemon, daemon.client() as good:
        good.ehlo()
        for user in ("bad", "loop"):
            with daemon.client() as bad:
                bad.ehlo()
                with pytest.raises(smtplib.SMTPSenderRefused) as refused:
                    bad.sendmail(f"{user}@example.com", ["b@example.org"], b"x\r\n")
                assert refused.value.smtp_code == 421
                assert refused.value.smtp_error == b"4.3.0 mx.test technical difficulties"
        assert good.noop()[0] == 250
        good.close()
        assert daemon.stop() == 0
        log = "".join(daemon.lines)
        assert "secret detail" in log
        assert "smtp_server_mail_from" in log
