"""What ``kumod --validate`` finds: collected instead of raised, so that nothing hides what comes after it.

An engine that validates has one ``Findings``; host functions reach it through their context. Printing is
``kumo.validation``'s job.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from kumo.errors import ConfigError, KumoError

_SHORTENED = "..."
_PLACED = re.compile(r"([^\n]*?:[0-9]+): ")


class Severity(enum.Enum):
    """Whether a policy with such a finding is valid."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing to say about a policy.

    Args:
        severity: an error makes the policy invalid.
        message: one line, KumoMTA's words where it has any.
        source: script or data file, without the line.
        line: in that file.
        constructor: dotted Lua name, for example ``kumo.start_esmtp_listener``.
        key: the parameter; dots lead into tables.
        hint: what would have been right.
    """

    severity: Severity
    message: str
    source: str | None = None
    line: int | None = None
    constructor: str | None = None
    key: str | None = None
    hint: str | None = None


class Findings:
    """Findings in the order in which they came, each once.

    Args:
        script: path of the policy; Lua shortens long paths in its messages.
    """

    __slots__ = ("_found", "_script", "is_partial")

    def __init__(self, script: str = "") -> None:
        self._script = script
        self.is_partial = False
        """The script or a handler ended early, so the policy has not said all that it says."""
        self._found: dict[Finding, None] = {}

    def add(
        self,
        message: str,
        *,
        severity: Severity = Severity.ERROR,
        place: str | None = None,
        constructor: str | None = None,
        key: str | None = None,
        hint: str | None = None,
    ) -> None:
        """Note something.

        Args:
            message: of several lines the first one counts; it may begin with its place.
            severity: as for ``Finding``.
            place: ``script.lua:LINE``, or a file alone.
            constructor: as for ``Finding``.
            key: as for ``Finding``.
            hint: as for ``Finding``.
        """
        if place is None and (match := _PLACED.match(message)):
            place, message = match[1], message[match.end() :]
        source, line = self._split(place)
        finding = Finding(
            severity=severity,
            message=message.partition("\n")[0],
            source=source,
            line=line,
            constructor=constructor,
            key=key,
            hint=hint,
        )
        self._found.setdefault(finding)

    def has(self, place: str | None, constructor: str, key: str) -> bool:
        """Whether something has been said of a parameter of the call at a place.

        Args:
            place: as for ``add``.
            constructor: as for ``Finding``.
            key: as for ``Finding``.
        """
        where = (*self._split(place), constructor, key)
        return any((found.source, found.line, found.constructor, found.key) == where for found in self._found)

    def add_error(self, error: KumoError) -> None:
        """Note an error in place of raising it."""
        if isinstance(error, ConfigError):
            self.add(error.detail, place=error.source, constructor=error.constructor, hint=error.hint)
        else:
            self.add(str(error))

    def add_end(self, error: KumoError) -> None:
        """Note what ended the script or a handler."""
        self.is_partial = True
        self.add_error(error)

    def sorted(self) -> list[Finding]:
        """All findings by file and line; those without a place come last."""
        return sorted(
            self._found, key=lambda found: (found.source is None, found.source or "", found.line or 0)
        )

    def _split(self, place: str | None) -> tuple[str | None, int | None]:
        if place is None:
            return None, None
        source, colon, line = place.rpartition(":")
        if not (colon and line.isdigit()):
            return place, None
        if source.startswith(_SHORTENED) and self._script.endswith(source.removeprefix(_SHORTENED)):
            source = self._script
        return source, int(line)
