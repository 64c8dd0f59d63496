"""Jinja templates among the parameters: checked when a parameter is read, compiled where it is used.

Upstream renders with MiniJinja, so values are printed in its way. Templates come from the policy and
are trusted; the sandbox keeps them from changing what they are shown. What a template is filled with is
the business of the rooms that render it: ``kumo.logs`` and ``kumo.egress``. The parameter dataclasses
that hold one check it. Jinja takes 3.7 MB, so it is loaded with the first template, or ahead of it by who
will not wait for it then.
"""

from __future__ import annotations

import json
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Template
    from jinja2.sandbox import ImmutableSandboxedEnvironment


@lru_cache(maxsize=256)
def check_template(name: str, text: str) -> None:
    """Check that ``text`` is a template.

    Args:
        name: of the parameter, for the error text.
        text: the template.

    Raises:
        ValueError: it is none; says the line of it and what is wrong, an unknown filter included.
    """
    from jinja2 import TemplateSyntaxError  # noqa: PLC0415 - see the module's docstring

    try:
        _environment().compile(text, raw=True)
    except TemplateSyntaxError as error:
        raise ValueError(f"`{name}` is no template: line {error.lineno}: {error.message}") from None


def compile_template(text: str) -> Template:
    """Compile a template.

    Raises:
        jinja2.TemplateSyntaxError: the text is none.
    """
    return _environment().from_string(text)


def template_variables(text: str) -> frozenset[str]:
    """The variables that a template uses without having set them.

    Raises:
        jinja2.TemplateSyntaxError: the text is no template.
    """
    from jinja2 import meta  # noqa: PLC0415 - as above

    return frozenset(meta.find_undeclared_variables(_environment().parse(text)))


def load_templates() -> None:
    """Load what compiles templates, if that has not been done."""
    _environment()


@cache
def _environment() -> ImmutableSandboxedEnvironment:
    from jinja2.sandbox import ImmutableSandboxedEnvironment  # noqa: PLC0415 - as above

    # Paths, and lines of a log, are no HTML.
    environment = ImmutableSandboxedEnvironment(autoescape=False, finalize=_print_value)
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "sort_keys": False}
    return environment


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
