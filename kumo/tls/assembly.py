"""From an identity's sources to a context, or to everything that is wrong with them.

Contexts and ``kumod --validate`` share it, so what one refuses the other names.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from kumo.config import KeySource
from kumo.errors import KeySourceError, KumoError, TlsError
from kumo.tls.identity import LoadKey, ServerIdentity, describe_source
from kumo.tls.material import (
    CertifiedKey,
    pair_problems,
    read_certificates,
    read_client_ca,
    read_private_key,
)

T = TypeVar("T")


LOAD_TIMEOUT = 60.0
"""Seconds within which all sources of an identity must have been read; an event's handler may hang."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The octets of an identity's sources; None where there is no source."""

    certificate: bytes | None = field(repr=False)
    private_key: bytes | None = field(repr=False)
    client_ca: bytes | None = field(repr=False)

    def digest(self) -> bytes:
        """Tells whether material has changed, without keeping it."""
        digest = hashlib.sha256()
        for part in (self.certificate, self.private_key, self.client_ca):
            digest.update(b"-" if part is None else b"%d:%b" % (len(part), part))
        return digest.digest()


@dataclass(frozen=True, slots=True)
class Assembly:
    """Material that is ready to be used."""

    certified: CertifiedKey
    client_ca: list[x509.Certificate] | None
    source: str
    """Names the certificate in messages."""


async def load_parts(load: LoadKey, identity: ServerIdentity) -> tuple[Parts, list[KumoError]]:
    """Load every source, whatever becomes of the others; within a time limit for all of them.

    Returns:
        The parts, and the failures; parts that failed are None.
    """
    problems: list[KumoError] = []
    loaded: list[bytes | None] = [None, None, None]
    try:
        async with asyncio.timeout(LOAD_TIMEOUT):
            sources = (identity.certificate, identity.private_key, identity.client_ca)
            for number, source in enumerate(sources):
                try:
                    loaded[number] = None if source is None else await load(source)
                except KeySourceError as error:
                    problems.append(error)
    except TimeoutError:
        problems.append(TlsError(f"the key sources were not read within {LOAD_TIMEOUT:g} seconds"))
    return Parts(*loaded), problems


def assemble(
    identity: ServerIdentity, parts: Parts, *, self_signed: Callable[[str], CertifiedKey], at: datetime
) -> tuple[Assembly | None, list[KumoError]]:
    """Look at the parts; takes a millisecond or two, so it belongs in a thread.

    Args:
        identity: names the sources.
        parts: what they held; a part that failed to load is None and not complained of again.
        self_signed: gives a certificate for a hostname.
        at: the time.

    Returns:
        What a context can be made from, or None, and the problems.
    """
    problems: list[KumoError] = []
    client_ca = _read(read_client_ca, parts.client_ca, identity.client_ca, problems)
    certificate, private_key = identity.certificate, identity.private_key
    certified, source = None, "self-signed"
    if certificate is not None and private_key is not None:
        source = describe_source(certificate)
        certified = _read_pair(certificate, private_key, parts, problems, at)
    elif certificate is not None:
        _read(read_certificates, parts.certificate, certificate, problems)
        problems.append(_half("tls_certificate", certificate, "tls_private_key"))
    elif private_key is not None:
        _read(read_private_key, parts.private_key, private_key, problems)
        problems.append(_half("tls_private_key", private_key, "tls_certificate"))
    else:
        try:
            certified = self_signed(identity.hostname)
        except TlsError as error:
            problems.append(error)
    if certified is None or problems:
        return None, problems
    return Assembly(certified, client_ca, source), []


def _read(
    reader: Callable[[bytes, str], T],
    octets: bytes | None,
    source: KeySource | None,
    problems: list[KumoError],
) -> T | None:
    if octets is None or source is None:
        return None
    try:
        return reader(octets, describe_source(source))
    except TlsError as error:
        problems.append(error)
        return None


def _half(given: str, source: KeySource, missing: str) -> TlsError:
    return TlsError(f"{given} ({describe_source(source)}) is given without {missing}")


def _read_pair(
    certificate: KeySource,
    private_key: KeySource,
    parts: Parts,
    problems: list[KumoError],
    at: datetime,
) -> CertifiedKey | None:
    chain = _read(read_certificates, parts.certificate, certificate, problems)
    key = _read(read_private_key, parts.private_key, private_key, problems)
    if chain is None or key is None:
        return None
    block, read_key = key
    found = pair_problems(
        chain,
        read_key,
        certificate=describe_source(certificate),
        private_key=describe_source(private_key),
        at=at,
    )
    problems += [TlsError(problem) for problem in found]
    return CertifiedKey(
        chain=b"".join(each.public_bytes(Encoding.PEM) for each in chain),
        private_key=block,
        expires=chain[0].not_valid_after_utc,
    )
