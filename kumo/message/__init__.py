"""Messages, their header and trace fields, and queue names."""

from kumo.message.address_header import AddressHeader, Mailbox, MailboxGroup, address_header
from kumo.message.connection import Connection, print_socket_address
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
    x_headers,
)
from kumo.message.message import ContentNotResident, Message
from kumo.message.queue_name import NULL_QUEUE, QueueName, queue_name
from kumo.message.spool_id import SpoolIdSource, created_at, created_ticks, is_spool_id
from kumo.message.trace import received_date, received_field, received_protocol, supplemental_field

__all__ = [
    "NULL_QUEUE",
    "AddressHeader",
    "Connection",
    "ContentNotResident",
    "HeaderField",
    "Mailbox",
    "MailboxGroup",
    "Message",
    "QueueName",
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
    "prepend_field",
    "print_socket_address",
    "queue_name",
    "received_date",
    "received_field",
    "received_protocol",
    "remove_named",
    "remove_x",
    "supplemental_field",
    "x_headers",
]
