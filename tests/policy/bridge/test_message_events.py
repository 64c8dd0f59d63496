"""The events of messages and queues: their arguments, what their results mean, which results are wrong."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from kumo.config import MaildirProtocol, QueueConfig
from kumo.errors import PolicyError, Rejection
from kumo.queue.interfaces import QueuePolicy
from kumo.reception.interfaces import ReceptionPolicy

Load = Callable[[str], Any]


def test_the_adapters_fit_reception_and_queue(load: Load) -> None:
    policy = load("")
    reception: ReceptionPolicy = policy.reception
    queues: QueuePolicy = policy.queues
    message, connection = policy.message(), policy.connection()
    assert reception.on_data(message, connection) is None
    assert reception.on_split_transaction(message, connection) is None
    assert reception.on_message_received(message, connection) is None
    assert queues.get_queue_config("d", None, None, None) == QueueConfig()
    assert queues.on_message_deferred_inject(message, connection) is None
    assert policy.storage.on_spool_message_enumerated(message) is None


FIRE: dict[str, Callable[[Any, Any, Any], Any]] = {
    "smtp_server_data": lambda p, m, c: p.reception.on_data(m, c),
    "smtp_server_message_received": lambda p, m, c: p.reception.on_message_received(m, c),
    "smtp_server_split_transaction": lambda p, m, c: p.reception.on_split_transaction(m, c),
    "smtp_server_message_deferred_inject": lambda p, m, c: p.queues.on_message_deferred_inject(m, c),
    "spool_message_enumerated": lambda p, m, _: p.storage.on_spool_message_enumerated(m),
}


@pytest.mark.parametrize("event", FIRE)
@pytest.mark.parametrize("is_slow", [False, True])
async def test_each_event_gets_the_message_and_may_refuse_and_fail(
    load: Load, event: str, is_slow: bool
) -> None:
    policy = load(
        f"""
        kumo.on('{event}', function(msg, conn)
          {"kumo.sleep(0)" if is_slow else ""}
          local how = msg:get_meta('how')
          kumo.note(msg:id(), conn and conn:get_meta('who'))
          if how == 'reject' then kumo.reject(550, 'no') end
          if how == 'fail' then error('broken') end
        end)
        """
    )

    async def fire(how: str) -> Any:
        message = policy.message(how=how)
        result = FIRE[event](policy, message, policy.connection(who="peer"))
        if is_slow:
            result = await result
        assert policy.notes[-1] == (message.id, None if event == "spool_message_enumerated" else "peer")
        return result

    assert await fire("pass") is None
    with pytest.raises(Rejection, match="550 no"):
        await fire("reject")
    with pytest.raises(PolicyError, match=rf"{event}: .*broken"):
        await fire("fail")


@pytest.mark.parametrize("returned", ["true", "7", "{}", "nil, 1", "msg"])
@pytest.mark.parametrize("event", [event for event in FIRE if event != "smtp_server_split_transaction"])
@pytest.mark.parametrize("is_slow", [False, True])
async def test_what_is_returned_for_an_event_without_result_is_dropped(
    load: Load, event: str, returned: str, is_slow: bool
) -> None:
    policy = load(
        f"kumo.on('{event}', function(msg) {'kumo.sleep(0)' if is_slow else ''} return {returned} end)"
    )
    result = FIRE[event](policy, policy.message(), policy.connection())
    assert (await result if is_slow else result) is None


@pytest.mark.parametrize("is_slow", [False, True])
@pytest.mark.parametrize(
    ("returned", "batches"),
    [
        ("nil", None),
        ("{}", []),
        (
            "{ { 'bob@b.example' }, { 'Eve@e.example', 'z@z.example' } }",
            [["bob@b.example"], ["Eve@e.example", "z@z.example"]],
        ),
        ("{ msg:recipient_list() }", [["bob@b.example", "Eve@e.example"]]),
        ("{ { msg:recipient_list()[2] }, {} }", [["Eve@e.example"], []]),
        ("{ { 'zoë@ü.example', 'postmaster' } }", [["zoë@xn--tda.example", "Postmaster"]]),
    ],
)
async def test_a_transaction_may_be_split(
    load: Load, returned: str, batches: list[list[str]] | None, is_slow: bool
) -> None:
    policy = load(
        "kumo.on('smtp_server_split_transaction', function(msg)"
        f" {'kumo.sleep(0)' if is_slow else ''} return {returned} end)"
    )
    message = policy.message("bob@b.example", "Eve@e.example")
    result = policy.reception.on_split_transaction(message, policy.connection())
    if is_slow:
        result = await result
    assert (result and [[address.email for address in batch] for batch in result]) == batches


def test_the_messages_own_addresses_are_not_parsed_again(load: Load) -> None:
    policy = load(
        "kumo.on('smtp_server_split_transaction', function(msg) return { { msg:recipient() } } end)"
    )
    message = policy.message("bob@b.example")
    ((address,),) = policy.reception.on_split_transaction(message, policy.connection())
    assert address is message.recipients[0]


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        ("7", "must return nil or an array of arrays of addresses, not a number"),
        ("'bob@b.example'", "not a string"),
        ("{ 'bob@b.example' }", "not an array of single addresses"),
        ("{ msg:recipient() }", "not an array of single addresses"),
        ("{ ['b.example'] = { 'bob@b.example' } }", "not a table with key b.example"),
        ("{ { 'bob@b.example' }, x = 1 }", "not a table with key x"),
        ("{ { 7 } }", "not an array with a number in place of an address"),
        ("{ { 'no address' } }", "returned 'no address', which is no address"),
    ],
)
def test_a_split_of_another_type_is_an_error_that_says_what_was_expected(
    load: Load, returned: str, words: str
) -> None:
    policy = load(f"kumo.on('smtp_server_split_transaction', function(msg) return {returned} end)")
    with pytest.raises(PolicyError) as caught:
        policy.reception.on_split_transaction(policy.message(), policy.connection())
    assert "smtp_server_split_transaction" in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize("is_slow", [False, True])
async def test_get_queue_config_gets_the_names_and_gives_the_object(load: Load, is_slow: bool) -> None:
    policy = load(
        f"""
        kumo.on('get_queue_config', function(...)
          {"kumo.sleep(0)" if is_slow else ""}
          kumo.note(select('#', ...), ...)
          local protocol = {{ maildir_path = '/m/{{{{ user }}}}' }}
          return kumo.make_queue_config {{ max_age = '1h', protocol = protocol }}
        end)
        """
    )
    result = policy.queues.get_queue_config("b.example", None, "ü", None)
    config = await result if is_slow else result
    assert policy.notes == [(4, "b.example", None, "ü".encode().decode("latin-1"), None)]
    assert config == QueueConfig(max_age=3600.0, protocol=MaildirProtocol(maildir_path="/m/{{ user }}"))


def test_handlers_are_asked_in_order_until_one_gives_a_config(load: Load) -> None:
    policy = load(
        """
        kumo.on('get_queue_config', function() kumo.note(1) end)
        kumo.on('get_queue_config', function() kumo.note(2) return nil end)
        kumo.on('get_queue_config', function() kumo.note(3) return kumo.make_queue_config { max_age = 3 } end)
        kumo.on('get_queue_config', function() kumo.note(4) return kumo.make_queue_config { max_age = 4 } end)
        """
    )
    assert policy.queues.get_queue_config("d", None, None, None).max_age == 3
    assert policy.notes == [1, 2, 3]


def test_when_no_handler_gives_a_config_it_is_the_default(load: Load) -> None:
    policy = load("kumo.on('get_queue_config', function() return nil end)")
    assert policy.queues.get_queue_config("d", None, None, None) == QueueConfig()


@pytest.mark.parametrize(
    ("returned", "kind"),
    [("{ max_age = 3 }", "table"), ("{}", "table"), ("7", "int"), ("false", "bool"), ("print", "function")],
)
def test_anything_else_than_the_object_names_the_constructor(load: Load, returned: str, kind: str) -> None:
    policy = load(f"kumo.on('get_queue_config', function() return {returned} end)")
    with pytest.raises(
        PolicyError,
        match=f"get_queue_config must return nil or an object made by kumo.make_queue_config, not a {kind}",
    ):
        policy.queues.get_queue_config("d", None, None, None)


def test_a_bad_parameter_in_a_handler_is_a_policy_error(load: Load) -> None:
    policy = load(
        "kumo.on('get_queue_config', function()\nreturn kumo.make_queue_config { nonsense = 1 }\nend)"
    )
    with pytest.raises(PolicyError, match=r"^get_queue_config: [^:]*/init\.lua:2: kumo\.make_queue_config: "):
        policy.queues.get_queue_config("d", None, None, None)


@pytest.mark.parametrize("is_slow", [False, True])
@pytest.mark.parametrize(
    ("returned", "answer"), [("true", True), ("false", False), ("", False), ("nil", False), ("1", True)]
)
async def test_a_log_filter_is_asked(load: Load, returned: str, answer: bool, is_slow: bool) -> None:
    policy = load(
        f"kumo.on('mine', function(msg) {'kumo.sleep(0)' if is_slow else ''}"
        f" kumo.note(msg:id()) return {returned} end)"
    )
    message = policy.message()
    for _ in range(2):
        result = policy.storage.should_log("mine", message)
        assert (await result if is_slow else result) is answer
    assert policy.notes == [message.id] * 2


def test_a_log_filter_without_handler_logs_everything_and_is_warned_of_once(
    load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    policy = load("")
    with caplog.at_level(logging.WARNING, "kumod.policy"):
        assert [policy.storage.should_log("mine", policy.message()) for _ in range(3)] == [True] * 3
    assert [record.getMessage() for record in caplog.records] == [
        "filter_event `mine` has no handler: everything is logged"
    ]


def test_a_log_filter_follows_a_reload(load: Load) -> None:
    policy = load("kumo.on('mine', function(msg) return true end)")
    assert policy.storage.should_log("mine", policy.message())
    policy.write("kumo.on('mine', function(msg) return msg:sender().user == 'nobody' end)")
    policy.engine.reload()
    assert not policy.storage.should_log("mine", policy.message())
