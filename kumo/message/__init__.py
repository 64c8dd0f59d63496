"""Messages, their header and trace fields, and queue names."""

from kumo.message.address_header import AddressHeader, Mailbox, MailboxGroup, address_header
from kumo.message.auth_info import Authenticated, AuthInfo, Identity
from kumo.message.connection import Connection, print_socket_address
from kumo.message.delivery_status import parse_delivery_status
from kumo.message.feedback_report import parse_feedback_report
from kumo.message.headers import (
    HeaderField,
    all_headers,
    all_values,
    append_field,
    field_values,
    first_field,
    first_value,
    header_fields,
    header_section_end,
    named_fields,
    prepend_field,
    remove_named,
    remove_x,
    wanted_names,
    x_headers,
)
from kumo.message.message import ContentNotResident, Message
from kumo.message.queue_name import DEFERRED_INJECTION_QUEUE, NULL_QUEUE, QueueName, queue_name
from kumo.message.reports import DeliveryStatus, FeedbackReport, MtaName, RecipientStatus
from kumo.message.spool_id import CLOCK_SEQUENCE_BITS, SpoolIdSource, created_at, created_ticks, is_spool_id
from kumo.message.trace import (
    print_recipients,
    received_date,
    received_field,
    received_protocol,
    supplemental_field,
)

__all__ = [
    "CLOCK_SEQUENCE_BITS",
    "DEFERRED_INJECTION_QUEUE",
    "NULL_QUEUE",
    "AddressHeader",
    "AuthInfo",
    "Authenticated",
    "Connection",
    "ContentNotResident",
    "DeliveryStatus",
    "FeedbackReport",
    "HeaderField",
    "Identity",
    "Mailbox",
    "MailboxGroup",
    "Message",
    "MtaName",
    "QueueName",
    "RecipientStatus",
    "SpoolIdSource",
    "address_header",
    "all_headers",
    "all_values",
    "append_field",
    "created_at",
    "created_ticks",
    "field_values",
    "first_field",
    "first_value",
    "header_fields",
    "header_section_end",
    "is_spool_id",
    "named_fields",
    "parse_delivery_status",
    "parse_feedback_report",
    "prepend_field",
    "print_recipients",
    "print_socket_address",
    "queue_name",
    "received_date",
    "received_field",
    "received_protocol",
    "remove_named",
    "remove_x",
    "supplemental_field",
    "wanted_names",
    "x_headers",
]
