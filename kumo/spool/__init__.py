"""The spool: messages kept on disk, in KumoMTA's LocalDisk layout behind a journal, or in RocksDB."""

from kumo.spool.file_operations import FileOperations
from kumo.spool.listing import StoredMessage, list_spool
from kumo.spool.shards import AdoptingSpool, ShardsLock, open_shard, open_single, refuse_beside_single
from kumo.spool.spool import Spool

__all__ = [
    "AdoptingSpool",
    "FileOperations",
    "ShardsLock",
    "Spool",
    "StoredMessage",
    "list_spool",
    "open_shard",
    "open_single",
    "refuse_beside_single",
]
