"""The tree of exceptions; every room raises from here.

::

    KumoError
    ├─ ConfigError            a parameter: names constructor, key, value, what was expected, script line
    ├─ PolicyError            Lua failed; the peer hears 421 4.3.0 and no more, the log has the traceback
    ├─ Rejection              policy's verdict, raised by kumo.reject and kumo.disconnect
    ├─ ProtocolError          abstract; carries the reply as code and text
    │  ├─ LocalProtocolError  our shell misused a session: a bug
    │  └─ RemoteProtocolError the peer's fault; never leaves a session
    ├─ SpoolError
    │  ├─ SpoolFull           no room: ENOSPC, EDQUOT
    │  ├─ SpoolUnhealthy      it takes no writes at present: EIO, EROFS
    │  ├─ SpoolLocked         another process has the spool
    │  └─ CorruptEntry        a stored entry that cannot be read back
    ├─ WorkerFailed           a worker process of --workers cannot be kept running
    ├─ PrivilegeError         --user cannot be done: unknown user, not root, the kernel refuses
    ├─ KeySourceError         key material that cannot be had: file, Vault, event
    ├─ TlsError               key material that cannot be used: malformed, mismatched, expired
    └─ TransportError         connect, TLS, time-out; mapped once, at the socket

Two exceptions stand outside: ``kumo_core.errors.WireSyntaxError`` is a ``ValueError`` (the core
imports the standard library only) which ``kumo.smtp`` turns into a reply, and misuse of an
interface is a ``TypeError`` or ``ValueError`` as everywhere in Python.
"""

from __future__ import annotations

import enum


class KumoError(Exception):
    """Root of all errors that kumo raises on purpose."""


class ConfigError(KumoError):
    """A parameter that cannot be used.

    Args:
        detail: KumoMTA's words for what is wrong, for example
            ``unknown field `x`, expected one of `a`, `b```.
        constructor: the Lua function that was called, for example ``kumo.start_esmtp_listener``.
        source: ``script.lua:LINE`` of the call, where known.
        hint: what would have been right, for example ``did you mean `hostname`?``.
    """

    def __init__(
        self,
        detail: str,
        *,
        constructor: str | None = None,
        source: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.detail = detail
        self.constructor = constructor
        self.source = source
        self.hint = hint
        text = detail
        if hint:
            text = f"{text} ({hint})"
        if constructor:
            text = f"{constructor}: {text}"
        if source:
            text = f"{source}: {text}"
        super().__init__(text)


class PolicyError(KumoError):
    """A Lua handler failed, or answered with something of the wrong type.

    The text names the event, or at start the script line, and carries the Lua traceback; it is for the
    log and the operator, never for a peer.
    """


class DisconnectMode(enum.Enum):
    """What happens to the connection after a policy's rejection; values are KumoMTA's words."""

    FORCE_DISCONNECT = "ForceDisconnect"
    FOLLOW_WITH_421 = "FollowWith421"
    IF_421 = "If421"


class Rejection(KumoError):  # noqa: N818 - a verdict, not a fault
    """Policy's verdict on what the peer asked for.

    Args:
        code: reply code, passed on unchecked.
        text: reply text; a line break makes a multi-line reply.
        mode: what happens to the connection after the reply.
    """

    def __init__(self, code: int, text: str, mode: DisconnectMode = DisconnectMode.IF_421) -> None:
        super().__init__(f"{code} {text}")
        self.code = code
        self.text = text
        self.mode = mode


class ProtocolError(KumoError):
    """Abstract: SMTP was not spoken as the RFC says. Carries the reply for it."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code} {text}")
        self.code = code
        self.text = text


class LocalProtocolError(ProtocolError):
    """Our own shell used a session wrongly; a bug, never a peer's doing."""

    def __init__(self, text: str) -> None:
        super().__init__(421, text)


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol; the session answers with ``code`` and ``text``."""


class SpoolError(KumoError):
    """A message could not be stored or read back."""


class SpoolFull(SpoolError):  # noqa: N818 - a state of the disk, named as such
    """No room is left: ENOSPC or EDQUOT."""


class SpoolUnhealthy(SpoolError):  # noqa: N818 - a state of the spool, named as such
    """The spool accepts no writes at present, for another reason than lack of room."""


class SpoolLocked(SpoolError):  # noqa: N818 - a state of the spool, named as such
    """Another process holds the spool's lock."""


class CorruptEntry(SpoolError):  # noqa: N818 - names what was found
    """A stored entry that is torn, foreign or malformed."""


class TransportError(KumoError):
    """Connecting, TLS or a time limit failed on a socket."""

    @classmethod
    def while_binding(cls, listen: str, error: Exception) -> TransportError:
        """The failure to listen, in KumoMTA's words.

        Args:
            listen: the address as the policy gave it.
            error: what the system, or the reading of the address, said.
        """
        why = str(error)
        if isinstance(error, OSError) and error.strerror:
            why = f"{error.strerror} (os error {error.errno})"
        return cls(f"failed to bind to {listen}: {why}")


class PrivilegeError(KumoError):
    """The process cannot become the user that it was told to run as."""


class WorkerFailed(KumoError):  # noqa: N818 - says what happened
    """A worker process that cannot be started, or ends again and again."""


class KeySourceError(KumoError):
    """Key material that cannot be had. The text names the source and never holds a token or a key."""


class TlsError(KumoError):
    """Key material that makes no TLS context. The text names the source and what is wrong with it."""
