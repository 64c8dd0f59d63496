"""Templates among the parameters."""

from __future__ import annotations

import subprocess
import sys

import pytest

from kumo.config import MaildirProtocol, RecordParameters

BROKEN = [
    ("{{ foo", "line 1: unexpected end of template, expected 'end of print statement'."),
    ("a\n{% if x %}", "line 2: Unexpected end of template."),
    ("{{ x | nope }}", "line 1: No filter named 'nope'."),
    ("\n\n{{ x is nope }}", "line 3: No test named 'nope'."),
]


@pytest.mark.parametrize(("text", "reason"), BROKEN)
def test_a_broken_template_is_refused_when_the_parameter_is_made(text: str, reason: str) -> None:
    with pytest.raises(ValueError) as caught:
        MaildirProtocol(maildir_path=text)
    assert str(caught.value).startswith(f"`maildir_path` is no template: {reason}")
    with pytest.raises(ValueError) as caught:
        RecordParameters(template=text)
    assert str(caught.value).startswith(f"`template` is no template: {reason}")


@pytest.mark.parametrize("text", ["", "/m", "/m/{{ domain_part }}", "{{ meta.x | default('y') }}", "{# c #}"])
def test_other_text_is_a_template(text: str) -> None:
    assert MaildirProtocol(maildir_path=text).maildir_path == text
    assert RecordParameters(template=text).template == text


def test_a_record_needs_no_template() -> None:
    assert RecordParameters().template is None


def test_a_daemon_without_templates_does_not_load_them() -> None:
    program = "import sys, kumo.server; print('jinja2' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout == "False\n"
