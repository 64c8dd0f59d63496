"""KumoMTA's names below ``kumo``: each is there, or says that it is not there yet."""

from __future__ import annotations

from pathlib import Path

import pytest

from kumo.errors import PolicyError
from kumo.policy import VERSION, PolicyEngine

WORKS = [
    "on",
    "reject",
    "disconnect",
    "version",
    "make_message",
    "define_spool",
    "start_http_listener",
    "start_esmtp_listener",
    "configure_local_logs",
    "configure_accounting_db_path",
    "set_config_monitor_globs",
    "eval_config_monitor_globs",
    "bump_config_epoch",
    "make_queue_config",
    "make_listener_domain",
    "aaa.configure_acct_log",
    "secrets.load",
    "memoize",
    "domain_map.new",
    "validation_failed",
    "set_httpinject_threads",
    "set_logging_threads",
    "set_qmaint_threads",
    "set_ready_qmaint_threads",
    "set_readyq_threads",
    "set_smtpsrv_threads",
    "set_spoolin_threads",
    "set_max_lua_context_age",
    "set_max_lua_context_use_count",
    "set_max_spare_lua_contexts",
    "set_lua_gc_on_put",
    "available_parallelism",
    "set_memory_hard_limit",
    "set_memory_soft_limit",
    "set_memory_low_thresh",
    "get_memory_hard_limit",
    "get_memory_soft_limit",
    "get_memory_low_thresh",
    "set_lruttl_cache_capacity",
    "set_httpinject_recipient_rate_limit",
    "spawn_thread_pool",
    "enable_memory_callstack_tracking",
    "suspend_delivery_when_spool_unhealthy",
    "set_timeq_spawn_reinsertion",
    "set_diagnostic_log_filter",
    "dkim.set_signing_threads",
    "log_error",
    "log_warn",
    "log_info",
    "log_debug",
    "sleep",
    "time.sleep",
    "traceback",
    "get_event_registrars",
    "json_load",
    "json_parse",
    "json_encode",
    "json_encode_pretty",
    "toml_load",
    "toml_parse",
    "toml_encode",
    "toml_encode_pretty",
    "serde.json_load",
    "serde.json_parse",
    "serde.json_encode",
    "serde.json_encode_pretty",
    "serde.toml_load",
    "serde.toml_parse",
    "serde.toml_encode",
    "serde.toml_encode_pretty",
    "serde.toml_encode_pretty_compact",
]
LATER = [
    "configure_log_hook",
    "configure_log_disposition_hook",
    "configure_bounce_classifier",
    "configure_redis_throttles",
    "inject_message",
    "spawn_task",
    "generate_rfc3464_message",
    "apply_supplemental_trace_header",
    "make_throttle",
    "invoke_get_egress_path_config",
    "invoke_get_egress_pool",
    "invoke_get_egress_source",
    "invoke_get_queue_config",
    "compute_egress_path_config_constraints",
    "format_egress_path_config_constraints",
    "format_egress_path_config_toml",
    "format_queue_config_toml",
    "prometheus_metrics",
    "api.admin.bounce.bounce",
    "api.admin.suspend.suspend",
    "api.admin.suspend_ready_q.suspend",
    "api.inject.inject_v1",
    "api.inject.build_v1",
    "glob",
    "uncached_glob",
    "read_dir",
    "make_egress_source",
    "make_egress_pool",
    "make_egress_path",
    "serde.yaml_load",
    "serde.yaml_parse",
    "serde.yaml_encode",
    "regex.compile",
    "regex.escape",
    "string.split",
    "digest.sha256",
    "encode.base64_encode",
    "uuid.new_v4",
    "fs.glob",
    "cidr.make_map",
    "http.build_client",
    "dns.lookup_mx",
    "dkim.rsa_sha256_signer",
    "spf.check_host",
    "shaping.load",
]


def evaluate(tmp_path: Path, text: str) -> None:
    script = tmp_path / "init.lua"
    script.write_text(f"local kumo = require 'kumo'\n{text}", encoding="utf-8")
    PolicyEngine().load(str(script))


def test_what_works_is_a_function_and_not_a_stub(tmp_path: Path) -> None:
    functions = [name for name in WORKS if name != "version"]
    checks = [
        f"ok, err = pcall(kumo.{name})\n"
        f"assert(not tostring(err):find('is not implemented', 1, true), '{name}')"
        for name in functions
    ]
    types = [f"assert(type(kumo.{name}) == 'function', '{name}')" for name in functions]
    evaluate(
        tmp_path, "\n".join(["local ok, err", *types, *checks, "assert(type(kumo.version) == 'string')"])
    )


@pytest.mark.parametrize("name", LATER)
def test_what_is_to_come_says_so_when_it_is_called(tmp_path: Path, name: str) -> None:
    evaluate(tmp_path, f"assert(type(kumo.{name}) == 'function')")
    with pytest.raises(PolicyError) as caught:
        evaluate(tmp_path, f"kumo.{name}()")
    assert f"kumo.{name} is not implemented in kumo {VERSION}" in str(caught.value)


def test_what_kumomta_does_not_have_is_nil(tmp_path: Path) -> None:
    evaluate(tmp_path, "assert(kumo.start_smtp_listener == nil and kumo.serde.xml_parse == nil)")
