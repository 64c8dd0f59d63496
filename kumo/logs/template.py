"""Record templates: Jinja in place of the JSON line.

Upstream renders with MiniJinja, so values are printed in its way. Templates come from the policy and
are trusted; the sandbox keeps them from changing what they are shown. Called by
``kumo.logs.local_logger``.
"""

from __future__ import annotations

import json
from typing import Any

from jinja2.sandbox import ImmutableSandboxedEnvironment

from kumo.logs.record import LogRecord, record_fields


class RecordTemplate:
    """One compiled template.

    Args:
        source: Jinja text; a record's keys are variables, ``log_record`` is the whole of it.

    Raises:
        jinja2.TemplateSyntaxError: the text is no template.
    """

    __slots__ = ("_template",)

    def __init__(self, source: str) -> None:
        self._template = _ENVIRONMENT.from_string(source)

    def render(self, record: LogRecord) -> bytes:
        """Render one record.

        Returns:
            UTF-8 that ends in LF; one is added when the template gives none.

        Raises:
            Exception: whatever an expression of the template raises.
        """
        fields = record_fields(record)
        text = self._template.render(fields, log_record=fields)
        if not text.endswith("\n"):
            text += "\n"
        return text.encode("utf-8", "replace")


def _print_value(value: Any) -> Any:
    """Print what MiniJinja spells otherwise than Python; Jinja prints the rest."""
    if value is None or value is True or value is False:
        return _CONSTANTS[value]
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_print_nested(k)}: {_print_nested(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_print_nested, value)) + "]"
    return value


def _print_nested(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else str(_print_value(value))


_CONSTANTS = {None: "none", True: "true", False: "false"}
_ENVIRONMENT = ImmutableSandboxedEnvironment(autoescape=False, finalize=_print_value)
_ENVIRONMENT.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "sort_keys": False}
