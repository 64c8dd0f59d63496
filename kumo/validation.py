"""``kumod --validate``: reads a policy as the daemon would, and reports everything that is wrong with it.

Nothing is bound, locked, created or written. Keys are loaded and tried, which may ask Vault. What the
policy itself prints goes to standard error, so that standard output has the report and nothing else.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import ipaddress
import json
import os
import sys
from collections.abc import Awaitable, Iterator
from pathlib import Path

from kumo.config import EsmtpListener, HttpListener, KeySource, parse_socket_address
from kumo.keys import KeySources
from kumo.listener import own_hostname, possible_parameters, tls_identity
from kumo.policy import Declarations, Finding, Findings, PolicyEngine, Severity, declaration_problems
from kumo.tls import check_identity, identity_key

_STDOUT, _STDERR = 1, 2

_SPOOL = "kumo.define_spool"
_LISTENER = "kumo.start_esmtp_listener"
_HTTP_LISTENER = "kumo.start_http_listener"
_KEY_PARAMETERS = ("tls_certificate", "tls_private_key", "tls_required_client_ca")


class ReportFormat(enum.Enum):
    """How a report is printed."""

    TEXT = "text"
    JSON = "json"


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """What was found.

    Args:
        findings: by file and line.
    """

    findings: tuple[Finding, ...]

    @property
    def is_valid(self) -> bool:
        """Whether a daemon would serve with this policy; warnings do not count."""
        return all(found.severity is not Severity.ERROR for found in self.findings)

    def as_text(self) -> str:
        """One line for each finding, then a line with the verdict."""
        errors = sum(found.severity is Severity.ERROR for found in self.findings)
        warnings = len(self.findings) - errors
        verdict = _count(errors, "problem") if errors else "policy is valid"
        if warnings:
            verdict = f"{verdict}, {_count(warnings, 'warning')}"
        return "\n".join([*map(_line, self.findings), verdict])

    def as_json(self) -> str:
        """One JSON object on one line, for programs; its ``problems`` have the fields of ``Finding``."""
        problems = [dataclasses.asdict(found) | {"severity": found.severity.value} for found in self.findings]
        return json.dumps({"valid": self.is_valid, "problems": problems})


def print_report(report: Report, form: ReportFormat) -> int:
    """Print a report on standard output.

    Returns:
        The exit code: 0 for a valid policy, else 1.
    """
    print(report.as_json() if form is ReportFormat.JSON else report.as_text())  # noqa: T201 - the output
    return 0 if report.is_valid else 1


async def validate(policy: str) -> Report:
    """Validate a policy.

    Args:
        policy: path of the script.
    """
    if _is_missing(policy):
        findings = Findings()
        findings.add(f"no policy at {policy}", hint="name one with --policy FILE")
        return Report(tuple(findings.sorted()))
    with _output_goes_to_stderr():
        findings = await _examine(policy)
    return Report(tuple(findings.sorted()))


def _is_missing(policy: str) -> bool:
    return not Path(policy).is_file()


async def _examine(policy: str) -> Findings:
    def load_key(source: KeySource) -> Awaitable[bytes]:
        return keys.load(source)

    engine = PolicyEngine(load_key=load_key)
    keys = KeySources(engine.call)
    try:
        engine.load(policy, validating=True)
        findings = await engine.validate()
        declarations = engine.declarations
        _check_spools(declarations, findings)
        _check_addresses(declarations, findings)
        for listener in declarations.listeners:
            await _check_keys(listener, declarations.places.get(id(listener)), keys, findings)
    finally:
        await keys.close()
    return findings


def _check_spools(declarations: Declarations, findings: Findings) -> None:
    # Where declaring ended early, or failed, what is missing is no second mistake.
    if findings.is_partial or any(found.constructor == _SPOOL for found in findings.sorted()):
        return
    for problem in declaration_problems(declarations):
        findings.add(problem, constructor=_SPOOL)


def _check_addresses(declarations: Declarations, findings: Findings) -> None:
    """Two listeners cannot have one address; an address of all interfaces has those of its family."""
    taken: list[tuple[str, int, str, str | None]] = []
    listeners: list[tuple[str, EsmtpListener | HttpListener]] = [
        *((_LISTENER, listener) for listener in declarations.listeners),
        *((_HTTP_LISTENER, listener) for listener in declarations.http_listeners),
    ]
    # Where an address cannot be read the default stands in for it, which nobody asked for.
    misread = [
        declarations.places.get(id(listener))
        for constructor, listener in listeners
        if findings.has(declarations.places.get(id(listener)), constructor, "listen")
    ]
    for constructor, listener in listeners:
        host, port = _endpoint(listener.listen)
        place = declarations.places.get(id(listener))
        if place in misread:
            continue
        for other_host, other_port, other_listen, other_place in taken:
            if port == other_port != 0 and _overlap(host, other_host):
                where = f" at {other_place}" if other_place else ""
                findings.add(
                    f"{listener.listen} is taken already by the listener on {other_listen}{where}",
                    place=place,
                    constructor=constructor,
                    key="listen",
                )
                break
        taken.append((host, port, listener.listen, place))


def _endpoint(listen: str) -> tuple[str, int]:
    host, port = parse_socket_address(listen)
    if host == "0":
        host = "0.0.0.0"
    try:
        return str(ipaddress.ip_address(host)), port
    except ValueError:
        return host.casefold(), port


def _overlap(one: str, other: str) -> bool:
    if one == other:
        return True
    try:
        first, second = ipaddress.ip_address(one), ipaddress.ip_address(other)
    except ValueError:
        return False
    return first.version == second.version and (first.is_unspecified or second.is_unspecified)


async def _check_keys(
    listener: EsmtpListener, place: str | None, keys: KeySources, findings: Findings
) -> None:
    """Load and try the keys that connections of a listener may be shown, those of its blocks as well."""
    # Where a source could not be read its place is empty, which is no second mistake.
    if any(findings.has(place, _LISTENER, name) for name in _KEY_PARAMETERS):
        return
    identities = {}
    for effective in possible_parameters(listener):
        identity = tls_identity(effective, own_hostname())
        identities[identity_key(identity)] = identity
    for identity in identities.values():
        for problem in await check_identity(keys.load, identity):
            findings.add(f"TLS: {problem}", place=place, constructor=_LISTENER)


def _count(number: int, noun: str) -> str:
    return f"1 {noun}" if number == 1 else f"{number} {noun}s"


def _line(found: Finding) -> str:
    parts = []
    if found.source is not None:
        parts.append(found.source if found.line is None else f"{found.source}:{found.line}")
    if found.severity is Severity.WARNING:
        parts.append("warning")
    if found.constructor is not None:
        parts.append(found.constructor)
    if found.key is not None and f"`{found.key}`" not in found.message:
        parts.append(f"`{found.key}`")
    hint = f" ({found.hint})" if found.hint else ""
    return f"{': '.join([*parts, found.message])}{hint}"


@contextlib.contextmanager
def _output_goes_to_stderr() -> Iterator[None]:
    """Lua, and programs that a policy starts, write to the process's descriptors, not to ``sys.stdout``."""
    sys.stdout.flush()
    kept = os.dup(_STDOUT)
    try:
        os.dup2(_STDERR, _STDOUT)
        yield
    finally:
        os.dup2(kept, _STDOUT)
        os.close(kept)
