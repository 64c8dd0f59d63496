"""KumoMTA's events: which may have several handlers, which this version fires, which are known at all.

Any name may be given to ``kumo.on``; ``unknown_event_warning`` is what makes a typo visible.
"""

from __future__ import annotations

import difflib

MULTIPLE_EVENTS = frozenset(
    {
        "pre_init",
        "validate_config",
        "get_queue_config",
        "throttle_insert_ready_queue",
        "requeue_message",
        "should_enqueue_log_record",
        "get_acl_definition",
    }
)
"""Events whose handlers are asked one after the other; every other event has one handler."""

FIRED_EVENTS = frozenset(
    {
        "pre_init",
        "init",
        "validate_config",
        "smtp_server_get_dynamic_parameters",
        "smtp_server_connection_accepted",
        "smtp_server_ehlo",
        "smtp_server_auth_plain",
        "smtp_server_mail_from",
        "get_listener_domain",
        "smtp_server_rcpt_to",
        "smtp_server_data",
        "smtp_server_split_transaction",
        "smtp_server_message_received",
        "smtp_server_message_deferred_inject",
        "smtp_server_rewrite_response",
        "spool_message_enumerated",
        "get_queue_config",
    }
)
"""Events that this version fires."""

KNOWN_EVENTS = (
    FIRED_EVENTS
    | MULTIPLE_EVENTS
    | frozenset(
        {
            "get_egress_path_config",
            "get_egress_pool",
            "get_egress_source",
            "http_message_generated",
            "http_server_validate_auth_basic",
            "http_server_validate_auth_bearer",
            "main",
            "proxy_init",
            "proxy_server_auth_rfc1929",
            "rebind_message",
            "shutdown_logging",
            "smtp_client_rewrite_delivery_status",
            "tsa_init",
            "tsa_load_shaping_data",
            "xfer_message_received",
        }
    )
)
"""Events of KumoMTA, fired by this version or not."""

_HOOK_PREFIX = "log_disposition_"


def unknown_event_warning(name: str) -> str | None:
    """What to say at start about a handler for ``name``; None when the name is one of KumoMTA's."""
    if name in KNOWN_EVENTS or name.startswith(_HOOK_PREFIX):
        return None
    text = f"a handler is registered for `{name}`, which is no event of KumoMTA"
    nearest = nearest_event(name)
    return (
        f"{text}; did you mean `{nearest}`?"
        if nearest
        else f"{text}; only the policy's own calls can fire it"
    )


def nearest_event(name: str, similarity: float = 0.6) -> str | None:
    """The event of KumoMTA that a name is probably meant to be; None when none is near.

    Args:
        name: of the event.
        similarity: what counts as near, from 0 to 1, where only the same is.
    """
    nearest = difflib.get_close_matches(name, sorted(KNOWN_EVENTS), n=1, cutoff=similarity)
    return nearest[0] if nearest else None


def unfired_event_warning(name: str) -> str | None:
    """What to say at start about a handler for an event of KumoMTA that this version never fires."""
    if name in FIRED_EVENTS or name not in KNOWN_EVENTS:
        return None
    return f"a handler is registered for `{name}`, which this version does not fire yet"
