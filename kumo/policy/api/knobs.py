"""Tuning functions that example policies call.

kumo has no Lua pool and no thread pools to size, so most of these only check their argument and remember it
in ``Declarations.knobs``, for ``kumo/server.py`` to use what it can.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kumo.config import Unsigned, parse_throttle
from kumo.health import MemoryLimits, memory_overrides, sample_memory
from kumo.policy.api.arguments import (
    ANYTHING,
    BOOLEAN,
    COUNT,
    NUMBER,
    TABLE,
    TEXT,
    Parameter,
    lua_function,
    optional,
)
from kumo.policy.call_error import refusing
from kumo.policy.convert import convert
from kumo.policy.readers import did_you_mean
from kumo.policy.registry import HostFunction, PolicyContext

_SETTERS: tuple[tuple[str, Parameter], ...] = (
    ("set_httpinject_threads", COUNT),
    ("set_logging_threads", COUNT),
    ("set_qmaint_threads", COUNT),
    ("set_ready_qmaint_threads", COUNT),
    ("set_readyq_threads", COUNT),
    ("set_smtpsrv_threads", COUNT),
    ("set_spoolin_threads", COUNT),
    ("dkim.set_signing_threads", COUNT),
    ("set_max_lua_context_age", NUMBER),
    ("set_max_lua_context_use_count", COUNT),
    ("set_max_spare_lua_contexts", COUNT),
    ("set_lua_gc_on_put", NUMBER),
    ("set_memory_hard_limit", COUNT),
    ("set_memory_soft_limit", COUNT),
    ("set_memory_low_thresh", COUNT),
    ("enable_memory_callstack_tracking", BOOLEAN),
    ("suspend_delivery_when_spool_unhealthy", BOOLEAN),
    ("set_timeq_spawn_reinsertion", ANYTHING),
    ("set_diagnostic_log_filter", TEXT),
)
BUILTIN_CACHES = frozenset(
    {
        "acl_check",
        "acl_definition",
        "dkim_key_cache",
        "dkim_signer_cache",
        "dns_resolver_ip",
        "dns_resolver_ipv4",
        "dns_resolver_ipv6",
        "dns_resolver_mx",
        "egress_source_pools",
        "egress_source_sources",
        "http_server_auth",
        "mod_filesystem_glob_cache",
        "mta_sts_policy",
        "rustls_client_config",
        "smtp_dispatcher_broken_tls",
        "smtp_dispatcher_client_certificate",
        "smtp_server_tls_config",
    }
)
"""KumoMTA's pre-defined caches; ``kumo.memoize`` may not use their names."""

_GETTERS: tuple[tuple[str, Callable[[MemoryLimits], int]], ...] = (
    ("memory_hard_limit", lambda limits: limits.hard),
    ("memory_soft_limit", lambda limits: limits.soft),
    ("memory_low_thresh", lambda limits: limits.low),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadPool:
    """What ``kumo.spawn_thread_pool`` is told; kumo starts none."""

    name: str
    num_threads: Unsigned = 1


def _setter(name: str, parameter: Parameter) -> HostFunction:
    @lua_function(name, parameter)
    def remember(context: PolicyContext, value: Any) -> None:
        context.declarations.knobs[name] = value

    return remember


def _getter(name: str, read: Callable[[MemoryLimits], int]) -> HostFunction:
    @lua_function(f"get_{name}")
    def recall(context: PolicyContext) -> int:
        knobs = context.declarations.knobs
        overrides = memory_overrides(
            os.environ,
            hard=knobs.get("set_memory_hard_limit"),
            soft=knobs.get("set_memory_soft_limit"),
            low=knobs.get("set_memory_low_thresh"),
        )
        return read(sample_memory(overrides).limits)

    return recall


@lua_function("available_parallelism", scalar_only=True)
def available_parallelism(_context: PolicyContext) -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))


def _cache_name(value: Any) -> str:
    name: str = TEXT.read(value)
    if name in BUILTIN_CACHES:
        return name
    hint = did_you_mean(name, BUILTIN_CACHES)
    raise ValueError(f"there is no cache `{name}`" + (f"; {hint}" if hint else ""))


@lua_function("set_lruttl_cache_capacity", TEXT._replace(read=_cache_name), COUNT)
def set_lruttl_cache_capacity(context: PolicyContext, name: str, capacity: int) -> None:
    """Remember the capacity of a cache by KumoMTA's name; kumo's caches have fixed bounds."""
    context.declarations.knobs.setdefault("set_lruttl_cache_capacity", {})[name] = capacity


@lua_function("set_httpinject_recipient_rate_limit", optional(TEXT))
def set_httpinject_recipient_rate_limit(context: PolicyContext, spec: str | None) -> None:
    """Remember the rate of injection over HTTP; nil lifts it.

    Raises:
        CallError: no throttle specification.
    """
    context.declarations.knobs["set_httpinject_recipient_rate_limit"] = (
        None if spec is None else refusing(parse_throttle)(spec)
    )


@lua_function("spawn_thread_pool", TABLE)
def spawn_thread_pool(context: PolicyContext, parameters: Any) -> None:
    """Check the parameters of a thread pool.

    Raises:
        ConfigError: bad parameters.
    """
    pool = convert(parameters, ThreadPool, constructor="kumo.spawn_thread_pool", source=context.source())
    context.declarations.knobs.setdefault("spawn_thread_pool", {})[pool.name] = pool.num_threads


FUNCTIONS = (
    available_parallelism,
    set_lruttl_cache_capacity,
    set_httpinject_recipient_rate_limit,
    spawn_thread_pool,
    *(_setter(name, parameter) for name, parameter in _SETTERS),
    *(_getter(name, read) for name, read in _GETTERS),
)
