"""Reports as providers send them, and the parts they are made of."""

from __future__ import annotations

BOUNDARY = "=_b"

TOP = "multipart/report; report-type={report_type}; boundary={boundary}"
HUMAN = b"Content-Type: text/plain\r\n\r\nFor humans.\r\n"
ORIGINAL = (
    b"Content-Type: message/rfc822\r\n\r\n"
    b"Received: from mx.example.net\r\n"
    b"X-Mailer: eyes\r\n"
    b"X-KumoRef: eyJfQF8iOiJcXF8vIiwicmVjaXBpZW50IjoidGVzdEBleGFtcGxlLmNvbSJ9\r\n"
    b"Subject: Earn money\r\n"
    b"\r\n"
    b"Spam\r\n"
)
FEEDBACK = {"Feedback-Type": "abuse", "User-Agent": "Generator/1.0", "Version": "1"}
MESSAGE_STATUS = {"Reporting-MTA": "dns; mx.example.com"}
RECIPIENT_STATUS = {
    "Final-Recipient": "rfc822; user@example.com",
    "Action": "failed",
    "Status": "5.1.1",
}


def fields(*pairs: tuple[str, str]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in pairs).encode()


def part(name: str, body: bytes) -> bytes:
    return f"Content-Type: {name}\r\n\r\n".encode() + body


def report(*parts: bytes, report_type: str = "feedback-report", top: str = TOP) -> bytes:
    """A whole message of these parts; each is ended by the CRLF it has, or by none."""
    mark = f"--{BOUNDARY}".encode()
    head = f"Subject: report\r\nContent-Type: {top}\r\n\r\n".format(
        report_type=report_type, boundary=BOUNDARY
    )
    return head.encode() + b"".join(mark + b"\r\n" + each for each in parts) + mark + b"--\r\n"


def feedback(body: bytes, original: bytes = ORIGINAL) -> bytes:
    return report(HUMAN, part("message/feedback-report", body), original)


def delivery_status(body: bytes) -> bytes:
    return report(HUMAN, part("message/delivery-status", body), ORIGINAL, report_type="delivery-status")


YAHOO = b"""\
Received: from feedback.arf.mail.example by mx.example.org; Mon, 23 Nov 2026 06:47:58 +0000\r
From: Complaints <feedback@arf.mail.example>\r
To: fbl@example.org\r
Subject: FW: Weekly offers\r
MIME-Version: 1.0\r
Content-Type: multipart/report; boundary="----=_Part_4407_1262346.1795416478250";\r
 report-type=feedback-report\r
\r
------=_Part_4407_1262346.1795416478250\r
Content-Type: text/plain; charset=us-ascii\r
Content-Transfer-Encoding: 7bit\r
Content-Disposition: inline\r
\r
This is an email abuse report for an email message from example.org.\r
\r
------=_Part_4407_1262346.1795416478250\r
Content-Type: message/feedback-report\r
Content-Transfer-Encoding: 7bit\r
Content-Disposition: inline\r
\r
Feedback-Type: abuse\r
User-Agent: Mail-Feedback/2.0\r
Version: 0.1\r
Original-Mail-From: <bounce-7@example.org>\r
Original-Rcpt-To: someone@mail.example\r
Received-Date: Sun, 22 Nov 2026 22:47:57 PST\r
Reported-Domain: example.org\r
Authentication-Results: mta1001.mail.example from=example.org; domainkeys=neutral (no sig);\r
\t  from=example.org; dkim=pass (ok)\r
\r
\r
------=_Part_4407_1262346.1795416478250\r
Content-Type: message/rfc822\r
Content-Disposition: inline\r
\r
X-Apparently-To: someone@mail.example; Sun, 22 Nov 2026 22:47:57 -0800\r
Return-Path: <bounce-7@example.org>\r
X-YMailISG: eyJhIjoxfQ==\r
X-KumoRef: eyJfQF8iOiJcXF8vIiwiY2FtcGFpZ24iOiJ3ZWVrbHktb2ZmZXJzLTQ3Iiwi\r
\tcmVjaXBpZW50Ijoic29tZW9uZUBtYWlsLmV4YW1wbGUiLCJ0ZW5hbnQiOiJhY21lIn0=\r
Subject: Weekly offers\r
\r
Hello\r
------=_Part_4407_1262346.1795416478250--\r
"""

