"""The cipher suites that are served, and the words that KumoMTA has for them."""

from __future__ import annotations

_TLS12 = {
    f"ECDHE-{key}-{openssl}": f"TLS_ECDHE_{key}_WITH_{iana}"
    for openssl, iana in (
        ("AES256-GCM-SHA384", "AES_256_GCM_SHA384"),
        ("AES128-GCM-SHA256", "AES_128_GCM_SHA256"),
        ("CHACHA20-POLY1305", "CHACHA20_POLY1305_SHA256"),
    )
    for key in ("ECDSA", "RSA")
}

_TLS13 = {
    f"TLS_{name}": f"TLS13_{name}"
    for name in ("AES_256_GCM_SHA384", "AES_128_GCM_SHA256", "CHACHA20_POLY1305_SHA256")
}

CIPHER_NAMES = _TLS13 | _TLS12
"""KumoMTA's name by OpenSSL's, for all nine suites."""

TLS12_CIPHERS = ":".join(_TLS12)
"""For ``set_ciphers``, in order of preference; OpenSSL's own suites of TLS 1.3 are the three above."""

VERSION_NAMES = {"TLSv1.2": "TLSv1_2", "TLSv1.3": "TLSv1_3"}
"""KumoMTA's name by OpenSSL's."""
