"""Which kind a spool is of: the one it was made with, or the one that policy asks for.

Called by ``opening`` and the listing.
"""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path

from kumo.config import Spool as SpoolConfig
from kumo.config import SpoolKind
from kumo.errors import SpoolError

_log = logging.getLogger("kumod.spool")

_HINT = "pip install 'kumo-mta[rocksdb]'"


def choose_kind(data: SpoolConfig, meta: SpoolConfig) -> SpoolKind:
    """Decide what both stores are kept in, and say so in the log where it is not what policy asks for.

    Args:
        data: the store named ``data``.
        meta: the store named ``meta``.

    Raises:
        SpoolError: the folders hold what cannot be read together, or not without ``rocksdict``.
    """
    names = f"{data.name} ({data.path}) and {meta.name} ({meta.path})"
    made_with = _made_with(data, meta)
    wanted = data.kind
    if data.kind is not meta.kind:
        wanted = SpoolKind.LOCAL_DISK
        if made_with is None:
            _log.warning("spool %s: both need the same kind; they are stored as LocalDisk", names)
    if made_with is SpoolKind.ROCKS_DB:
        require_rocksdb(f"{data.path} and {meta.path}")
    elif wanted is SpoolKind.ROCKS_DB and not has_rocksdb():
        _log.warning(
            "spool %s: kind 'RocksDB' is stored as LocalDisk, as rocksdict is not installed: %s", names, _HINT
        )
        return SpoolKind.LOCAL_DISK
    if made_with is not None and made_with is not wanted:
        _log.warning("spool %s: kept as %s, which it was made with", names, made_with.value)
    return made_with or wanted


def has_rocksdb() -> bool:
    """Whether databases can be opened."""
    return importlib.util.find_spec("rocksdict") is not None


def require_rocksdb(path: str) -> None:
    """Make sure that databases can be opened.

    Args:
        path: for the error.

    Raises:
        SpoolError: they cannot.
    """
    if not has_rocksdb():
        raise SpoolError(f"{path}: a spool of kind 'RocksDB', and rocksdict is not installed: {_HINT}")


def kind_of(path: str) -> SpoolKind | None:
    """The kind of a store's folder; None: nothing is stored there."""
    root = Path(path)
    if (root / "data").is_dir() or (root / "new").is_dir():
        return SpoolKind.LOCAL_DISK
    return SpoolKind.ROCKS_DB if (root / "CURRENT").exists() else None


def _made_with(*configs: SpoolConfig) -> SpoolKind | None:
    found = {}
    for config in configs:
        kind = kind_of(config.path)
        if kind is SpoolKind.LOCAL_DISK and (Path(config.path) / "CURRENT").exists():
            _log.error(
                "spool %s: %s holds a RocksDB database; its messages are not read", config.name, config.path
            )
        if kind is not None:
            found[kind] = config
    if len(found) > 1:
        parts = " and ".join(f"{config.path} of kind {kind.value!r}" for kind, config in found.items())
        raise SpoolError(f"the stores of a spool need the same kind, but there are {parts}")
    return next(iter(found), None)
