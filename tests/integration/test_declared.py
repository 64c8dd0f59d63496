"""What clients declare with MAIL and RCPT stays with the message, and their octets stay as they are."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kumo.spool import FileOperations
from kumo.spool.journal_replay import read_envelopes

from .daemon import Kumod
from .wire import Peer

KEYS = ("mail_body", "mail_smtputf8", "dsn_ret", "dsn_envid", "dsn_rcpt")

POLICY = """
kumo.on('init', function()
  spools(false)
  kumo.configure_local_logs {
    log_dir = var .. '/log', min_free_space = '0%', min_free_inodes = '0%',
    meta = { 'mail_body', 'mail_smtputf8', 'dsn_*', 'seen' },
  }
  kumo.start_esmtp_listener {
    listen = '127.0.0.1:0', hostname = 'mx.test', max_message_size = 100000,
    trace_headers = { received_header = false, supplemental_header = false },
  }
end)
kumo.on('smtp_server_message_received', function(msg)
  local declared = msg:get_meta 'dsn_rcpt'
  local own = declared and declared[tostring(msg:recipient())]
  msg:set_meta('seen', own and own.notify)
end)
"""
DELIVER = "maildir()\n"

CASES: list[tuple[list[bytes], list[dict[str, Any]]]] = [
    ([b"MAIL FROM:<a@example.com>", b"RCPT TO:<b@example.org>"], [{}]),
    (
        [
            b"MAIL FROM:<a@example.com> BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=QQ314159 SIZE=500",
            b"RCPT TO:<b@example.org> NOTIFY=SUCCESS,delay ORCPT=rfc822;Bob+2Bx@example.org",
            b"RCPT TO:<c@example.org>",
            b"RCPT TO:<d@example.org> notify=never",
        ],
        [
            {
                "dsn_rcpt": {
                    "b@example.org": {"notify": "SUCCESS,DELAY", "orcpt": "rfc822;Bob+2Bx@example.org"}
                }
            },
            {},
            {"dsn_rcpt": {"d@example.org": {"notify": "NEVER"}}},
        ],
    ),
    ([b"MAIL FROM:<> body=7bit RET=full", b"RCPT TO:<b@example.org> XUNKNOWN=1 YET"], [{}]),
    (
        [
            "MAIL FROM:<jörg@bücher.example> SMTPUTF8".encode(),
            "RCPT TO:<δοκιμή@παράδειγμα.example> ORCPT=utf-8;δοκιμή@παράδειγμα.example".encode(),
        ],
        [
            {
                "dsn_rcpt": {
                    "δοκιμή@xn--hxajbheg2az3al.example": {"orcpt": "utf-8;δοκιμή@παράδειγμα.example"}
                }
            }
        ],
    ),
]  # fmt: skip
COMMON: list[dict[str, Any]] = [
    {},
    {"mail_body": "8BITMIME", "mail_smtputf8": True, "dsn_ret": "HDRS", "dsn_envid": "QQ314159"},
    {"mail_body": "7BIT", "dsn_ret": "FULL"},
    {"mail_smtputf8": True},
]


def stored_meta(folder: Path, spool_id: str) -> dict[str, Any]:
    """What was declared, as the meta spool has it."""
    levels = (spool_id[start : start + 2] for start in (0, 2, 4, 6))
    store = folder / "spool" / "meta"
    path = (store / "data").joinpath(*levels, spool_id[8:])
    journaled = read_envelopes(str(store / "journal"), FileOperations())
    meta: dict[str, Any] = json.loads(journaled.get(spool_id) or path.read_bytes())["meta"]
    return {key: meta[key] for key in KEYS if key in meta}


def offer(daemon: Kumod, commands: list[bytes], content: bytes) -> list[str]:
    """Ids of the messages of one transaction."""
    with Peer(daemon.port) as peer:
        peer.greet()
        answers = peer.ask(*commands, b"DATA")
        assert [answer.code for answer in answers] == [250] * len(commands) + [354]
        peer.send(content + b".\r\n")
        return peer.reply().text.removeprefix("OK ids=").split()


def test_declarations_survive_a_kill_and_are_logged(tmp_path: Path) -> None:
    """In the spool's meta, in the records, and for policy; of each recipient only its own."""
    with Kumod(tmp_path, POLICY) as daemon:
        expected: dict[str, dict[str, Any]] = {}
        for (commands, own), common in zip(CASES, COMMON, strict=True):
            ids = offer(daemon, commands, b"Subject: x\r\n\r\n")
            expected |= {spool_id: common | each for spool_id, each in zip(ids, own, strict=True)}
        daemon.kill()
        assert {spool_id: stored_meta(tmp_path, spool_id) for spool_id in expected} == expected
        daemon.script.write_text(daemon.script.read_text() + DELIVER)
        daemon.start()
        daemon.wait_until(lambda: len(list(daemon.delivered())) == len(expected))
        assert daemon.stop() == 0
        records = [record for record in daemon.records() if record["type"] == "Delivery"]
        seen = {record["id"]: record["meta"].pop("seen", None) for record in records}
        assert {record["id"]: record["meta"] for record in records} == expected
        assert sorted(filter(None, seen.values())) == ["NEVER", "SUCCESS,DELAY"]


