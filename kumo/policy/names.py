"""What KumoMTA's Lua API has that this version may lack.

Each name that no host function provides becomes a function that raises when it is called, so that a
policy which reads it, or calls it on a branch that is not taken, loads. A name that is not here is nil.
"""

from __future__ import annotations

from collections.abc import Iterator

_MODULES: dict[str, str] = {
    "": """
        apply_supplemental_trace_header available_parallelism bump_config_epoch
        compute_egress_path_config_constraints configure_accounting_db_path configure_bounce_classifier
        configure_local_logs configure_log_disposition_hook configure_log_hook configure_redis_throttles
        define_spool disconnect enable_memory_callstack_tracking eval_config_monitor_globs
        format_egress_path_config_constraints format_egress_path_config_toml format_queue_config_toml
        generate_rfc3464_message get_event_registrars get_memory_hard_limit get_memory_low_thresh
        get_memory_soft_limit glob inject_message invoke_get_egress_path_config invoke_get_egress_pool
        invoke_get_egress_source invoke_get_queue_config json_encode json_encode_pretty json_load json_parse
        log_debug log_error log_info log_warn make_egress_path make_egress_pool make_egress_source
        make_listener_domain make_message make_queue_config make_throttle memoize on prometheus_metrics
        read_dir reject set_config_monitor_globs set_diagnostic_log_filter set_httpinject_recipient_rate_limit
        set_httpinject_threads set_logging_threads set_lruttl_cache_capacity set_lua_gc_on_put
        set_max_lua_context_age set_max_lua_context_use_count set_max_spare_lua_contexts
        set_memory_hard_limit set_memory_low_thresh set_memory_soft_limit set_qmaint_threads
        set_ready_qmaint_threads set_readyq_threads set_smtpsrv_threads set_spoolin_threads
        set_timeq_spawn_reinsertion sleep spawn_task spawn_thread_pool start_esmtp_listener
        start_http_listener start_proxy_listener suspend_delivery_when_spool_unhealthy toml_encode
        toml_encode_pretty toml_load toml_parse traceback uncached_glob validation_failed
    """,
    "aaa": """
        configure_acct_log load_acl_map make_access_control_list query_resource_access
        set_fall_back_to_acl_map
    """,
    "amqp": "basic_publish build_client",
    "api.admin.bounce": "bounce",
    "api.admin.suspend": "suspend",
    "api.admin.suspend_ready_q": "suspend",
    "api.inject": "build_v1 inject_v1",
    "cidr": "make_map",
    "counter_series": "define",
    "crypto": "aes_decrypt_block aes_encrypt_block aws_sign_v4",
    "digest": """
        crc32 hmac_sha1 hmac_sha224 hmac_sha256 hmac_sha384 hmac_sha512 sha1 sha224 sha256 sha384 sha3_256
        sha3_384 sha3_512 sha512 sha512_256
    """,
    "dkim": "ed25519_signer rsa_sha256_signer set_signing_threads",
    "dmarc": "check_msg",
    "dns": """
        configure_resolver configure_test_mta_sts configure_test_resolver configure_unbound_resolver
        define_resolver load_resolv_conf lookup_addr lookup_mx lookup_ptr lookup_txt ptr_host rbl_lookup
        reverse_ip set_mta_sts_enabled set_mx_concurrency_limit set_mx_negative_cache_ttl set_mx_timeout
    """,
    "domain_map": "new",
    "encode": """
        base32_decode base32_encode base32_nopad_decode base32_nopad_encode base32hex_decode base32hex_encode
        base32hex_nopad_decode base32hex_nopad_encode base64_decode base64_encode base64_nopad_decode
        base64_nopad_encode base64url_decode base64url_encode base64url_nopad_decode base64url_nopad_encode
        charset_decode charset_encode hex_decode hex_encode
    """,
    "file_type": "from_bytes from_extension from_media_type",
    "fs": "glob metadata_for_path open read_dir symlink_metadata_for_path uncached_glob",
    "http": "build_client build_url connect_websocket",
    "jsonl": "new_multi_tailer new_tailer new_writer",
    "kafka": "build_producer",
    "mimepart": "builder new_html new_text new_text_plain parse",
    "mpsc": "define",
    "nats": "connect",
    "regex": "compile escape",
    "regex_set_map": "new",
    "secrets": "load",
    "serde": """
        json_encode json_encode_pretty json_load json_parse toml_encode toml_encode_pretty
        toml_encode_pretty_compact toml_load toml_parse yaml_encode yaml_load yaml_parse
    """,
    "shaping": "load",
    "spf": "check_host check_msg",
    "string": """
        ends_with eval_template normalize_smtp_response psl_domain psl_suffix replace replacen rsplit rsplitn
        split split_ascii_whitespace split_whitespace splitn starts_with trim trim_end trim_start wrap
    """,
    "time": """
        from_unix_timestamp now parse_duration parse_rfc2822 parse_rfc3339 sleep start_timer with_ymd_hms
    """,
    "uuid": "new_v1 new_v4 new_v6 new_v7 parse",
    "xfer": "xfer_in_requeue",
}

OTHER_FUNCTIONS = (("sqlite", "open"), ("redis", "open"))
"""Module and name of functions that are not below ``kumo``."""

MESSAGE_METHODS = (
    "add_authentication_results",
    "append_header",
    "append_text_html",
    "append_text_plain",
    "arc_seal",
    "arc_verify",
    "check_fix_conformance",
    "dkim_sign",
    "dkim_verify",
    "from_header",
    "get_address_header",
    "get_all_headers",
    "get_all_named_header_values",
    "get_data",
    "get_first_named_header_value",
    "get_meta",
    "id",
    "import_headers",
    "import_scheduling_header",
    "import_x_headers",
    "increment_num_attempts",
    "num_attempts",
    "parse_mime",
    "parse_rfc3464",
    "parse_rfc5965",
    "prepend_header",
    "queue_name",
    "recipient",
    "recipient_list",
    "remove_all_named_headers",
    "remove_x_headers",
    "save",
    "sender",
    "set_data",
    "set_due",
    "set_force_sync",
    "set_meta",
    "set_recipient",
    "set_scheduling",
    "set_sender",
    "shrink",
    "shrink_data",
    "to_header",
)
"""Methods of KumoMTA's message object."""


def known_functions() -> Iterator[str]:
    """Dotted names below ``kumo`` of all functions that KumoMTA has."""
    for module, names in _MODULES.items():
        for name in names.split():
            yield f"{module}.{name}" if module else name
