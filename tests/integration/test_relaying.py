"""Who may relay, as files for ``policy-extras.listener_domains`` say it."""

from __future__ import annotations

import json
import smtplib
from collections.abc import Iterator
from pathlib import Path

import pytest

from .daemon import Kumod
from .wire import Peer, credulous_context

POLICY = """
kumo.on('init', function()
  spools(false)
  logs()
  for _ = 1, 2 do
    kumo.start_esmtp_listener { listen = '127.0.0.1:0', hostname = 'mx.test', relay_hosts = {} }
  end
end)
kumo.on('smtp_server_auth_plain', function(_, _, password) return password == 'secret' end)
kumo.on('smtp_server_ehlo', function(domain)
  if domain == 'bump.test' then kumo.bump_config_epoch() end
end)
local listener_domains = require 'policy-extras.listener_domains'
kumo.on('get_listener_domain', listener_domains:setup { var .. '/first.toml', var .. '/second.json' })
maildir()
"""

TOML = """
["open.test"]
relay_to = true

["*.wild.test"]
relay_to = true

["deep.narrow.wild.test"]
relay_to = false

["from.test"]
relay_from = ['127.0.0.2', '127.0.1.0/24']

["app.test"]
relay_from_authz = ['app', 'other']

["both.test"]
relay_to = false
relay_from = ['127.0.0.2']
"""
JSON = {"both.test": {"relay_to": True}, "json.test": {"relay_to": True}}

REFUSED = "550 5.7.1 relaying not permitted for {source}:{port}"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kumod]:
    folder = tmp_path_factory.mktemp("relaying")
    write_domains(folder)
    with Kumod(folder, POLICY) as daemon:
        yield daemon


def write_domains(folder: Path, more: str = "") -> None:
    (folder / "first.toml").write_text(TOML + more)
    (folder / "second.json").write_text(json.dumps(JSON))


def answers_to(port: int, source: str, sender: bytes, recipient: bytes) -> str:
    """The reply to RCPT, or to the whole message where that was taken."""
    with Peer(port, source=source) as peer:
        peer.greet()
        own_port = peer.socket.getsockname()[1]
        _, answer = peer.ask(b"MAIL FROM:<%s>" % sender, b"RCPT TO:<%s>" % recipient)
        if answer.code != 250:
            assert str(answer) == REFUSED.format(source=source, port=own_port)
            return "refused"
        assert peer.ask(b"RSET")[0].code == 250
        assert peer.offer(b"Subject: x\r\n\r\n", recipient, sender=sender).code == 250
    return "taken"


def delivered_to(daemon: Kumod, address: str) -> int:
    user, _, domain = address.partition("@")
    return len(list((daemon.folder / "maildir" / domain.lower() / user / "new").glob("*")))


@pytest.mark.parametrize(
    ("source", "sender", "recipient", "expected"),
    [
        ("127.0.0.1", "a@x.test", "b@open.test", "taken"),
        ("127.0.0.1", "", "bounces@open.test", "taken"),
        ("127.0.0.1", "a@x.test", "case@OPEN.Test", "taken"),
        ("127.0.0.1", "a@x.test", "b@json.test", "taken"),
        ("127.0.0.1", "a@x.test", "b@elsewhere.test", "refused"),
        ("127.0.0.1", "a@open.test", "b@elsewhere.test", "refused"),
        ("127.0.0.1", "a@x.test", "b@one.wild.test", "taken"),
        ("127.0.0.1", "a@x.test", "b@one.two.wild.test", "taken"),
        ("127.0.0.1", "a@x.test", "b@wild.test", "refused"),
        ("127.0.0.1", "a@x.test", "b@deep.narrow.wild.test", "refused"),
        ("127.0.0.1", "a@from.test", "b@elsewhere.test", "refused"),
        ("127.0.0.2", "a@from.test", "b@first.test", "taken"),
        ("127.0.1.9", "a@from.test", "b@second.test", "taken"),
        ("127.0.0.2", "a@x.test", "b@elsewhere.test", "refused"),
        ("127.0.0.1", "a@x.test", "b@both.test", "taken"),
        ("127.0.0.2", "a@both.test", "b@third.test", "taken"),
        ("127.0.0.1", "a@app.test", "b@elsewhere.test", "refused"),
    ],
)
def test_files_say_who_may_relay(
    daemon: Kumod, source: str, sender: str, recipient: str, expected: str
) -> None:
    """Of two files that name a domain, the later one's keys are added to the earlier one's."""
    assert answers_to(daemon.port, source, sender.encode(), recipient.encode()) == expected
    if expected == "taken":
        daemon.wait_until(lambda: delivered_to(daemon, recipient) == 1)
    assert delivered_to(daemon, recipient) == (expected == "taken")


