"""The state of the files that make up the configuration, for ``kumo.server``'s watch over them.

Polled, not notified: containers and network file systems swap whole folders without an event.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from kumo.policy.api import matching_files


def fingerprint(globs: Iterable[str]) -> bytes:
    """A digest over names and contents of all matching files; reads them, so call it in a thread.

    Args:
        globs: as ``kumo.set_config_monitor_globs`` takes them.

    Returns:
        Another value whenever a file appeared, vanished or changed. A file that cannot be read counts by
        its name.
    """
    digest = hashlib.sha256()
    for name in matching_files(globs):
        digest.update(name.encode("utf-8", "surrogateescape") + b"\0")
        try:
            digest.update(hashlib.sha256(Path(name).read_bytes()).digest())
        except OSError:
            continue  # gone since it was found, or a folder
    return digest.digest()
