"""Service: what the daemon has to do with whoever started it."""

from kumo.service.activation import InheritedSockets
from kumo.service.notify import ServiceNotifier
from kumo.service.privileges import drop_privileges

__all__ = ["InheritedSockets", "ServiceNotifier", "drop_privileges"]