EVERY_OCTET = bytes(octet for octet in range(256) if octet not in b"\r\n")
CONTENTS = {
    "every octet": b"Subject: x\r\n\r\n" + EVERY_OCTET + b"\r\n",
    "UTF-8 in header and body": "Subject: größe ✓\r\n\r\n日本語\r\n".encode(),
    "Latin-1 in a header": "Subject: größe\r\n\r\nbody\r\n".encode("latin-1"),
    "cut UTF-8": b"Subject: \xe2\x9c\r\n\r\n\xf0\x9f\r\n",
}


DECLARATIONS = ("", " BODY=7BIT", " BODY=8BITMIME", " BODY=8BITMIME SMTPUTF8")


def test_octets_go_through_whatever_was_declared(tmp_path: Path) -> None:
    with Kumod(tmp_path, POLICY + DELIVER) as daemon:
        sent: dict[str, bytes] = {}
        for parameters, content in itertools.product(DECLARATIONS, CONTENTS.values()):
            user = f"größe.{len(sent)}"
            commands = [f"MAIL FROM:<jörg@example.com>{parameters}", f"RCPT TO:<{user}@example.org>"]
            offer(daemon, [command.encode() for command in commands], content)
            sent[user] = content
        daemon.wait_until(lambda: len(list(daemon.delivered())) == len(sent))
        assert {path.parts[-3]: path.read_bytes() for path in daemon.delivered()} == sent


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kumod]:
    with Kumod(tmp_path_factory.mktemp("declared"), POLICY) as daemon:
        yield daemon


@pytest.mark.parametrize(
    ("parameter", "keyword"),
    [
        ("BODY", "BODY"),
        ("BODY=BINARYMIME", "BODY"),
        ("BODY=8BIT", "BODY"),
        ("SMTPUTF8=yes", "SMTPUTF8"),
        ("RET=ALL", "RET"),
        ("RET", "RET"),
        ("ENVID", "ENVID"),
        ("ENVID=a+2", "ENVID"),
        ("ENVID=a+0A", "ENVID"),
        ("ENVID=" + "x" * 101, "ENVID"),
        ("SIZE=", ""),
        ("SIZE=1e3", "SIZE"),
        ("SIZE=" + "9" * 21, "SIZE"),
    ],
)
def test_mail_with_a_bad_value_opens_no_transaction(daemon: Kumod, parameter: str, keyword: str) -> None:
    with Peer(daemon.port) as peer:
        peer.greet()
        answer, then = peer.ask(f"MAIL FROM:<a@example.com> {parameter}".encode(), b"RCPT TO:<b@example.org>")
        assert answer.code == 501
        if keyword:
            assert answer.text == f"5.5.4 Invalid {keyword} parameter"
        assert str(then) == "503 5.5.0 MAIL FROM must be issued first"
        assert peer.ask(b"MAIL FROM:<a@example.com>")[0].code == 250


@pytest.mark.parametrize(
    "parameter",
    [
        "NOTIFY",
        "NOTIFY=MAYBE",
        "NOTIFY=NEVER,SUCCESS",
        "NOTIFY=SUCCESS,",
        "ORCPT",
        "ORCPT=b@example.org",
        "ORCPT=rfc822;",
        "ORCPT=rfc822;b+@example.org",
        "ORCPT=rfc822;" + "x" * 500,
        "NOTIFY=NEVER NOTIFY=NEVER",
    ],
)
def test_rcpt_with_a_bad_value_adds_no_recipient(daemon: Kumod, parameter: str) -> None:
    with Peer(daemon.port) as peer:
        peer.greet()
        answers = peer.ask(
            b"MAIL FROM:<a@example.com>", f"RCPT TO:<b@example.org> {parameter}".encode(), b"DATA"
        )
        word = "Duplicate" if " " in parameter else "Invalid"
        keyword = parameter.partition("=")[0]
        assert str(answers[1]) == f"501 5.5.4 {word} {keyword} parameter"
        assert str(answers[2]) == "503 5.5.0 RCPT TO must be issued first"