@pytest.mark.parametrize(
    ("user", "sender", "is_taken"),
    [
        ("app", "a@app.test", True),
        ("other", "a@app.test", True),
        ("third", "a@app.test", False),
        ("app", "a@x.test", False),
        ("app", "", False),
    ],
)
def test_who_authenticated_may_relay_for_its_sender_domain(
    daemon: Kumod, user: str, sender: str, *, is_taken: bool
) -> None:
    recipient = f"b@{user}-{sender.partition('@')[2]}.test"
    with daemon.client() as client:
        client.starttls(context=credulous_context())
        client.login(user, "secret")
        if is_taken:
            client.sendmail(sender, [recipient], b"Subject: x\r\n\r\nbody\r\n")
            daemon.wait_until(lambda: delivered_to(daemon, recipient) == 1)
        else:
            with pytest.raises(smtplib.SMTPRecipientsRefused):
                client.sendmail(sender, [recipient], b"Subject: x\r\n\r\nbody\r\n")
        client.docmd("NOOP")
    assert delivered_to(daemon, recipient) == is_taken
    with daemon.client() as stranger:
        stranger.ehlo()
        stranger.mail(sender)
        assert stranger.rcpt(recipient)[0] == 550


def test_a_changed_file_counts_from_the_next_epoch_on(tmp_path: Path) -> None:
    """The scope of one listener, whose port is known only once it listens, and a domain for all of them."""
    write_domains(tmp_path)
    with Kumod(tmp_path, POLICY) as daemon:
        first, second = daemon.ports
        assert answers_to(first, "127.0.0.1", b"a@x.test", b"b@scoped.test") == "refused"
        scope = f"""
            [listener."127.0.0.1:{second}"."scoped.test"]
            relay_to = true
            [listener."127.0.0.1:{second}"."open.test"]
            relay_to = false
            [listener."*"."every.test"]
            relay_to = true
        """
        write_domains(tmp_path, scope)
        with Peer(first) as open_before:
            open_before.greet()
            assert answers_to(second, "127.0.0.1", b"a@x.test", b"b@scoped.test") == "refused"
            bump(first)

            def is_known() -> bool:
                return answers_to(second, "127.0.0.1", b"a@x.test", b"b@scoped.test") == "taken"

            daemon.wait_until(is_known)
            assert is_known()
            # Another listener's scope, and a session that was there before.
            assert answers_to(first, "127.0.0.1", b"a@x.test", b"b@scoped.test") == "refused"
            assert answers_to(second, "127.0.0.1", b"a@x.test", b"b@open.test") == "refused"
            assert open_before.offer(b"Subject: x\r\n\r\n", b"b@every.test").code == 250


def test_a_file_that_cannot_be_read_any_more_changes_nothing(tmp_path: Path) -> None:
    write_domains(tmp_path)
    with Kumod(tmp_path, POLICY) as daemon:
        (tmp_path / "first.toml").write_text("this is no TOML")
        bump(daemon.port)
        assert "first.toml" in daemon.wait_for_line("listener domains are not read again")
        assert answers_to(daemon.port, "127.0.0.1", b"a@x.test", b"b@open.test") == "taken"
        assert answers_to(daemon.port, "127.0.0.1", b"a@x.test", b"b@elsewhere.test") == "refused"


def bump(port: int) -> None:
    with Peer(port) as peer:
        peer.reply()
        assert peer.ask(b"EHLO bump.test")[0].code == 250
