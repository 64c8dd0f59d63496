"""Vault's interface, spoken with a real server; and with servers that are none."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest
import trustme

from kumo.config import KeyVault
from kumo.errors import KeySourceError
from kumo.keys import KeySources
from kumo.keys.key_sources import FAILURE_LIFETIME, MAX_SECRETS, SECRET_LIFETIME, STALE_LIFETIME
from tests.keys.fakes import Clock, Threads, canned_server, json_answer, no_event
from tests.openbao import Openbao

TOKEN = "s.token-that-nobody-may-see"  # noqa: S105 - of no server
SECRET = KeyVault(vault_mount="secret", vault_path="tls")


async def failure_of(sources: KeySources, source: KeyVault) -> str:
    """The text of a load that must fail: one line, without tokens, whatever is chained to it."""
    with pytest.raises(KeySourceError) as failure:
        await sources.load(source)
    error: BaseException | None = failure.value
    text = str(error)
    assert "\n" not in text
    while error is not None:
        assert TOKEN not in str(error)
        error = error.__cause__
    return text


def vault(path: str, *, mount: str = "secret", **more: Any) -> KeyVault:
    return KeyVault(vault_mount=mount, vault_path=path, **more)


GOOD_ROWS = [
    (vault("tls"), b"the key"),
    (vault("tls", vault_key="certificate"), b"the certificate"),
    (vault("umlaut"), "schlüssel".encode()),
    (vault("a/b/c", mount="deep/er"), b"deep"),
    (vault("/tls/", mount="/secret/"), b"the key"),
]


@pytest.mark.parametrize(("source", "octets"), GOOD_ROWS)
async def test_fields_are_read(bao: Openbao, source: KeyVault, octets: bytes) -> None:
    assert await KeySources(no_event, environment=bao.environment).load(source) == octets


BAD_ROWS = [
    (vault("absent"), "vault at {at} has no secret `absent` in mount `secret`"),
    (
        vault("tls", mount="nowhere"),
        "vault at {at} has no secret nowhere/tls: there is no mount `nowhere`, or the token may not see it",
    ),
    (
        vault("tls", mount="old"),
        "vault mount `old` is KV version 1; KV version 2 is needed to read old/tls",
    ),
    (vault("x", mount="cubbyhole"), "vault mount `cubbyhole` is of type cubbyhole; KV version 2 is needed"),
    (vault("deleted"), "vault secret secret/deleted at {at} has been deleted: version 1"),
    (vault("destroyed"), "vault secret secret/destroyed at {at} has been deleted: version 1"),
    (vault("tls", vault_key="no"), "vault secret at tls does not contain key 'no'"),
    (vault("tls", vault_key="number"), "vault secret at tls has a key 'number' that is not a string"),
    (vault("tls", vault_key="table"), "vault secret at tls has a key 'table' that is not a string"),
    (
        vault("tls", vault_token=TOKEN),
        "vault at {at} denied access to secret/tls: its token is bad, has expired or lacks the right",
    ),
]


@pytest.mark.parametrize(("source", "text"), BAD_ROWS)
async def test_what_is_not_there_is_named(bao: Openbao, source: KeyVault, text: str) -> None:
    sources = KeySources(no_event, environment=bao.environment)
    assert await failure_of(sources, source) == text.format(at=bao.address)


async def test_a_token_without_the_right_is_told_from_no_secret(bao: Openbao) -> None:
    token = bao.do("POST", "auth/token/create", {"policies": ["default"]})["auth"]["client_token"]
    source = vault("tls", vault_token=token)
    text = await failure_of(KeySources(no_event, environment=bao.environment), source)
    assert text.startswith(f"vault at {bao.address} denied access to secret/tls")
    assert token not in text


async def test_the_policys_address_and_token_come_before_the_environments(bao: Openbao) -> None:
    environment = {"VAULT_ADDR": "http://127.0.0.1:1", "VAULT_TOKEN": TOKEN}
    source = vault("tls", vault_address=bao.address, vault_token=bao.token)
    assert await KeySources(no_event, environment=environment).load(source) == b"the key"


async def test_a_namespace_comes_from_the_environment(bao: Openbao) -> None:
    sources = KeySources(no_event, environment=bao.environment | {"VAULT_NAMESPACE": "team"})
    assert await sources.load(vault("tls", mount="kv")) == b"of the team"


ADDRESS = {"VAULT_ADDR": "http://127.0.0.1:1"}
ENVIRONMENT_ROWS: list[tuple[dict[str, str], str]] = [
    ({}, "vault_address was not specified and $VAULT_ADDR is not set/usable"),
    ({"VAULT_ADDR": "", "VAULT_TOKEN": TOKEN}, "vault_address was not specified and $VAULT_ADDR"),
    (ADDRESS, "vault_token was not specified and $VAULT_TOKEN is not set/usable"),
    (ADDRESS | {"VAULT_TOKEN": ""}, "vault_token was not specified and $VAULT_TOKEN is not set/usable"),
    (
        ADDRESS | {"VAULT_TOKEN": TOKEN + "\n"},
        "the token for vault secret secret/tls at http://127.0.0.1:1 h",
    ),
    (ADDRESS | {"VAULT_TOKEN": TOKEN + "\u20ac"}, "the token for vault secret secret/tls at http://127.0.0."),
    (
        {"VAULT_ADDR": "vault.example.com", "VAULT_TOKEN": TOKEN},
        "vault at vault.example.com cannot be reached: its address is not a URL",
    ),
    (
        {"VAULT_ADDR": "ftp://vault", "VAULT_TOKEN": TOKEN},
        "vault at ftp://vault cannot be reached: its address is not a URL of HTTP",
    ),
    (
        ADDRESS
        | {"VAULT_TOKEN": TOKEN, "VAULT_ADDR": "https://127.0.0.1:1", "VAULT_CACERT": "/nowhere/ca.pem"},
        "vault at https://127.0.0.1:1 cannot be reached: the certificates in /nowhere/ca.pem cannot be read",
    ),
    (
        {"VAULT_ADDR": f"http://user:{TOKEN}@127.0.0.1:1", "VAULT_TOKEN": "t"},
        "vault at http://127.0.0.1:1 cannot be reached: Connection refused",
    ),
]


@pytest.mark.parametrize(("environment", "text"), ENVIRONMENT_ROWS)
async def test_an_environment_that_leads_nowhere(
    environment: dict[str, str], text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What hvac would fall back to by itself.
    (tmp_path / ".vault-token").write_text(TOKEN)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:2")
    monkeypatch.setenv("VAULT_TOKEN", TOKEN)
    found = await failure_of(KeySources(no_event, environment=environment), SECRET)
    assert found.startswith(text)


async def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        sources = KeySources(no_event, environment={"VAULT_ADDR": address, "VAULT_TOKEN": TOKEN})
        assert (
            await failure_of(sources, SECRET) == f"vault at {address} cannot be reached: Connection refused"
        )


QUOTING = json_answer(500, f'{{"errors":["1 error occurred:\\n\\t* no {TOKEN}\\n"]}}')
FOUND = json_answer(200, '{"data":{"data":{"key":"canned"},"metadata":{"version":1}}}')
REDIRECT = b"HTTP/1.1 307 X\r\nLocation: /v1/x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
NO_SECRET = "gave an answer for secret/tls that is no KV version 2 secret"  # noqa: S105 - a message
UNREADABLE = "gave an answer that cannot be read: "

ANSWER_ROWS = [
    (QUOTING, "answered with an error: 1 error occurred: * no (token)"),
    (json_answer(503, '{"errors":["Vault is sealed"]}'), "answered with an error: Vault is sealed"),
    (json_answer(502, "<html>Bad Gateway</html>"), "answered with an error: BadGateway"),
    (json_answer(200, "<html>Log in</html>"), NO_SECRET),
    (json_answer(200, "[]"), NO_SECRET),
    (json_answer(200, '{"data":{"key":"v1"}}'), NO_SECRET),
    (json_answer(200, '{"data":{"data":[]}}'), NO_SECRET),
    (json_answer(404, "[]"), UNREADABLE + "AttributeError"),
    (json_answer(400, '{"errors":[5]}'), UNREADABLE + "TypeError"),
    (REDIRECT, "it redirects again and again"),
    (b"220 smtp.example.com\r\n", "cannot be reached: ConnectionError"),
    (b"", "cannot be reached: ConnectionError"),
]


@pytest.mark.parametrize(("answer", "text"), ANSWER_ROWS)
async def test_a_server_that_is_no_vault(answer: bytes, text: str) -> None:
    async with canned_server(answer) as place:
        environment = {"VAULT_ADDR": f"http://{place}", "VAULT_TOKEN": TOKEN}
        found = await failure_of(KeySources(no_event, environment=environment), SECRET)
        assert found.startswith(f"vault at http://{place} ")
        assert found.endswith(text)


async def test_a_silent_server_is_given_up() -> None:
    async with canned_server(None) as place:
        environment = {"VAULT_ADDR": f"http://{place}", "VAULT_TOKEN": TOKEN}
        sources = KeySources(no_event, environment=environment, vault_timeout=0.2)
        text = await failure_of(sources, SECRET)
        assert text == f"vault at http://{place} did not answer within 0.2 seconds"


async def test_a_thread_that_hangs_is_given_up() -> None:
    async def hang(*_: Any) -> None:
        await asyncio.Event().wait()

    environment = ADDRESS | {"VAULT_TOKEN": TOKEN}
    sources = KeySources(no_event, environment=environment, vault_timeout=0.01, to_thread=hang)
    assert (
        await failure_of(sources, SECRET) == "vault at http://127.0.0.1:1 did not answer within 0.01 seconds"
    )


async def test_tls_needs_an_authority_that_is_known(tmp_path: Path) -> None:
    import ssl  # noqa: PLC0415 - tests of keys know TLS here only

    authority = trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    async with canned_server(FOUND, tls=tls) as place:
        environment = {"VAULT_ADDR": f"https://{place}", "VAULT_TOKEN": TOKEN}
        text = await failure_of(KeySources(no_event, environment=environment), SECRET)
        assert text.startswith(
            f"vault at https://{place} cannot be reached: its certificate is not trusted: "
        )
        environment["VAULT_CACERT"] = str(bundle)
        assert await KeySources(no_event, environment=environment).load(SECRET) == b"canned"


async def test_a_secret_is_read_once_for_all_who_want_it_and_all_its_fields(bao: Openbao) -> None:
    threads = Threads()
    sources = KeySources(no_event, environment=bao.environment, to_thread=threads)
    both = [vault("tls"), vault("tls", vault_key="certificate")] * 10
    assert await asyncio.gather(*map(sources.load, both)) == [b"the key", b"the certificate"] * 10
    assert threads.calls == 1


async def test_who_stops_waiting_does_not_end_it_for_the_others(bao: Openbao) -> None:
    sources = KeySources(no_event, environment=bao.environment)
    loads = [asyncio.ensure_future(sources.load(SECRET)) for _ in range(2)]
    await asyncio.sleep(0)
    loads[0].cancel()
    assert await loads[1] == b"the key"
    assert loads[0].cancelled()


async def test_a_new_version_is_found_when_the_old_has_expired(bao: Openbao) -> None:
    clock, threads = Clock(), Threads()
    bao.write("rotating", {"key": "old"})
    sources = KeySources(no_event, environment=bao.environment, now=clock, to_thread=threads)
    assert await sources.load(vault("rotating")) == b"old"
    bao.write("rotating", {"key": "new"})
    clock.advance(SECRET_LIFETIME - 1)
    assert await sources.load(vault("rotating")) == b"old"
    assert threads.calls == 1
    clock.advance(1)
    assert await sources.load(vault("rotating")) == b"new"
    assert threads.calls == 2


async def test_a_field_that_is_missing_is_looked_for_sooner(bao: Openbao) -> None:
    clock, threads = Clock(), Threads()
    bao.write("growing", {"other": "x"})
    sources = KeySources(no_event, environment=bao.environment, now=clock, to_thread=threads)
    for _ in range(3):
        assert "does not contain key 'key'" in await failure_of(sources, vault("growing"))
    assert threads.calls == 1
    bao.write("growing", {"other": "x", "key": "grown"})
    clock.advance(FAILURE_LIFETIME)
    assert await sources.load(vault("growing")) == b"grown"


async def test_a_first_failure_is_repeated_for_a_while_without_asking(bao: Openbao) -> None:
    clock, threads = Clock(), Threads()
    bao.do("DELETE", "secret/metadata/late")
    sources = KeySources(no_event, environment=bao.environment, now=clock, to_thread=threads)
    for _ in range(3):
        assert "has no secret `late`" in await failure_of(sources, vault("late"))
    assert threads.calls == 1
    bao.write("late", {"key": "there"})
    clock.advance(FAILURE_LIFETIME)
    assert await sources.load(vault("late")) == b"there"


async def test_the_old_secret_goes_on_when_the_server_has_died(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock, threads = Clock(), Threads()
    with Openbao(tmp_path) as mortal:
        mortal.write("tls", {"key": "old"})
        sources = KeySources(no_event, environment=mortal.environment, now=clock, to_thread=threads)
        assert await sources.load(SECRET) == b"old"
    clock.advance(SECRET_LIFETIME)
    assert await asyncio.gather(*(sources.load(SECRET) for _ in range(5))) == [b"old"] * 5
    assert await sources.load(SECRET) == b"old"
    assert threads.calls == 2
    clock.advance(STALE_LIFETIME)
    assert await sources.load(SECRET) == b"old"
    assert threads.calls == 3
    text = (
        f"vault at {mortal.address} cannot be reached: Connection refused; "
        f"what vault secret secret/tls at {mortal.address} held before stays in use"
    )
    assert [record.getMessage() for record in caplog.records if record.name == "kumod.keys"] == [text] * 2
    assert mortal.token not in caplog.text


async def test_no_more_secrets_are_kept_than_asked_for_lately(bao: Openbao) -> None:
    threads = Threads()
    sources = KeySources(no_event, environment=bao.environment, to_thread=threads)
    await sources.load(SECRET)
    absent = [vault(f"absent-{number}") for number in range(MAX_SECRETS)]
    await asyncio.gather(*(failure_of(sources, source) for source in absent))
    assert threads.calls == MAX_SECRETS + 1
    await sources.load(SECRET)
    assert threads.calls == MAX_SECRETS + 2


async def test_closing_ends_what_is_under_way() -> None:
    async with canned_server(None) as place:
        environment = {"VAULT_ADDR": f"http://{place}", "VAULT_TOKEN": TOKEN}
        sources = KeySources(no_event, environment=environment, vault_timeout=0.5)
        load = asyncio.ensure_future(failure_of(sources, SECRET))
        await asyncio.sleep(0)
        await sources.close()
        assert await load == f"vault secret secret/tls at http://{place} is asked for no more"
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "kumod-vault"]


def test_no_token_is_ever_printed() -> None:
    from kumo.keys.vault import VaultSecret  # noqa: PLC0415 - the room's inside, for this test only

    secret = VaultSecret.of_source(SECRET, {"VAULT_ADDR": "http://h", "VAULT_TOKEN": TOKEN})
    assert TOKEN not in repr(secret)
    assert TOKEN not in secret.place
