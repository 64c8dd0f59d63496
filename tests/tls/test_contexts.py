"""Contexts are made once, kept, and brought up to date behind the peers' backs."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable

import pytest

from kumo.config import KeyEvent, KeyFile, KeySource
from kumo.errors import KeySourceError, TlsError
from kumo.maybe_awaitable import MaybeAwaitable
from kumo.tls import ServerContext, TlsContexts, check_identity
from kumo.tls.contexts import CONTEXT_LIFETIME, FAILURE_LIFETIME, MAX_IDENTITIES
from tests.tls.certificates import DAY, NOW, issue
from tests.tls.fakes import CONFIGURED, Clock, Material, identity, settled

FIRST, SECOND = issue(), issue()


def held(contexts: MaybeAwaitable[ServerContext]) -> ServerContext:
    """A context that must be there at once."""
    assert isinstance(contexts, ssl.SSLContext)
    return contexts


def waited(contexts: MaybeAwaitable[ServerContext]) -> Awaitable[ServerContext]:
    """A context that must still be made."""
    assert not isinstance(contexts, ssl.SSLContext)
    return contexts


def errors_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]


async def test_only_the_first_has_to_wait() -> None:
    material = Material(certificate=FIRST.pem, key=FIRST.key_pem)
    contexts = TlsContexts(material.load)
    made = await asyncio.gather(*(waited(contexts.server_context(CONFIGURED)) for _ in range(10)))
    assert all(context is made[0] for context in made)
    assert held(contexts.server_context(CONFIGURED)) is made[0]
    assert material.loads == 2
    await contexts.close()


async def test_identities_are_kept_apart_by_all_their_parts() -> None:
    material = Material(certificate=FIRST.pem, key=FIRST.key_pem, event=FIRST.both)
    contexts = TlsContexts(material.load)
    event_a = KeyEvent(event_name="event", event_args=({"unhashable": ["a"]},))
    event_b = KeyEvent(event_name="event", event_args=({"unhashable": ["b"]},))
    rows = [
        CONFIGURED,
        identity("other", certificate=KeyFile("certificate"), private_key=KeyFile("key")),
        identity(
            certificate=KeyFile("certificate"), private_key=KeyFile("key"), client_ca=KeyFile("certificate")
        ),
        identity(certificate=event_a, private_key=event_a),
        identity(certificate=event_b, private_key=event_b),
        identity(),
        identity("other"),
    ]
    made = [await waited(contexts.server_context(row)) for row in rows]
    assert len(set(made)) == len(rows)
    assert [held(contexts.server_context(row)) for row in rows] == made
    await contexts.close()


async def test_the_old_context_serves_while_the_new_is_made() -> None:
    clock = Clock()
    material = Material(certificate=FIRST.pem, key=FIRST.key_pem)
    contexts = TlsContexts(material.load, now=clock)
    old = await waited(contexts.server_context(CONFIGURED))
    material.held = {"certificate": SECOND.pem, "key": SECOND.key_pem}
    clock.advance(CONTEXT_LIFETIME - 1)
    assert held(contexts.server_context(CONFIGURED)) is old
    assert material.loads == 2
    clock.advance(1)
    material.gate.clear()
    for _ in range(5):
        assert held(contexts.server_context(CONFIGURED)) is old
        await asyncio.sleep(0)
    material.gate.set()
    await settled(contexts)
    new = held(contexts.server_context(CONFIGURED))
    assert new is not old
    assert material.loads == 4
    await contexts.close()


async def test_material_that_did_not_change_keeps_its_context() -> None:
    clock = Clock()
    contexts = TlsContexts(Material(certificate=FIRST.pem, key=FIRST.key_pem).load, now=clock)
    for row in (CONFIGURED, identity()):
        old = await waited(contexts.server_context(row))
        clock.advance(CONTEXT_LIFETIME)
        held(contexts.server_context(row))
        await settled(contexts)
        assert held(contexts.server_context(row)) is old
    await contexts.close()


BROKEN_ROWS = [
    ({}, "certificate cannot be loaded"),
    (
        {"certificate": FIRST.pem, "key": SECOND.key_pem},
        "key: the private key does not match the certificate in certificate",
    ),
]


@pytest.mark.parametrize(("broken", "why"), BROKEN_ROWS)
async def test_the_old_context_stays_when_a_refresh_fails(
    broken: dict[str, bytes], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    material = Material(certificate=FIRST.pem, key=FIRST.key_pem)
    contexts = TlsContexts(material.load, now=clock)
    old = await waited(contexts.server_context(CONFIGURED))
    material.held = broken
    clock.advance(CONTEXT_LIFETIME)
    for _ in range(5):
        assert held(contexts.server_context(CONFIGURED)) is old
        await settled(contexts)
    assert errors_in(caplog) == [
        "unable to load the TLS certificate of mx.example.com, the old certificate stays in use: " + why
    ]
    material.held = {"certificate": SECOND.pem, "key": SECOND.key_pem}
    clock.advance(FAILURE_LIFETIME)
    assert held(contexts.server_context(CONFIGURED)) is old
    await settled(contexts)
    assert held(contexts.server_context(CONFIGURED)) is not old
    assert len(errors_in(caplog)) == 1
    await contexts.close()


FAILURE_ROWS = [
    ({}, KeySourceError, "certificate cannot be loaded"),
    ({"certificate": b"", "key": b""}, TlsError, "certificate: there is no certificate in it"),
]


@pytest.mark.parametrize(("broken", "kind", "why"), FAILURE_ROWS)
async def test_a_first_failure_is_raised_again_without_another_look(
    broken: dict[str, bytes], kind: type[Exception], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    material = Material(**broken)
    contexts = TlsContexts(material.load, now=clock)
    with pytest.raises(kind) as first:
        await waited(contexts.server_context(CONFIGURED))
    assert str(first.value) == why
    loads = material.loads
    material.held = {"certificate": FIRST.pem, "key": FIRST.key_pem}
    clock.advance(FAILURE_LIFETIME - 1)
    with pytest.raises(kind) as second:
        contexts.server_context(CONFIGURED)
    assert str(second.value) == why
    assert second.value is not first.value
    assert material.loads == loads
    assert errors_in(caplog) == [
        "unable to load the TLS certificate of mx.example.com, there is no TLS: " + why
    ]
    clock.advance(1)
    await waited(contexts.server_context(CONFIGURED))
    await contexts.close()


async def test_sources_that_never_answer_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kumo.tls.assembly.LOAD_TIMEOUT", 0.01)
    material = Material()
    material.gate.clear()
    contexts = TlsContexts(material.load)
    with pytest.raises(TlsError) as failure:
        await waited(contexts.server_context(CONFIGURED))
    assert str(failure.value) == "the key sources were not read within 0.01 seconds"
    await contexts.close()
    # Also when they are only validated.
    assert await check_identity(material.load, CONFIGURED) == [str(failure.value)]


async def test_a_surprise_is_a_failure_like_others(caplog: pytest.LogCaptureFixture) -> None:
    async def load(_: KeySource) -> bytes:
        raise ZeroDivisionError

    contexts = TlsContexts(load)
    with pytest.raises(TlsError) as failure:
        await waited(contexts.server_context(CONFIGURED))
    assert str(failure.value) == "no TLS context could be made: ZeroDivisionError"
    assert "Traceback" in caplog.text
    await contexts.close()


async def test_a_certificate_that_is_about_to_expire_is_warned_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    leaf = issue(not_after=NOW + DAY)
    contexts = TlsContexts(Material(certificate=leaf.pem, key=leaf.key_pem).load, now=clock)
    await waited(contexts.server_context(CONFIGURED))
    clock.advance(CONTEXT_LIFETIME)
    held(contexts.server_context(CONFIGURED))
    await settled(contexts)
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        f"certificate: the certificate expires on {NOW + DAY:%Y-%m-%d %H:%M:%S} UTC"
    ]
    await contexts.close()


async def test_who_stops_waiting_does_not_end_it_for_the_others() -> None:
    material = Material(certificate=FIRST.pem, key=FIRST.key_pem)
    material.gate.clear()
    contexts = TlsContexts(material.load)
    waiting = [asyncio.ensure_future(waited(contexts.server_context(CONFIGURED))) for _ in range(2)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    material.gate.set()
    await waiting[1]
    assert waiting[0].cancelled()
    await contexts.close()


async def test_the_one_that_nobody_asked_for_longest_makes_room() -> None:
    contexts = TlsContexts(Material().load)
    first = await waited(contexts.server_context(identity("first")))
    second = await waited(contexts.server_context(identity("second")))
    for number in range(MAX_IDENTITIES - 2):
        await waited(contexts.server_context(identity(f"host-{number}")))
    assert held(contexts.server_context(identity("first"))) is first
    await waited(contexts.server_context(identity("one-more")))
    assert held(contexts.server_context(identity("first"))) is first
    assert await waited(contexts.server_context(identity("second"))) is not second
    await contexts.close()


async def test_closing_ends_what_is_under_way() -> None:
    material = Material()
    material.gate.clear()
    contexts = TlsContexts(material.load)
    waiting = asyncio.ensure_future(waited(contexts.server_context(CONFIGURED)))
    await asyncio.sleep(0)
    await contexts.close()
    with pytest.raises(TlsError, match="TLS is about to end"):
        await waiting
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "kumod-tls-context"]
