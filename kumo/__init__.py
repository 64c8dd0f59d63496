"""kumo: KumoMTA's ESMTP service as a Python package. ARCHITECTURE.md tells the rooms."""

from kumo._version import __version__

__all__ = ["__version__"]
