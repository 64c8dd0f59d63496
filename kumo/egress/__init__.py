"""Delivery: one attempt at one message, whose outcome is a value."""

from kumo.egress.disposition import Disposition
from kumo.egress.maildir import MaildirDeliverer

__all__ = ["Disposition", "MaildirDeliverer"]
