"""Record templates: Jinja in place of the JSON line. Called by ``kumo.logs.local_logger``."""

from __future__ import annotations

from kumo.config import compile_template
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
        self._template = compile_template(source)

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
