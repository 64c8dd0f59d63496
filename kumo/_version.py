"""The version: one place, read by the build, the banner of ``kumod --version`` and ``kumo.version``."""

__version__ = "0.1.0"

KUMOMTA_VERSION = "2026.08.04"
"""The KumoMTA version whose behaviour we answer to; policies compare ``kumo.version`` with it as text."""
