"""Bounces and complaints that come back as mail: what is recorded and relayed, and what hostile ones cost."""

from __future__ import annotations

import base64
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

from .daemon import Kumod
from .wire import Answer, Peer, stuffed

POLICY = """
local domains = {
  ['relay.test'] = { log_oob = 'LogThenRelay', log_arf = 'LogThenRelay' },
  ['drop.test'] = { log_oob = 'LogThenDrop', log_arf = 'LogThenDrop' },
  ['both.test'] = { log_oob = 'LogThenDrop', log_arf = 'LogThenDrop', relay_to = true },
}
kumo.on('init', function()
  spools(false)
  logs()
  kumo.start_esmtp_listener {
    listen = '127.0.0.1:0', hostname = 'mx.test', relay_hosts = {}, max_message_size = 25000000,
  }
end)
kumo.on('get_listener_domain', function(domain)
  local found = domains[domain]
  return found and kumo.make_listener_domain(found)
end)
maildir()
"""

SOURCE = """
kumo.on('init', function()
  spools(false)
  logs()
  kumo.start_esmtp_listener {
    listen = '127.0.0.1:0', hostname = 'source.test',
    trace_headers = { include_meta_names = { 'tenant', 'note' } },
  }
end)
kumo.on('smtp_server_message_received', function(msg)
  msg:set_meta('tenant', 'one')
  msg:set_meta('note', ('0123456789'):rep(70))
end)
maildir()
"""

TOP = "Subject: report\r\nContent-Type: multipart/report; boundary=BB; report-type={}\r\n\r\n"
HUMAN = b"--BB\r\nContent-Type: text/plain\r\n\r\nfor humans\r\n"
ORIGINAL = b"Received: from x\r\nSubject: original\r\n\r\nbody\r\n"
STATUS = """Reporting-MTA: dns; far.example
Arrival-Date: Thu, 8 Mar 2012 14:00:00 +0000

Final-Recipient: rfc822; user@far.example
Original-Recipient: rfc822; alias@far.example
Action: Failed
Status: 5.1.1
Diagnostic-Code: smtp; 551 5.1.1 no such user
Last-Attempt-Date: Thu, 8 Mar 2012 15:00:00 +0000

Final-Recipient: rfc822; slow@far.example
Action: delayed
Status: 4.2.2

Final-Recipient: rfc822; second@far.example
Action: failed
Status: 5.2.2
"""
COMPLAINT = """Feedback-Type: abuse
User-Agent: Complaints/1.0
Version: 1
Original-Mail-From: <a@source.test>
Original-Rcpt-To: <b@far.example>
Source-IP: 192.0.2.1
"""
PLAIN = b"Subject: no report\r\n\r\nbody\r\n"


