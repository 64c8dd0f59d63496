"""The id that tells this node from others in log records."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import uuid
from pathlib import Path

from kumo.errors import ConfigError

_LOGGER = logging.getLogger("kumod.logs")

DEFAULT_NODE_ID_PATH = "/opt/kumomta/etc/.nodeid"


def find_node_id(configured: str | None, path: str | None = None) -> str:
    """Find this node's id, or make one that stays.

    Args:
        configured: what KUMO_NODE_ID says; beats the file.
        path: what KUMO_NODE_ID_PATH says; the file is made when there is none.

    Returns:
        A dashed UUID: random, or, when no file can be written, built of the host's MAC address.

    Raises:
        ConfigError: ``configured`` is no UUID.

    Source: KumoMTA manual, node id.
    """
    if configured:
        try:
            return str(uuid.UUID(configured))
        except ValueError:
            raise ConfigError(f"KUMO_NODE_ID: {configured!r} is not a UUID") from None
    file = Path(path or DEFAULT_NODE_ID_PATH)
    try:
        return _read(file) if file.exists() else _make(file)
    except (OSError, ValueError) as error:
        node_id = f"00000000-0000-1000-8000-{uuid.getnode():012x}"
        _LOGGER.info("no node id from %s (%s); it is %s", file, error, node_id)
        return node_id


def _read(file: Path) -> str:
    return str(uuid.UUID(file.read_text(encoding="ascii").strip()))


def _make(file: Path) -> str:
    """Write under another name first: a second daemon that starts now must not read half an id."""
    descriptor, temporary = tempfile.mkstemp(prefix=".nodeid-", dir=file.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(f"{uuid.uuid4()}\n")
        Path(temporary).chmod(0o644)
        with contextlib.suppress(FileExistsError):  # the other one was first
            os.link(temporary, file)
    finally:
        Path(temporary).unlink()
    return _read(file)
