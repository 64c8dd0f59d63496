"""The objects that handlers get: message, connection, addresses and what constructors make."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Callable
from typing import Any

import pytest

from kumo.errors import KumoError, PolicyError
from kumo.message import Message
from kumo.policy import Limits
from kumo.policy.octets import octets_of

Load = Callable[[str], Any]


def on_message(load: Load, body: str, message: Message | None = None, *recipients: str, **meta: Any) -> Any:
    """Run Lua lines as a message handler; gives the policy and the message."""
    policy = load(f"kumo.on('smtp_server_message_received', function(msg, conn)\n{body}\nend)")
    if message is None:
        message = policy.message(*recipients, **meta)
    policy.reception.on_message_received(message, policy.connection(**meta))
    return policy, message


def noted(load: Load, expression: str, *recipients: str, **meta: Any) -> Any:
    policy, _ = on_message(load, f"kumo.note({expression})", None, *recipients, **meta)
    return policy.notes[0]


# --- addresses ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sender", "parts"),
    [
        ("ann@a.example", ("ann", "a.example", "ann@a.example")),
        ("", ("", "", "")),
        ("Postmaster", ("postmaster", "", "Postmaster")),
        ('"a b"@a.example', ("a b", "a.example", '"a b"@a.example')),
        (r'"a\"@b"@a.example', ('a"@b', "a.example", r'"a\"@b"@a.example')),
        ("x@[192.0.2.1]", ("x", "[192.0.2.1]", "x@[192.0.2.1]")),
        ("zoë@a.example", (octets_of("zoë"), "a.example", octets_of("zoë@a.example"))),
    ],
)
def test_an_address_has_its_parts(load: Load, sender: str, parts: tuple[str, str, str]) -> None:
    policy = load(
        "kumo.on('smtp_server_message_received', function(msg) local s = msg:sender()"
        " kumo.note(s.user, s.domain, s.email) kumo.note(tostring(s)) kumo.note(s.other) end)"
    )
    message = policy.message(sender=sender)
    policy.reception.on_message_received(message, policy.connection())
    assert policy.notes == [parts, parts[2], None]
    assert (message.sender.user, message.sender.domain, message.sender.email) == tuple(
        part.encode("latin-1").decode() for part in parts
    )


@pytest.mark.parametrize(
    "target", ["msg:sender()", "msg", "conn", "kumo.make_queue_config {}", "msg:from_header()"]
)
def test_objects_are_read_only_and_hide_their_metatable(load: Load, target: str) -> None:
    policy, _ = on_message(
        load, f"local o = {target} kumo.note(pcall(function() o.user = 'x' end)) kumo.note(getmetatable(o))"
    )
    assert policy.notes[0][0] is False
    assert "read-only: cannot set `user`" in policy.notes[0][1]
    assert policy.notes[1] is False


def test_addresses_compare_by_their_text(load: Load) -> None:
    assert noted(
        load,
        "msg:sender() == msg:sender(), msg:sender() == msg:recipient(), msg:sender() == msg:sender().email",
    ) == (
        True,
        False,
        False,
    )


# --- envelope ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recipients", "expected"),
    [
        (("bob@b.example",), ("one: bob@b.example", 1)),
        (("bob@b.example", "eve@e.example"), ("list", 2)),
    ],
)
def test_recipient_is_one_address_or_a_list(load: Load, recipients: tuple[str, ...], expected: Any) -> None:
    assert (
        noted(
            load,
            "msg:recipient().email and 'one: ' .. msg:recipient().email or 'list', #msg:recipient_list()",
            *recipients,
        )
        == expected
    )


@pytest.mark.parametrize("count", [2, 999, 1000, 1001, 2500])
@pytest.mark.parametrize("method", ["recipient", "recipient_list"])
def test_all_of_many_recipients_are_listed_in_their_order(load: Load, method: str, count: int) -> None:
    emails = [f"user{number}@b.example" for number in range(count)]
    policy, _ = on_message(
        load,
        f"for _, address in ipairs(msg:{method}()) do kumo.note(address.email, address.user) end",
        None,
        *emails,
    )
    assert policy.notes == [(email, email.partition("@")[0]) for email in emails]


def test_parts_of_two_addresses_do_not_mix(load: Load) -> None:
    policy = load(
        """
        kumo.on('smtp_server_mail_from', function(sender) kept = sender kumo.note(sender.user) end)
        kumo.on('smtp_server_rcpt_to', function(recipient)
          kumo.note(kept.user, recipient.user, kept.domain, recipient.domain, kept.user)
        end)
        """
    )
    policy.session.on_mail_from(policy.connection(), policy.message(sender="ann@a.example").sender)
    policy.session.on_rcpt_to(policy.connection(), policy.message('"b b"@b.example').recipients[0])
    assert policy.notes == ["ann", ("ann", "b b", "a.example", "b.example", "ann")]


def test_a_message_without_recipients_has_none(load: Load) -> None:
    assert noted(load, "(msg:set_recipient({})), msg:recipient(), #msg:recipient_list()") == (None, None, 0)


@pytest.mark.parametrize(
    ("argument", "emails"),
    [
        ("'new@n.example'", ["new@n.example"]),
        ("msg:sender()", ["ann@a.example"]),
        ("{ 'x@x.example', msg:sender(), 'postmaster' }", ["x@x.example", "ann@a.example", "Postmaster"]),
        ("'zoë@ü.example'", ["zoë@xn--tda.example"]),
        ("{}", []),
    ],
)
def test_recipients_can_be_set(load: Load, argument: str, emails: list[str]) -> None:
    _, message = on_message(load, f"msg:set_recipient({argument})")
    assert [recipient.email for recipient in message.recipients] == emails


def test_the_sender_can_be_set(load: Load) -> None:
    _, message = on_message(load, "msg:set_sender('new@n.example')")
    assert message.sender.email == "new@n.example"
    _, message = on_message(load, "msg:set_sender(msg:recipient())")
    assert message.sender.email == "bob@b.example"
    _, message = on_message(load, "msg:set_sender('')")
    assert message.sender.is_null


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("msg:set_sender(nil)", "set_sender expects an address (string or EnvelopeAddress), not a nil"),
        ("msg:set_sender({})", "set_sender expects an address (string or EnvelopeAddress), not a table"),
        ("msg:set_sender('no address')", "set_sender: 'no address' is not an address"),
        ("msg:set_recipient(7)", "set_recipient expects an address"),
        ("msg:set_recipient({ 7 })", "set_recipient expects an address"),
        ("msg:set_recipient({ a = 'b@c' })", "set_recipient expects an address or an array of addresses"),
        ("msg:set_recipient('a b')", "set_recipient: 'a b' is not an address"),
        ("msg:get_meta(1)", "get_meta expects a string as key, not a number"),
        ("msg:set_meta(nil, 1)", "set_meta expects a string as key, not a nil"),
        ("msg:set_meta('a', print)", "set_meta expects a value that JSON can hold, not a function"),
        ("msg:set_meta('a', msg)", "set_meta expects a value that JSON can hold, not a Message"),
        (
            "msg:set_meta('a', msg:sender())",
            "set_meta expects a value that JSON can hold, not a EnvelopeAddress",
        ),
        ("msg:set_meta('a', { print })", "a Lua function has no JSON form"),
        ("msg:set_meta('a', { 1, nil, 3 })", "a list has keys 1 to n without holes"),
        ("msg:set_data(nil)", "bad argument #1 to 'set_data' (string expected, got nil)"),
        ("msg:prepend_header('a')", "bad argument #2 to 'prepend_header' (string expected, got nil)"),
        ("msg:prepend_header('a b', 'c')", "invalid header name"),
        ("msg:prepend_header('a', 'b\\r\\nBcc: c')", "a line break must be followed by a blank"),
        (
            "msg:import_x_headers('x')",
            "bad argument #1 to 'import_x_headers' (array of strings expected, got string)",
        ),
        (
            "msg:import_x_headers({ {} })",
            "bad argument #1 to 'import_x_headers' (string expected, got table)",
        ),
        (
            "msg:get_all_named_header_values()",
            "bad argument #1 to 'get_all_named_header_values' (string expected, got nil)",
        ),
        ("msg:no_such_method()", "attempt to call a nil value (method 'no_such_method')"),
        ("msg:get_address_header('subject').email", "x"),
    ],
)
def test_wrong_calls_are_errors_that_name_method_and_line(load: Load, call: str, words: str) -> None:
    if words == "x":
        call, words = "local x = msg:get_address_header('subject').email", "not an address list"
    with pytest.raises(PolicyError) as caught:
        on_message(load, call)
    assert words in str(caught.value)
    assert "init.lua:3:" in str(caught.value)


@pytest.mark.parametrize(
    ("meta", "name"),
    [
        ({}, "b.example"),
        ({"tenant": "t", "campaign": "c", "routing_domain": "r.example"}, "c:t@b.example!r.example"),
        ({"queue": "mine €"}, octets_of("mine €")),
    ],
)
def test_the_queue_name_is_computed(load: Load, meta: dict[str, str], name: str) -> None:
    assert noted(load, "msg:queue_name()", **meta) == name


def test_a_queue_name_of_the_wrong_type_is_an_error(load: Load) -> None:
    with pytest.raises(PolicyError, match="meta `tenant` must be a string"):
        on_message(load, "msg:set_meta('tenant', 7) msg:queue_name()")


def test_attempts_are_counted(load: Load) -> None:
    policy, message = on_message(load, "msg:increment_num_attempts() kumo.note(msg:num_attempts())")
    assert policy.notes == [1]
    assert message.num_attempts == 1


# --- meta --------------------------------------------------------------------------------------

VALUES = [
    ("'text'", "text"),
    ("'zoë'", "zoë"),
    ("'\\xff\\x00'", "\udcff\x00"),
    ("7", 7),
    ("7.0", 7.0),
    ("true", True),
    ("false", False),
    ("{ 1, 'b', { c = false } }", [1, "b", {"c": False}]),
    ("{ ['ä'] = 'ö' }", {"ä": "ö"}),
    ("{}", {}),
]


@pytest.mark.parametrize(("lua", "value"), VALUES)
@pytest.mark.parametrize("target", ["msg", "conn"])
def test_meta_keeps_what_json_can_hold(load: Load, target: str, lua: str, value: Any) -> None:
    policy = load(
        f"""
        kumo.on('smtp_server_data', function(msg, conn) {target}:set_meta('ü', {lua}) end)
        kumo.on('smtp_server_message_received', function(msg, conn)
          local v = {target}:get_meta('ü')
          kumo.note(type(v), math.type(v), type(v) == 'table' and kumo.json_encode(v) or v)
        end)
        """
    )
    message, connection = policy.message(), policy.connection()
    policy.reception.on_data(message, connection)
    meta = message.meta if target == "msg" else connection.meta
    assert meta == {"ü": value}
    assert type(meta["ü"]) is type(value)
    policy.reception.on_message_received(message, connection)
    kind, number, shown = policy.notes[0]
    assert kind == {str: "string", int: "number", float: "number", bool: "boolean"}.get(type(value), "table")
    assert number == {int: "integer", float: "float"}.get(type(value))
    if kind == "string":
        assert shown == octets_of(value)


@pytest.mark.parametrize("target", ["msg", "conn"])
@pytest.mark.parametrize("value", ["nil", "0/0", "1/0"])
def test_nil_and_numbers_without_json_form_clear_a_key(load: Load, target: str, value: str) -> None:
    policy, message = on_message(
        load, f"{target}:set_meta('k', {value}) kumo.note({target}:get_meta('k'))", k=1
    )
    assert policy.notes == [None]
    assert ("k" in message.meta) is (target == "conn")


def test_absent_and_null_meta_are_nil(load: Load) -> None:
    assert noted(load, "msg:get_meta('absent'), msg:get_meta('null'), conn:get_meta('null')", null=None) == (
        None,
        None,
        None,
    )


def test_tables_from_meta_are_copies(load: Load) -> None:
    policy, message = on_message(
        load,
        "local t = msg:get_meta('list') t[1] = 'changed' kumo.note(msg:get_meta('list')[1], #t)",
        list=["a", "b"],
    )
    assert policy.notes == [("a", 2)]
    assert message.meta["list"] == ["a", "b"]


def test_a_tuple_in_meta_is_an_array(load: Load) -> None:
    assert noted(load, "conn:get_meta('names')[2]", names=("CN=a", "O=b")) == "O=b"


def test_auth_info_tells_peer_and_identities(load: Load) -> None:
    body = """
    local a = conn:auth_info()
    local first, second = a.identities[1] or {}, a.identities[2] or {}
    kumo.note(a.peer_address, #a.identities, #a.groups, first.identity, second.context)
    """
    policy = load(f"kumo.on('smtp_server_connection_accepted', function(conn) {body} end)")
    connection = policy.connection(authn_id="ann", authz_id="bob")
    policy.session.on_connection_accepted(connection)
    connection.is_authenticated = True
    policy.session.on_connection_accepted(connection)
    assert policy.notes == [
        ("192.0.2.7", 0, 0, None, None),
        ("192.0.2.7", 2, 0, "ann", "SmtpAuthPlainAuthorization"),
    ]


# --- content -----------------------------------------------------------------------------------


def test_data_is_octets_both_ways(load: Load) -> None:
    policy = load(
        "kumo.on('smtp_server_data', function(msg)"
        " local d = msg:get_data() kumo.note(#d, d:byte(1), d:byte(2))"
        " msg:set_data(d .. '\\xfe\\0') end)"
    )
    message = policy.message(body=b"\xff\x00x")
    message.prepend(b"A: b\r\n")
    policy.reception.on_data(message, policy.connection())
    assert policy.notes == [(9, 65, 58)]
    assert message.content == b"A: b\r\n\xff\x00x\xfe\x00"


HEADER_CALLS = [
    ("msg:get_first_named_header_value('SUBJECT')", "one"),
    ("msg:get_first_named_header_value('x-two')", "b"),
    ("msg:get_first_named_header_value('trace')", "head"),
    ("msg:get_first_named_header_value('none')", None),
    ("table.concat(msg:get_all_named_header_values('X-Two'), '|')", "b|c"),
    ("#msg:get_all_named_header_values('none')", 0),
    ("#msg:get_all_headers()", 6),
    ("msg:get_all_headers()[1][1], msg:get_all_headers()[1][2]", ("Trace", "head")),
    ("msg:get_all_headers()[2][1], msg:get_all_headers()[2][2]", ("Subject", "one")),
    ("msg:from_header().email", "ann@a.example"),
    ("msg:from_header().name", "Ann"),
    ("msg:from_header().user, msg:from_header().domain", ("ann", "a.example")),
    ("msg:get_address_header('from').list[1].address", "ann@a.example"),
    ("tostring(msg:from_header())", '[{"name":"Ann","address":"ann@a.example"}]'),
    ("msg:to_header()", None),
    ("msg:get_address_header('none')", None),
    ("msg:from_header().other", None),
]


@pytest.mark.parametrize(("expression", "value"), HEADER_CALLS)
@pytest.mark.parametrize("is_stored", [False, True])
async def test_header_fields_are_found_in_what_was_prepended_and_in_the_body(
    make_policy: Callable[..., Any], expression: str, value: Any, is_stored: bool
) -> None:
    contents: dict[str, bytes] = {}

    async def load_content(message: Message) -> None:
        await asyncio.sleep(0)
        message.set_content(contents[message.id])

    policy = make_policy(load_content=load_content).load(
        f"kumo.on('spool_message_enumerated', function(msg) kumo.note({expression}) end)"
    )
    message = policy.message()
    message.prepend(b"Trace: head\r\n")
    if is_stored:
        contents[message.id] = b"".join(message.segments)
        message.is_stored = True
        message.shrink()
    result = policy.storage.on_spool_message_enumerated(message)
    if is_stored:
        await result
    assert policy.notes == [value]


def test_looking_at_header_fields_copies_no_body(load: Load) -> None:
    policy = load(
        "kumo.on('smtp_server_data', function(msg)"
        " msg:get_first_named_header_value('subject') msg:get_all_headers() msg:from_header()"
        " msg:import_x_headers() msg:remove_x_headers({'none'}) msg:remove_all_named_headers('none')"
        " msg:prepend_header('New', 'field') msg:remove_all_named_headers('trace') end)"
    )
    message = policy.message()
    message.prepend(b"Trace: head\r\n")
    body = message.segments[1]
    policy.reception.on_data(message, policy.connection())
    head, kept = message.segments
    assert kept is body
    assert head == b"New: field\r\n"


@pytest.mark.parametrize(
    ("call", "content"),
    [
        ("msg:prepend_header('X-A', 'b')", b"X-A: b\r\nTrace: head\r\nSubject: one\r\n\r\nbody"),
        ("msg:prepend_header('X-A', 7)", b"X-A: 7\r\nTrace: head\r\nSubject: one\r\n\r\nbody"),
        ("msg:prepend_header('X-A', 'b\\r\\n')", b"X-A: b\r\nTrace: head\r\nSubject: one\r\n\r\nbody"),
        ("msg:prepend_header('X-A', 'zoë')", "X-A: zoë\r\nTrace: head\r\nSubject: one\r\n\r\nbody".encode()),
        (
            "msg:prepend_header('X-A', 'zoë', true)",
            b"X-A: =?UTF-8?q?zo=C3=AB?=\r\nTrace: head\r\nSubject: one\r\n\r\nbody",
        ),
        ("msg:append_header('X-A', 'b')", b"Trace: head\r\nSubject: one\r\nX-A: b\r\n\r\nbody"),
        ("msg:remove_all_named_headers('subject')", b"Trace: head\r\n\r\nbody"),
        ("msg:remove_all_named_headers('trace')", b"Subject: one\r\n\r\nbody"),
        ("msg:set_data('x')", b"x"),
        ("msg:remove_x_headers({ 'subject' })", b"Trace: head\r\n\r\nbody"),
    ],
)
@pytest.mark.parametrize("is_stored", [False, True])
async def test_header_fields_can_be_changed(
    make_policy: Callable[..., Any], call: str, content: bytes, is_stored: bool
) -> None:
    async def load_content(message: Message) -> None:
        message.set_content(b"Trace: head\r\nSubject: one\r\n\r\nbody")

    policy = make_policy(load_content=load_content).load(
        f"kumo.on('spool_message_enumerated', function(msg) {call} kumo.sleep(0) end)"
    )
    message = policy.message(body=None if is_stored else b"Subject: one\r\n\r\nbody")
    if not is_stored:
        message.prepend(b"Trace: head\r\n")
    await policy.storage.on_spool_message_enumerated(message)
    assert message.content.lower() == content.lower()


def test_append_without_an_end_of_the_header_is_an_error(load: Load) -> None:
    policy = load("kumo.on('smtp_server_data', function(msg) msg:append_header('a', 'b') end)")
    with pytest.raises(PolicyError, match="append_header could not find the end of the header block"):
        policy.reception.on_data(policy.message(body=b"Subject: x\r\n"), policy.connection())


@pytest.mark.parametrize(
    ("call", "meta"),
    [
        ("msg:import_x_headers()", {"x_tenant": "t1", "x_two": "c"}),
        ("msg:import_x_headers(nil)", {"x_tenant": "t1", "x_two": "c"}),
        ("msg:import_x_headers({ 'X-Two', 'Subject' })", {"x_two": "c", "subject": "one"}),
        ("msg:import_x_headers({})", {}),
    ],
)
def test_header_fields_are_imported_into_meta(load: Load, call: str, meta: dict[str, str]) -> None:
    _, message = on_message(load, call)
    assert message.meta == meta


def test_x_fields_are_removed(load: Load) -> None:
    _, message = on_message(load, "msg:remove_x_headers()")
    assert message.content == b"Subject: one\r\nFrom: Ann <ann@a.example>\r\n\r\nbody\r\n"


@pytest.mark.parametrize("call", ["user", "domain", "email", "name"])
def test_an_address_field_with_two_mailboxes_has_no_single_parts(load: Load, call: str) -> None:
    policy = load(
        "kumo.on('smtp_server_data', function(msg) kumo.note(#msg:from_header().list)"
        f" return msg:from_header().{call} end)"
    )
    message = policy.message(body=b"From: a@a.example, b@b.example\r\n\r\n")
    with pytest.raises(PolicyError, match=r"init\.lua:2: is not a simple single address"):
        policy.reception.on_data(message, policy.connection())
    assert policy.notes == [2]


async def test_content_that_nobody_can_load_is_an_error(load: Load) -> None:
    policy = load("kumo.on('spool_message_enumerated', function(msg) return msg:get_data() end)")
    message = policy.message(body=None)
    with pytest.raises(PolicyError, match=f"the content of message {message.id} is not in memory"):
        await policy.storage.on_spool_message_enumerated(message)


# --- life time ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "noun"),
    [("kept:id()", "message"), ("kept_conn:get_meta('x')", "connection"), ("kept:get_data()", "message")],
)
def test_an_object_kept_past_its_event_says_so(load: Load, call: str, noun: str) -> None:
    policy = load(
        f"""
        kumo.on('smtp_server_data', function(msg, conn) kept = msg kept_conn = conn end)
        kumo.on('x', function() return {call} end)
        """
    )
    policy.reception.on_data(policy.message(), policy.connection())
    with pytest.raises(PolicyError, match=f"this {noun} belongs to an event that is over"):
        policy.engine.call("x")


@pytest.mark.parametrize("ending", ["", "error('x')", "kumo.reject(550, 'x')"])
def test_nothing_of_an_event_stays_however_it_ends(load: Load, ending: str) -> None:
    policy = load(f"kumo.on('smtp_server_data', function(msg, conn) kept = msg {ending} end)")
    state = policy.engine.handlers["smtp_server_data"].state
    with contextlib.suppress(KumoError):
        policy.reception.on_data(policy.message(), policy.connection())
    assert (len(state.messages), len(state.connections), state.active) == (0, 0, 0)


@pytest.mark.parametrize(
    ("arguments", "recipients"),
    [
        ("'a@a.example', 'b@b.example', 'Subject: x\\r\\n\\r\\n'", ["b@b.example"]),
        (
            "msg:sender(), { msg:recipient(), 'c@c.example' }, msg:get_data()",
            ["bob@b.example", "c@c.example"],
        ),
    ],
)
def test_policy_can_make_messages(load: Load, arguments: str, recipients: list[str]) -> None:
    policy, _ = on_message(
        load,
        f"""
        local m = kumo.make_message({arguments})
        m:set_meta('x', {{ 1 }})
        m:prepend_header('X-A', 'b')
        local emails = {{}}
        for i, r in ipairs(m:recipient_list()) do emails[i] = r.email end
        local header = m:get_first_named_header_value('x-a')
        kumo.note(#m:id(), table.concat(emails, ','), m:get_meta('x')[1], header, type(m))
        """,
    )
    assert policy.notes == [(32, ",".join(recipients), 1, "b", "table")]


def test_messages_that_policy_made_are_forgotten_once_lua_has_collected_them(load: Load) -> None:
    policy = load(
        """
        kumo.on('make', function() kept = kumo.make_message('', 'b@b.example', 'x') end)
        kumo.on('use', function() return kept:id() end)
        kumo.on('drop', function() kept = nil collectgarbage() collectgarbage() end)
        """
    )
    policy.engine.call("make")
    state = policy.engine.handlers["make"].state
    assert len(policy.engine.call("use")) == 32
    assert len(state.messages) == 1
    for _ in range(16):
        policy.engine.call("drop")
    assert len(state.messages) == 0


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("kumo.make_message(nil, 'b@b.example', 'x')", "kumo.make_message expects an address"),
        ("kumo.make_message('', 7, 'x')", "kumo.make_message expects an address"),
        (
            "kumo.make_message('', 'b@b.example')",
            "bad argument #3 to 'kumo.make_message' (string expected, got nil)",
        ),
        ("kumo.make_message('a b', 'b@b.example', '')", "kumo.make_message: 'a b' is not an address"),
    ],
)
def test_wrong_messages_are_refused(load: Load, call: str, words: str) -> None:
    with pytest.raises(PolicyError) as caught:
        load(call)
    assert words in str(caught.value)


def test_a_config_object_can_be_indexed_measured_and_iterated(load: Load) -> None:
    policy = load(
        """
        local c = kumo.make_queue_config { max_age = '2 days', egress_pool = 'p' }
        local keys = {}
        for k in pairs(c) do keys[#keys + 1] = k end
        table.sort(keys)
        kumo.note(c.egress_pool, c.max_age, c.nothing, table.concat(keys, ','), #c, tostring(c), type(c))
        """
    )
    assert policy.notes == [("p", "2days", None, "egress_pool,max_age", 0, "kumo.make_queue_config", "table")]


def test_a_config_object_is_a_parameter_again(load: Load) -> None:
    policy = load(
        "local c = kumo.make_queue_config { max_age = 5 }"
        " kumo.on('get_queue_config', function() return kumo.make_queue_config(c) end)"
    )
    assert policy.queues.get_queue_config("d", None, None, None).max_age == 5


def test_what_a_config_object_stands_for_goes_with_it(load: Load) -> None:
    policy = load(
        """
        kumo.on('get_queue_config', function() return kumo.make_queue_config { max_age = 5 } end)
        kumo.on('collect', function() collectgarbage() collectgarbage() end)
        """
    )
    for _ in range(10):
        policy.queues.get_queue_config("d", None, None, None)
    gc.collect()
    for _ in range(32):
        policy.engine.call("collect")
    assert len(policy.engine.handlers["collect"].state._objects) == 0


def test_all_of_many_objects_are_forgotten_at_once(make_policy: Callable[..., Any]) -> None:
    policy = make_policy(limits=Limits(handler_seconds=60)).load(
        """
        kumo.on('make', function() for i = 1, 25000 do kumo.make_message('', 'b@b.example', 'x') end end)
        kumo.on('collect', function() collectgarbage() collectgarbage() end)
        """
    )
    state = policy.engine.handlers["make"].state
    policy.engine.call("make")
    policy.engine.call("collect")
    state.tidy("collect")
    assert (len(state.messages), len(state._objects)) == (0, 0)


@pytest.mark.parametrize("earlier", [0, 1])
def test_objects_are_forgotten_whatever_the_rhythm_in_which_they_are_made(load: Load, earlier: int) -> None:
    policy = load(
        """
        kumo.on('x', function() end)
        kumo.on('get_queue_config', function()
          collectgarbage()
          return kumo.make_queue_config { max_age = 5 }
        end)
        """
    )
    for _ in range(earlier):
        policy.engine.call("x")
    for _ in range(200):
        policy.queues.get_queue_config("d", None, None, None)
    assert len(policy.engine.handlers["x"].state._objects) <= 32


# --- what Lua may hand over --------------------------------------------------------------------

FOREIGN = [
    "(function() end)()",
    "nil",
    "'text'",
    "7",
    "7.0",
    "true",
    "{}",
    "{ 7 }",
    "{ {} }",
    "print",
    "io.stdout",
    "address",
]


@pytest.mark.parametrize("target", ["msg", "conn"])
@pytest.mark.parametrize("foreign", [*FOREIGN, "other", "forged"])
def test_every_method_refuses_a_foreign_self_and_says_how_it_is_called(
    load: Load, target: str, foreign: str
) -> None:
    policy, _ = on_message(
        load,
        f"""
        local other = {"conn" if target == "msg" else "msg"}
        local address = msg:sender()
        local forged = debug.setmetatable({{ {{}} }}, debug.getmetatable({target}))
        for name, method in pairs(debug.getmetatable({target}).__index) do
          local ok, e = pcall(method, {foreign})
          if not tostring(e):find('is not implemented', 1, true) then kumo.note(name, ok, tostring(e)) end
        end
        """,
    )
    assert {name for name, _, _ in policy.notes} >= {"get_meta", "set_meta"}
    assert len(policy.notes) == (3 if target == "conn" else 24)
    for name, ok, text in policy.notes:
        assert not ok
        assert f"{name} expects a " in text
        assert text.endswith(": call it with a colon")


@pytest.mark.parametrize("target", ["msg", "conn", "msg:sender()"])
def test_what_policy_writes_into_an_object_does_not_reach_the_host(load: Load, target: str) -> None:
    policy, _ = on_message(
        load,
        f"""
        local o = {target}
        for key in next, o do rawset(o, key, {{}}) end
        kumo.make_message('', 'b@b.example', 'x')
        kumo.note(pcall(msg.get_meta, msg, 'a') , pcall(conn.get_meta, conn, 'a'))
        kumo.note(pcall(msg.set_sender, msg, o))
        """,
        a="kept",
    )
    assert policy.notes[0][-1] == "kept"
    assert policy.notes[1][0] is False
    assert "set_sender expects an address (string or EnvelopeAddress), not a " in policy.notes[1][1]


def test_objects_of_handlers_that_run_at_the_same_time_stay_apart(load: Load) -> None:
    policy = load(
        """
        local function swap(msg, conn)
          kept = kept or {}
          kept[#kept + 1] = { msg, conn }
          if #kept < 2 then return kumo.gate('g') end
          for _, pair in ipairs(kept) do kumo.note(pair[1]:get_meta('n'), pair[2]:get_meta('n')) end
        end
        kumo.on('smtp_server_data', swap)
        """
    )

    async def both() -> None:
        first = policy.reception.on_data(policy.message(n=1), policy.connection(n=10))
        task = asyncio.ensure_future(first)
        await asyncio.sleep(0)
        policy.reception.on_data(policy.message(n=2), policy.connection(n=20))
        policy.open_gate("g")
        await task

    asyncio.run(both())
    assert policy.notes == [(1, 10), (2, 20)]


@pytest.mark.parametrize("surplus", ["{}", "print", "msg"])
def test_surplus_arguments_are_ignored(load: Load, surplus: str) -> None:
    calls = f"#msg:get_data({surplus}), msg:id({surplus}) == msg:id(), msg:get_meta('k', {surplus})"
    assert noted(load, calls, k="v")[1:] == (True, "v")