HOTMAIL = b"""\
Content-Type: Multipart/Report; Report-Type="Feedback-Report";\r
\tboundary="_4c7a_"; charset="us-ascii"\r
From: <staff@mail.example>\r
\r
This is a multi-part message in MIME format.\r
\r
--_4c7a_\r
Content-Type: Message/Feedback-Report\r
\r
Feedback-Type:abuse\r
User-Agent:JMRP/1.0\r
Version:1\r
Arrival-Date:23 Nov 26 06:47 GMT\r
Source-IP:192.0.2.1\r
Incidents:2\r
Removal-Recipient:user@example.com\r
Reporting-MTA:dns;mail.example\r
Reported-URI:http://example.net/earn_money.html\r
Reported-URI:mailto:user@example.com\r
\r
--_4c7a_\r
Content-Type: Text/RFC822-Headers\r
\r
From: a@example.org\r
Subject: hi\r
\r
--_4c7a_--\r
"""

POSTFIX = b"""\
Return-Path: <>\r
From: MAILER-DAEMON@mx.example.com (Mail Delivery System)\r
Subject: Undelivered Mail Returned to Sender\r
Auto-Submitted: auto-replied\r
MIME-Version: 1.0\r
Content-Type: multipart/report; report-type=delivery-status;\r
\tboundary="4B2C81F.1795416477/mx.example.com"\r
\r
This is a MIME-encapsulated message.\r
\r
--4B2C81F.1795416477/mx.example.com\r
Content-Description: Notification\r
Content-Type: text/plain; charset=us-ascii\r
\r
This is the mail system at host mx.example.com.\r
\r
--4B2C81F.1795416477/mx.example.com\r
Content-Description: Delivery report\r
Content-Type: message/delivery-status\r
\r
Reporting-MTA: dns; mx.example.com\r
X-Postfix-Queue-ID: 4B2C81F\r
X-Postfix-Sender: rfc822; sender@example.org\r
Arrival-Date: Mon, 23 Nov 2026 06:47:57 +0000 (UTC)\r
\r
Final-Recipient: rfc822; nobody@example.net\r
Original-Recipient: rfc822;Nobody@example.net\r
Action: failed\r
Status: 5.1.1\r
Remote-MTA: dns; mail.example.net\r
Diagnostic-Code: smtp; 550 5.1.1 <nobody@example.net>: Recipient address\r
    rejected: User unknown\r
\r
Final-Recipient: rfc822; slow@example.net\r
Action: delayed\r
Status: 4.4.1\r
Diagnostic-Code: X-Postfix; connect to mail.example.net[192.0.2.7]:25: Connection timed out\r
Will-Retry-Until: Sat, 28 Nov 2026 06:47:57 +0000 (UTC)\r
\r
--4B2C81F.1795416477/mx.example.com\r
Content-Description: Undelivered Message\r
Content-Type: message/rfc822\r
\r
Subject: hi\r
\r
Hello\r
\r
--4B2C81F.1795416477/mx.example.com--\r
"""

EXCHANGE = b"""\
From: postmaster@corp.example\r
MIME-Version: 1.0\r
Content-Type: multipart/report; report-type=delivery-status;\r
\tboundary="f9a0b4f6-1c1d-4f5b-9d6f-8f1f3d1c2b7e"\r
\r
--f9a0b4f6-1c1d-4f5b-9d6f-8f1f3d1c2b7e\r
Content-Type: multipart/alternative; differences=Content-Type;\r
\tboundary="f9a0b4f6-1c1d-4f5b-9d6f-8f1f3d1c2b7e-alt"\r
\r
--f9a0b4f6-1c1d-4f5b-9d6f-8f1f3d1c2b7e-alt\r
Content-Type: text/plain; charset="us-ascii"\r
\r
Delivery has failed.\r
\r
--f9a0b4f6-1c1d-4f5b-9d6f-8f1f3d1c2b7e-alt\r
Content-Type: message/delivery-status\r
\r
Reporting-MTA: dns; a decoy, one level too deep\r
\r
--f9a0b4f6-1c1d-4f5b-9d6f-8f1f3d1c2b7e-alt--\r
\r
--f9a0b4f6-1c1d-4f5b-9d6f-8f1f3d1c2b7e\r
Content-Type: message/delivery-status\r
\r
Reporting-MTA: dns;EX01.corp.example\r
Received-From-MTA: dns;mx.example.org\r
Arrival-Date: Mon, 23 Nov 2026 06:47:57 +0000\r
\r
Original-Recipient: rfc822;gone@corp.example\r
Final-Recipient: RFC822;gone@corp.example\r
Action: Failed\r
Status: 5.1.10\r
Diagnostic-Code: SMTP;550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found\r
Last-Attempt-Date: Mon, 23 Nov 2026 06:48:01 +0000\r
X-Display-Name: Gone\r
\r
\r
--f9a0b4f6-1c1d-4f5b-9d6f-8f1f3d1c2b7e\r
Content-Type: message/rfc822\r
\r
Subject: hi\r
\r
--f9a0b4f6-1c1d-4f5b-9d6f-8f1f3d1c2b7e--\r
"""
