"""Templates among the parameters."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kumo.config import MaildirProtocol, RecordParameters

ROOT = Path(__file__).resolve().parents[2]

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


@pytest.mark.parametrize(
    ("policy", "is_loaded"), [("", False), ("kumo.on('get_queue_config', function() end)", True)]
)
def test_templates_are_loaded_at_the_start_or_not_at_all(
    tmp_path: Path, policy: str, is_loaded: bool
) -> None:
    """They take memory, and their files cannot be opened once descriptors have run out."""
    (tmp_path / "init.lua").write_text(f"local kumo = require 'kumo'\n{policy}")
    # It declares no spool, which is said once the policy has been read.
    program = """if True:
        import asyncio, contextlib, sys, kumo.errors, kumo.policy, kumo.server
        with contextlib.suppress(kumo.errors.KumoError):
            asyncio.run(kumo.server.read_policy(kumo.policy.PolicyEngine(), 'init.lua'))
        print('jinja2' in sys.modules)
    """
    told = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert told.stdout == f"{is_loaded}\n"
