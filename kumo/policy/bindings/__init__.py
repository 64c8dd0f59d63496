"""What Lua's message and connection objects do, as functions of numbers and scalars."""

from kumo.policy.bindings.connection import connection_functions
from kumo.policy.bindings.content import ContentLoader, content_functions
from kumo.policy.bindings.message import make_message_function, message_functions

__all__ = [
    "ContentLoader",
    "connection_functions",
    "content_functions",
    "make_message_function",
    "message_functions",
]