def crlf(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode()


def bounce(status: str = STATUS) -> bytes:
    part = b"--BB\r\nContent-Type: Message/Delivery-Status\r\n\r\n" + crlf(status)
    return TOP.format("delivery-status").encode() + HUMAN + part + b"--BB--\r\n"


def complaint(original: bytes = ORIGINAL) -> bytes:
    report = b"--BB\r\nContent-Type: message/feedback-report\r\n\r\n" + crlf(COMPLAINT)
    reported = b"--BB\r\nContent-Type: message/rfc822\r\n\r\n" + original
    return TOP.format("Feedback-Report").encode() + HUMAN + report + reported + b"--BB--\r\n"


def offer(daemon: Kumod, content: bytes, *recipients: bytes) -> Answer:
    """From the null reverse-path, as reports come."""
    with Peer(daemon.port) as peer:
        peer.greet()
        return peer.offer(content, *recipients, sender=b"")


def records_of(daemon: Kumod, answer: Answer) -> list[dict[str, Any]]:
    """Of all messages that a 250 names; the daemon has ended."""
    ids = answer.text.removeprefix("OK ids=").split()
    return [record for record in daemon.records() if record["id"] in ids]


def test_each_report_is_recorded_once_and_relayed_where_it_shall(tmp_path: Path) -> None:
    with Kumod(tmp_path, POLICY) as daemon:
        expected = {
            (b"relay.test", "bounce"): ["Reception", "OOB", "OOB", "Delivery"],
            (b"relay.test", "complaint"): ["Feedback", "Delivery"],
            (b"drop.test", "bounce"): ["OOB", "OOB"],
            (b"drop.test", "complaint"): ["Feedback"],
            (b"both.test", "bounce"): ["OOB", "OOB"],
            (b"both.test", "plain"): ["Reception", "Delivery"],
        }
        contents = {"bounce": bounce(), "complaint": complaint(), "plain": PLAIN}
        answers = {(to, what): offer(daemon, contents[what], b"x@" + to) for to, what in expected}
        assert {answer.code for answer in answers.values()} == {250}
        for domain in (b"relay.test", b"drop.test"):
            answer = offer(daemon, PLAIN, b"x@" + domain)
            assert str(answer) == "550 5.7.1 relaying not permitted"
        daemon.wait_until(lambda: len(list(daemon.delivered())) >= 3)
        assert daemon.stop() == 0
        for case, answer in answers.items():
            assert [record["type"] for record in records_of(daemon, answer)] == expected[case], case
        # Mail that is no report was received, then refused.
        counts = Counter(record["type"] for record in daemon.records())
        assert counts == {"Reception": 2 + 2, "OOB": 6, "Feedback": 2, "Delivery": 3, "Rejection": 2}
        assert sorted(path.parts[-4] for path in daemon.delivered()) == [
            "both.test",
            "relay.test",
            "relay.test",
        ]
        assert not [path for path in (tmp_path / "spool").glob("*/data/**/*") if path.is_file()]


def test_what_the_records_tell(tmp_path: Path) -> None:
    with Kumod(tmp_path, POLICY) as daemon:
        bounced = offer(daemon, bounce(), b"x@drop.test")
        complained = offer(daemon, complaint(), b"x@drop.test")
        assert daemon.stop() == 0
        first, second = records_of(daemon, bounced)
        (feedback,) = records_of(daemon, complained)
    assert [(record["recipient"], record["response"]) for record in (first, second)] == [
        (
            "alias@far.example",
            {
                "code": 551,
                "enhanced_code": {"class": 5, "subject": 1, "detail": 1},
                "content": "5.1.1 no such user",
                "command": None,
            },
        ),
        (
            "second@far.example",
            {
                "code": 550,
                "enhanced_code": {"class": 5, "subject": 2, "detail": 2},
                "content": "",
                "command": None,
            },
        ),
    ]
    expected = {
        "type": "OOB",
        "sender": "x@drop.test",
        "queue": "drop.test",
        "size": 0,
        "num_attempts": 0,
        "peer_address": {"name": "far.example", "addr": "127.0.0.1"},
    }
    assert {key: first[key] for key in expected} == expected
    assert first["timestamp"] == 1331218800
    assert "tls_cipher" not in first
    assert first["session_id"] == second["session_id"] != ""
    assert (feedback["recipient"], feedback["sender"], feedback["queue"]) == ("x@drop.test", "", "drop.test")
    assert feedback["feedback_report"] == {
        "feedback_type": "abuse",
        "user_agent": "Complaints/1.0",
        "version": "1",
        "arrival_date": None,
        "incidents": None,
        "original_envelope_id": None,
        "original_mail_from": "a@source.test",
        "reporting_mta": None,
        "source_ip": "192.0.2.1",
        "authentication_results": [],
        "original_rcpto_to": ["b@far.example"],
        "reported_domain": [],
        "reported_uri": [],
        "extensions": {},
        "original_message": ORIGINAL.decode().replace("\r\n", "\n"),
        "supplemental_trace": None,
    }


def test_reports_and_other_mail_in_one_transaction(tmp_path: Path) -> None:
    """One reply for all; each recipient's domain says what becomes of its copy."""
    with Kumod(tmp_path, POLICY) as daemon:
        answer = offer(daemon, bounce(), b"x@relay.test", b"y@drop.test", b"z@both.test")
        assert len(answer.text.removeprefix("OK ids=").split()) == 3
        daemon.wait_until(lambda: any(daemon.delivered()))
        assert daemon.stop() == 0
        counts = Counter((record["type"], record["queue"]) for record in records_of(daemon, answer))
        assert counts == {
            ("Reception", "relay.test"): 1,
            ("OOB", "relay.test"): 2,
            ("Delivery", "relay.test"): 1,
            ("OOB", "drop.test"): 2,
            ("OOB", "both.test"): 2,
        }


def test_the_trace_of_a_delivered_message_is_found_in_a_complaint_about_it(tmp_path: Path) -> None:
    """A header folded over many lines makes the round trip."""
    sent, reported = tmp_path / "source", tmp_path / "sink"
    sent.mkdir()
    reported.mkdir()
    with Kumod(sent, SOURCE) as source:
        with Peer(source.port) as peer:
            peer.greet()
            assert peer.offer(PLAIN, b"b@far.example").code == 250
        source.wait_until(lambda: any(source.delivered()))
        (path,) = source.delivered()
        original = path.read_bytes()
    assert original.startswith(b"X-KumoRef: ")
    field = original[: original.index(b"\r\nReceived:")]
    assert len(field) > 1000
    assert max(map(len, field.split(b"\r\n"))) <= 100
    with Kumod(reported, POLICY) as sink:
        answer = offer(sink, complaint(original), b"fbl@drop.test")
        # Whatever its name: X- is enough.
        renamed = offer(sink, complaint(original.replace(b"X-KumoRef", b"x-else")), b"fbl@drop.test")
        assert sink.stop() == 0
        traces = [
            record["feedback_report"]["supplemental_trace"]
            for about in (answer, renamed)
            for record in records_of(sink, about)
        ]
    assert traces == [{"recipient": "b@far.example", "tenant": "one", "note": "0123456789" * 70}] * 2


MANY_PARTS = b"--BB\r\nContent-Type: text/plain\r\n\r\nx\r\n" * 10_000
STATUS_PART = b"--BB\r\nContent-Type: message/delivery-status\r\n\r\n" + crlf(STATUS)
BOUNCE_TOP = TOP.format("delivery-status").encode()
RECIPIENT = crlf("\nFinal-Recipient: rfc822; u@far.example\nAction: failed\nStatus: 5.1.1\n")
NESTED = b"".join(
    b"Content-Type: multipart/mixed; boundary=B%d\r\n\r\n--B%d\r\n" % (level, level)
    for level in range(10_000)
)
LINE = b"0123456789abcde\r\n"
LARGE = LINE * 1_200_000

HOSTILE: dict[str, tuple[bytes, list[str]]] = {
    "10,000 parts, then the notification": (BOUNCE_TOP + MANY_PARTS + STATUS_PART + b"--BB--\r\n", []),
    "the notification, then 10,000 parts": (
        BOUNCE_TOP + STATUS_PART + MANY_PARTS + b"--BB--\r\n",
        ["OOB", "OOB"],
    ),
    "10,000 levels": (
        b"Content-Type: multipart/report; boundary=B; report-type=delivery-status\r\n\r\n--B\r\n" + NESTED,
        [],
    ),
    "delimiters of an inner part": (BOUNCE_TOP + b"--BBB\r\n" * 3_000_000, []),
    "a header section without end": (
        b"Content-Type: multipart/report; boundary=BB;\r\n" + b" x=y;\r\n" * 2_500_000,
        [],
    ),
    "fields without end": (b"X-Y: z\r\n" * 2_500_000, []),
    "a boundary of 20,000 characters": (
        b"Content-Type: multipart/report;\r\n boundary="
        + b"\r\n ".join([b"B" * 900] * 22)
        + b"\r\n\r\n"
        + b"--B\r\n" * 4_000_000,
        [],
    ),
    "a notification of 20 MB": (
        BOUNCE_TOP + STATUS_PART + b"\r\n" + b"X-Y: z\r\n" * 2_500_000 + b"--BB--\r\n",
        [],
    ),
    "40 parts, then the notification": (BOUNCE_TOP + HUMAN * 40 + STATUS_PART + b"--BB--\r\n", []),
    "300 recipients": (BOUNCE_TOP + STATUS_PART + RECIPIENT * 300 + b"--BB--\r\n", []),
    "30,000 recipients": (BOUNCE_TOP + STATUS_PART + RECIPIENT * 30_000 + b"--BB--\r\n", []),
    "a complaint about 20 MB": (complaint(b"Subject: large\r\n\r\n" + LARGE), ["Feedback"]),
    "20 MB of base64 as header": (
        complaint(b"X-KumoRef: " + b"\r\n\t".join([base64.b64encode(b"x" * 54)] * 250_000) + b"\r\n\r\n"),
        ["Feedback"],
    ),
}


def test_hostile_mime_costs_bounded_work(tmp_path: Path) -> None:
    """Each of twenty recipients asks for a look at the content; another session is answered meanwhile."""
    recipients = [b"u%d@drop.test" % number for number in range(20)]
    with Kumod(tmp_path, POLICY) as daemon:
        process = psutil.Process(daemon.process.pid)
        before = process.cpu_times().user
        answers = {}
        with Peer(daemon.port) as hostile, Peer(daemon.port) as bystander:
            hostile.greet()
            bystander.greet()
            for name, (content, _) in HOSTILE.items():
                hostile.begin(b"", *recipients)
                hostile.send(stuffed(content))
                bystander.pace()
                answers[name] = hostile.reply()
                bystander.pace()
        # Mostly for taking in 140 MB; what is not linear would take minutes of the processor's time.
        assert process.cpu_times().user - before < 10
        assert daemon.stop() == 0
        for name, (_, kinds) in HOSTILE.items():
            if kinds:
                counts = Counter(record["type"] for record in records_of(daemon, answers[name]))
                assert counts == {kind: 20 * kinds.count(kind) for kind in kinds}, name
            else:
                assert str(answers[name]) == "550 5.7.1 relaying not permitted", name
        refused = sum(not kinds for _, kinds in HOSTILE.values())
        totals = Counter(record["type"] for record in daemon.records())
        assert (totals["Reception"], totals["Rejection"]) == (20 * refused, refused)
        assert "Traceback" not in "".join(daemon.lines)
