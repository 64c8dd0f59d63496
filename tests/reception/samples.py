"""What comes after DATA: a mail, a notification, a complaint."""

from __future__ import annotations

MAIL = b"Subject: x\r\n\r\nhello\r\n.\r\n"

DSN = (
    b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n"
    b"--b\r\n\r\nYour mail was not delivered.\r\n"
    b"--b\r\nContent-Type: message/delivery-status\r\n\r\n"
    b"Reporting-MTA: dns; mx.example.org\r\n\r\n"
    b"Final-Recipient: rfc822; gone@example.org\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n"
    b"--b--\r\n.\r\n"
)

ARF = (
    b"Content-Type: multipart/report; report-type=feedback-report; boundary=b\r\n\r\n"
    b"--b\r\n\r\nA complaint.\r\n"
    b"--b\r\nContent-Type: message/feedback-report\r\n\r\n"
    b"Feedback-Type: abuse\r\nUser-Agent: kit/1\r\nVersion: 1\r\n\r\n"
    b"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: spam\r\n\r\nbuy\r\n"
    b"--b--\r\n.\r\n"
)
