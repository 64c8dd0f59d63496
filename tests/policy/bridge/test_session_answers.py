"""The events that a session asks for something: parameters, credentials, domains."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from kumo.config import CidrMap, CidrSet, KeyData, ListenerDomain, ListenerOverrides, ReportHandling
from kumo.errors import DisconnectMode, KumoError, PolicyError, Rejection
from kumo.listener.interfaces import SessionPolicy
from kumo.message import Authenticated, AuthInfo, Identity
from kumo.reception.interfaces import RelayPolicy

Load = Callable[[str], Any]

AUTHORIZATION = "SmtpAuthPlainAuthorization"
AUTHENTICATION = "SmtpAuthPlainAuthentication"


async def settled(result: Any, is_slow: bool) -> Any:
    return await result if is_slow else result


def handler(event: str, body: str, *, is_slow: bool = False) -> str:
    """A handler that has its arguments as `...` and the connection as `conn`."""
    sleep = "kumo.sleep(0)" if is_slow else ""
    return f"kumo.on('{event}', function(...) local conn = select(-1, ...) {sleep} {body} end)"


def test_the_adapter_fits_listener_and_reception(load: Load) -> None:
    policy = load("")
    session: SessionPolicy = policy.session
    relay: RelayPolicy = policy.session
    assert not session.has_dynamic_parameters
    assert not relay.has_listener_domains


def test_without_handlers_nothing_is_given(load: Load) -> None:
    policy = load("")
    connection = policy.connection()
    assert policy.session.get_dynamic_parameters(connection) == ListenerOverrides()
    assert policy.session.on_auth_plain(connection, "a", "a", "p") is None
    assert policy.session.get_listener_domain(connection, "a.example") is None


ASK: dict[str, Callable[[Any, Any], Any]] = {
    "smtp_server_get_dynamic_parameters": lambda s, c: s.get_dynamic_parameters(c),
    "smtp_server_auth_plain": lambda s, c: s.on_auth_plain(c, "zoë", "ann", "pässword"),
    "get_listener_domain": lambda s, c: s.get_listener_domain(c, "a.example"),
}
ARGUMENTS = {
    "smtp_server_get_dynamic_parameters": (2, "192.0.2.1:25"),
    "smtp_server_auth_plain": (4, "zoë", "ann", "pässword"),
    "get_listener_domain": (3, "a.example", "192.0.2.1:25"),
}


@pytest.mark.parametrize("is_slow", [False, True])
@pytest.mark.parametrize("event", ASK)
async def test_each_event_gets_its_arguments(load: Load, event: str, is_slow: bool) -> None:
    body = """
        local arguments = { ... }
        conn:set_meta('seen', conn:get_meta('who'))
        kumo.note(#arguments, table.unpack(arguments, 1, #arguments - 1))
        return {}
        """
    if event != "smtp_server_get_dynamic_parameters":
        body = body.replace("return {}", "return nil")
    policy = load(handler(event, body, is_slow=is_slow))
    connection = policy.connection(who="peer")
    await settled(ASK[event](policy.session, connection), is_slow)
    [noted] = policy.notes
    count, *given = ARGUMENTS[event]
    assert noted[0] == count
    assert [text.encode("latin-1").decode() for text in noted[1:]] == given
    assert connection.meta["seen"] == "peer"


def test_whether_there_is_a_handler_follows_a_reload(load: Load) -> None:
    policy = load(
        handler("smtp_server_get_dynamic_parameters", "return {}") + handler("get_listener_domain", "")
    )
    assert policy.session.has_dynamic_parameters
    assert policy.session.has_listener_domains
    policy.write("")
    policy.engine.reload()
    assert not policy.session.has_dynamic_parameters
    assert not policy.session.has_listener_domains


@pytest.mark.parametrize("is_slow", [False, True])
@pytest.mark.parametrize("event", ["smtp_server_get_dynamic_parameters", "smtp_server_auth_plain"])
async def test_a_verdict_passes_through(load: Load, event: str, is_slow: bool) -> None:
    policy = load(handler(event, "kumo.disconnect(451, 'later', 'FollowWith421')", is_slow=is_slow))
    with pytest.raises(Rejection) as caught:
        await settled(ASK[event](policy.session, policy.connection()), is_slow)
    assert (caught.value.code, caught.value.text) == (451, "later")
    assert caught.value.mode is DisconnectMode.FOLLOW_WITH_421


@pytest.mark.parametrize("is_slow", [False, True])
@pytest.mark.parametrize("event", ASK)
async def test_each_event_may_fail(load: Load, event: str, is_slow: bool) -> None:
    policy = load(handler(event, "error('broken')", is_slow=is_slow))
    with pytest.raises(PolicyError, match=rf"^{event}: .*init\.lua:2: broken"):
        await settled(ASK[event](policy.session, policy.connection()), is_slow)


# --- parameters --------------------------------------------------------------------------------


@pytest.mark.parametrize("is_slow", [False, True])
@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        ("{}", ListenerOverrides()),
        ("{ relay_hosts = {} }", ListenerOverrides(relay_hosts=CidrSet.parse([]))),
        ("{ banner = 'ü', deferred_spool = false }", ListenerOverrides(banner="ü", deferred_spool=False)),
        ("{ tls_private_key = { key_data = '\\xff' } }", ListenerOverrides(tls_private_key=KeyData(b"\xff"))),
        (
            "{ peer = { ['192.0.2.0/24'] = { meta = { a = 1 } } } }",
            ListenerOverrides(peer=CidrMap({"192.0.2.0/24": ListenerOverrides(meta={"a": 1})})),
        ),
        ("{ max_message_size = 5 }, 'surplus'", ListenerOverrides(max_message_size=5)),
    ],
)
async def test_a_table_of_parameters_is_read(
    load: Load, returned: str, expected: ListenerOverrides, is_slow: bool
) -> None:
    policy = load(handler("smtp_server_get_dynamic_parameters", f"return {returned}", is_slow=is_slow))
    result = policy.session.get_dynamic_parameters(policy.connection())
    assert await settled(result, is_slow) == expected


@pytest.mark.parametrize("is_slow", [False, True])
@pytest.mark.parametrize(
    ("returned", "kind"),
    [
        ("", "nil"),
        ("nil", "nil"),
        ("false", "boolean"),
        ("7", "number"),
        ("'x'", "string"),
        ("print", "function"),
    ],
)
async def test_parameters_are_a_table_and_nil_is_none(
    load: Load, returned: str, kind: str, is_slow: bool
) -> None:
    policy = load(handler("smtp_server_get_dynamic_parameters", f"return {returned}", is_slow=is_slow))
    with pytest.raises(PolicyError) as caught:
        await settled(policy.session.get_dynamic_parameters(policy.connection()), is_slow)
    assert str(caught.value) == (
        "smtp_server_get_dynamic_parameters must return a table of listener parameters, "
        f"which may be empty, not a {kind}"
    )


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        ("{ bannr = 'x' }", "unknown field `bannr`, expected one of `hostname`, `banner`, "),
        ("{ bannr = 'x' }", "(did you mean `banner`?)"),
        ("{ listen = '0:25' }", "unknown field `listen`, expected one of `hostname`, "),
        ("{ 'x' }", "invalid type: sequence, expected struct ListenerOverrides"),
        ("{ via = { any = { banner = 5 } } }", "(in `via.any.banner`)"),
        ("{ relay_hosts = { '10.0.0.1/8' } }", "Did you mean 10.0.0.0/8?"),
        ("{ banner = 5, tls_private_key = { key_data = 'hunter2' } }", '"key_data":"***"'),
        ("kumo.make_listener_domain {}", "a table key must be a string or an integer"),
    ],
)
def test_a_bad_parameter_names_the_handler_and_the_key(load: Load, returned: str, words: str) -> None:
    policy = load(handler("smtp_server_get_dynamic_parameters", f"return {returned}"))
    with pytest.raises(PolicyError) as caught:
        policy.session.get_dynamic_parameters(policy.connection())
    text = str(caught.value)
    assert text.startswith(f"smtp_server_get_dynamic_parameters: {policy.path}:2: the returned table: ")
    assert words in text
    assert "hunter2" not in text


# --- credentials -------------------------------------------------------------------------------


def info(*identities: str, groups: str | None = None) -> str:
    """An AuthInfo in Lua, of names with their contexts."""
    pairs = (identity.split() for identity in identities)
    items = ", ".join(f"{{ identity = '{name}', context = '{context}' }}" for name, context in pairs)
    return f"{{ identities = {{ {items} }}{'' if groups is None else f', groups = {{ {groups} }}'} }}"


BOTH = (Identity("zoë", AUTHORIZATION), Identity("ann", AUTHENTICATION))


@pytest.mark.parametrize("is_slow", [False, True])
@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        ("", None),
        ("nil", None),
        ("nil, 'no such user'", None),
        ("false", None),
        ("false, 'why'", None),
        ("true", Authenticated("zoë", "ann", BOTH)),
        ("select(3, ...) == 'p\\xc3\\xa4ss'", Authenticated("zoë", "ann", BOTH)),
        (info("x Other"), Authenticated("x", "x", (Identity("x", "Other"),))),
        (
            info(f"x {AUTHORIZATION}", f"ü {AUTHENTICATION}", groups="'g', 'h'"),
            Authenticated(
                "x", "ü", (Identity("x", AUTHORIZATION), Identity("ü", AUTHENTICATION)), ("g", "h")
            ),
        ),
        (
            info("x Other", f"y {AUTHENTICATION}", groups=""),
            Authenticated("y", "y", (Identity("x", "Other"), Identity("y", AUTHENTICATION))),
        ),
        (
            info("x Other", f"y {AUTHORIZATION}"),
            Authenticated("y", "x", (Identity("x", "Other"), Identity("y", AUTHORIZATION))),
        ),
        (
            info(f"x {AUTHENTICATION}", f"y {AUTHENTICATION}"),
            Authenticated("x", "x", (Identity("x", AUTHENTICATION), Identity("y", AUTHENTICATION))),
        ),
        ("extended(conn:auth_info())", Authenticated("x", "x", (Identity("x", "Other"),))),
    ],
)
async def test_what_a_handler_says_of_credentials(
    load: Load, returned: str, expected: Authenticated | None, is_slow: bool
) -> None:
    policy = load(
        "local function extended(info)"
        " info.identities[1] = { identity = 'x', context = 'Other' } return info end\n"
        + handler("smtp_server_auth_plain", f"return {returned}", is_slow=is_slow)
    )
    result = policy.session.on_auth_plain(policy.connection(), "zoë", "ann", "päss")
    assert await settled(result, is_slow) == expected


@pytest.mark.parametrize("is_slow", [False, True])
@pytest.mark.parametrize(
    ("returned", "words"),
    [
        ("7", "must return nil, a boolean or an AuthInfo table, not a number"),
        ("'yes'", "must return nil, a boolean or an AuthInfo table, not a string"),
        ("print", "must return nil, a boolean or an AuthInfo table, not a function"),
        ("{}", "returned an AuthInfo without identities"),
        ("{ groups = { 'g' }, identities = {} }", "returned an AuthInfo without identities"),
        ("{ identities = { 'x' } }", 'invalid type: string "x", expected struct'),
        ("{ identities = { { identity = 'x' } } }", "missing field `context`"),
        ("{ identities = { { context = 'x' } } }", "missing field `identity`"),
        ("{ identities = { { identity = 5, context = 'x' } } }", "(in `identities.1.identity`)"),
        ("{ identites = {} }", "(did you mean `identities`?)"),
        ("{ identities = { { identity = 'x', context = 'y' } }, groups = 'g' }", "(in `groups`)"),
    ],
)
async def test_credentials_answered_with_something_else_are_an_error(
    load: Load, returned: str, words: str, is_slow: bool
) -> None:
    policy = load(handler("smtp_server_auth_plain", f"return {returned}", is_slow=is_slow))
    with pytest.raises(PolicyError) as caught:
        await settled(policy.session.on_auth_plain(policy.connection(), "a", "a", "hunter2"), is_slow)
    assert "smtp_server_auth_plain" in str(caught.value)
    assert words in str(caught.value)


PASSWORD = 'Zq7"Kw8\\Xj9 ü'  # noqa: S105 - nobody's
LEAKS = [
    "error(select(3, ...))",
    "error('cannot check ' .. select(3, ...))",
    "error({ select(3, ...) })",
    "error(setmetatable({}, { __tostring = function() return PASSWORD end }))",
    "kumo.reject(535, 'no: ' .. select(3, ...))",
    "kumo.serde.json_parse(select(3, ...))",
    "kumo.serde.json_parse('{\"a\":' .. select(3, ...) .. '}')",
    "kumo.make_queue_config { [select(3, ...)] = 1 }",
    "kumo.make_queue_config { max_age = select(3, ...) }",
    "kumo.boom(select(3, ...))",
    "kumo.boom_direct(select(3, ...))",
    "local nothing = nil; return nothing[select(3, ...)].x",
    "return _G[select(3, ...)].x",
    "return load('return ' .. select(3, ...))()",
    "return select(3, ...)",
    "return { identities = { select(3, ...) } }",
    "return { [select(3, ...)] = 1 }",
    "return { identities = { { identity = 5, context = select(3, ...) } } }",
]


@pytest.mark.parametrize("is_slow", [False, True])
@pytest.mark.parametrize("body", LEAKS)
async def test_the_password_is_in_no_error(
    load: Load, body: str, is_slow: bool, caplog: pytest.LogCaptureFixture
) -> None:
    policy = load(handler("smtp_server_auth_plain", f"PASSWORD = select(3, ...); {body}", is_slow=is_slow))
    with caplog.at_level(logging.DEBUG), pytest.raises(KumoError) as caught:
        await settled(policy.session.on_auth_plain(policy.connection(), "a", "a", PASSWORD), is_slow)
    error = caught.value
    text = "".join(traceback.format_exception(error)) + repr(error) + caplog.text
    assert error.__context__ is None
    assert error.__cause__ is None
    assert [part for part in ("Zq7", "Kw8", "Xj9") if part in text] == [], text


def test_an_empty_password_masks_nothing(load: Load) -> None:
    policy = load(handler("smtp_server_auth_plain", "error('broken')"))
    with pytest.raises(PolicyError, match=r"init\.lua:2: broken"):
        policy.session.on_auth_plain(policy.connection(), "a", "a", "")


# --- who the client is -------------------------------------------------------------------------


def test_auth_info_shows_what_the_session_knows(load: Load) -> None:
    policy = load(
        handler(
            "smtp_server_connection_accepted",
            """
            local info = conn:auth_info()
            kumo.note(info.peer_address, #info.identities, #info.groups)
            for _, one in ipairs(info.identities) do kumo.note(one.identity, one.context) end
            for _, group in ipairs(info.groups) do kumo.note(group) end
            info.groups[1] = 'changed'
            """,
        )
    )
    connection = policy.connection(authn_id="of meta")
    connection.auth_info = AuthInfo("198.51.100.9", list(BOTH), ["g", "h"])
    policy.session.on_connection_accepted(connection)
    assert policy.notes == [
        ("198.51.100.9", 2, 2),
        ("zoë".encode().decode("latin-1"), AUTHORIZATION),
        ("ann", AUTHENTICATION),
        "g",
        "h",
    ]
    assert connection.auth_info.groups == ["g", "h"]


def test_auth_info_without_a_peer_has_no_address(load: Load) -> None:
    policy = load(
        handler("smtp_server_connection_accepted", "kumo.note(conn:auth_info().peer_address == nil)")
    )
    connection = policy.connection()
    connection.auth_info = AuthInfo(None)
    policy.session.on_connection_accepted(connection)
    assert policy.notes == [True]


# --- domains -----------------------------------------------------------------------------------


@pytest.mark.parametrize("is_slow", [False, True])
@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        ("", None),
        ("nil", None),
        ("nil, 'why'", None),
        ("kumo.make_listener_domain {}", ListenerDomain()),
        ("kumo.make_listener_domain { relay_to = true }", ListenerDomain(relay_to=True)),
        (
            "kumo.make_listener_domain { relay_from={'10.0.0.0/8'}, log_arf=true, log_oob='LogThenDrop' }",
            ListenerDomain(
                relay_from=CidrSet.parse(["10.0.0.0/8"]),
                log_arf=ReportHandling.LOG_THEN_RELAY,
                log_oob=ReportHandling.LOG_THEN_DROP,
            ),
        ),
        (
            "kumo.make_listener_domain(kumo.make_listener_domain { relay_to = true }), 1",
            ListenerDomain(relay_to=True),
        ),
    ],
)
async def test_a_domain_is_what_the_constructor_made(
    load: Load, returned: str, expected: ListenerDomain | None, is_slow: bool
) -> None:
    policy = load(handler("get_listener_domain", f"return {returned}", is_slow=is_slow))
    assert policy.session.has_listener_domains
    result = policy.session.get_listener_domain(policy.connection(), "a.example")
    assert await settled(result, is_slow) == expected


def test_a_domain_made_once_is_given_again_and_again(load: Load) -> None:
    policy = load(
        "local ours = kumo.make_listener_domain { relay_to = true }\n"
        + handler("get_listener_domain", "collectgarbage() return ours")
    )
    connection = policy.connection()
    made = [policy.session.get_listener_domain(connection, "a.example") for _ in range(100)]
    assert set(map(id, made)) == {id(made[0])}
    assert made[0] == ListenerDomain(relay_to=True)


@pytest.mark.parametrize("is_slow", [False, True])
@pytest.mark.parametrize(
    ("returned", "kind"),
    [
        ("{ relay_to = true }", "table"),
        ("{}", "table"),
        ("kumo.make_queue_config {}", "table"),
        ("true", "boolean"),
        ("false", "boolean"),
        ("7", "number"),
        ("'a.example'", "string"),
        ("print", "function"),
    ],
)
async def test_a_domain_that_was_not_made_names_the_constructor(
    load: Load, returned: str, kind: str, is_slow: bool
) -> None:
    policy = load(handler("get_listener_domain", f"return {returned}", is_slow=is_slow))
    with pytest.raises(PolicyError) as caught:
        await settled(policy.session.get_listener_domain(policy.connection(), "a.example"), is_slow)
    assert str(caught.value) == (
        f"get_listener_domain must return nil or an object made by kumo.make_listener_domain, not a {kind}"
    )


@pytest.mark.parametrize("is_slow", [False, True])
@pytest.mark.parametrize("call", ["kumo.reject(550, 'no')", "kumo.disconnect(550, 'no')"])
async def test_a_verdict_on_a_domain_is_not_honoured(load: Load, call: str, is_slow: bool) -> None:
    policy = load(handler("get_listener_domain", call, is_slow=is_slow))
    with pytest.raises(PolicyError, match=r"^get_listener_domain: a verdict \(550 no\) means nothing here"):
        await settled(policy.session.get_listener_domain(policy.connection(), "a.example"), is_slow)


def test_a_bad_domain_parameter_is_an_error_with_its_line(load: Load) -> None:
    policy = load(handler("get_listener_domain", "return kumo.make_listener_domain { log_arf = 'yes' }"))
    with pytest.raises(PolicyError) as caught:
        policy.session.get_listener_domain(policy.connection(), "a.example")
    assert str(caught.value).startswith(f"get_listener_domain: {policy.path}:2: kumo.make_listener_domain: ")
    assert (
        'deserialize error: invalid value: string "yes", expected a boolean value or one of '
        "'Ignore', 'LogThenDrop' or 'LogThenRelay', while processing {\"log_arf\":\"yes\"}"
    ) in str(caught.value)


def test_a_listener_domain_shows_what_was_given(load: Load) -> None:
    policy = load(
        """
        local domain = kumo.make_listener_domain {
          relay_to = false, relay_from = { '10.0.0.0/8', '::1' }, log_arf = true, log_oob = false, ttl = 90,
        }
        kumo.note(domain.relay_to, domain.relay_from[2], domain.log_arf, domain.log_oob, domain.ttl, #domain)
        local names = {}
        for name in pairs(domain) do names[#names + 1] = name end
        table.sort(names)
        kumo.note(table.concat(names, ' '), tostring(domain))
        kumo.note(pcall(function() domain.relay_to = true end))
        kumo.note(kumo.make_listener_domain(domain) == domain)
        kumo.note(next({}) == nil and kumo.make_listener_domain { log_oob = 'LogThenDrop' }.log_oob)
        """
    )
    assert policy.notes[0] == (False, "::1", "LogThenRelay", "Ignore", "1m 30s", 0)
    assert policy.notes[1] == ("log_arf log_oob relay_from relay_to ttl", "kumo.make_listener_domain")
    assert policy.notes[2][0] is False
    assert policy.notes[3:] == [True, "LogThenDrop"]
