"""Stores and removes a batch of messages with as few barriers as there can be.

The order is the promise. Contents and metas are written under temporary names; with ``flush`` they
become durable; contents get their names, then metas (or, for a transaction of several messages and for
new content of a stored one, its manifest); with ``flush`` the names become durable; only then do the
callers hear of it. Whatever fails is taken back, and of the batch only the messages of that one call are,
unless a barrier failed: it speaks for all of them. A bug met on the way is such a failure too. It runs in
the writer's thread and knows nothing of threads or loops.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence

from kumo.spool.durability import Barrier
from kumo.spool.file_operations import FileOperations
from kumo.spool.local_disk import LocalDisk
from kumo.spool.requests import StoreRequest
from kumo.spool.transaction import UNDO_SUFFIX, Placement, encode_manifest, manifest_path, roll_back

_log = logging.getLogger("kumod.spool")

_TIDIED_AT_ONCE = 64
"""Directories removed before looking for messages again: a few milliseconds' worth."""


class GroupCommit:
    """Performs batches on a pair of stores.

    Args:
        data: holds contents.
        meta: holds envelopes.
        files: performs the calls that concern neither store alone.
    """

    __slots__ = ("_barriers", "_data", "_files", "_meta", "_settling")

    def __init__(self, data: LocalDisk, meta: LocalDisk, files: FileOperations) -> None:
        self._data = data
        self._meta = meta
        self._files = files
        self._barriers: Sequence[Barrier] = list(
            dict.fromkeys(store.barrier for store in (data, meta) if store.barrier is not None)
        )
        self._settling: list[str] = []
        """Manifests of transactions whose last names are not durable yet."""

    def store(self, requests: Sequence[StoreRequest]) -> None:
        """Store every request, or set its ``error``."""
        live = self._each(requests, self._stage)
        live = self._all(live, lambda barrier: barrier.make_contents_durable())
        live = self._each(live, self._place)
        live = self._all(live, lambda barrier: barrier.make_names_durable())
        if live and self._barriers:
            self._settle()
        self._each(live, self._complete)
        self.prune()

    def remove(self, spool_id: str) -> None:
        """Remove an entry, its meta before its content; a missing one is no error.

        Nothing is synced: the next commit does it, and until then a power loss may bring the message
        back, which is then sent twice rather than never.

        Raises:
            OSError: something of it may be left.
        """
        self._meta.remove(spool_id)
        self._data.remove(spool_id)

    def make_removals_durable(self, spool_ids: Sequence[str]) -> None:
        """Have no power loss bring entries back that were removed; does nothing without ``flush``.

        Raises:
            OSError: it may.
        """
        for spool_id in spool_ids:
            self._meta.confirm(spool_id)
            self._data.confirm(spool_id)
        try:
            for barrier in self._barriers:
                barrier.make_names_durable()
        except OSError:
            # As for a batch: names that manifests wait for may be among those that were lost.
            self._settling.clear()
            raise

    def prune(self) -> None:
        """Remove the directories that removals emptied, but for some."""
        self._data.prune()
        self._meta.prune()

    def tidy(self) -> bool:
        """Use a moment without messages to remove some of the empty directories.

        Returns:
            Whether none are left.
        """
        for store in (self._data, self._meta):
            store.prune(max(0, store.vacated - _TIDIED_AT_ONCE))
        return not self._data.vacated and not self._meta.vacated

    def finish(self) -> None:
        """End in good order: names durable, manifests and empty directories gone.

        What fails is left to the next start.
        """
        self._data.prune(0)
        self._meta.prune(0)
        if not self._settling:
            return
        try:
            for barrier in self._barriers:
                barrier.make_names_durable()
        except OSError as error:
            _log.error("unable to sync the spool; the next start does it: %s", error)
        else:
            self._settle()

    def _each(
        self, requests: Sequence[StoreRequest], step: Callable[[StoreRequest], None]
    ) -> list[StoreRequest]:
        done = []
        for request in requests:
            try:
                step(request)
            except Exception as error:  # noqa: BLE001 - of whatever kind, it concerns this request only
                self._fail(request, error)
            else:
                done.append(request)
        return done

    def _all(self, requests: list[StoreRequest], sync: Callable[[Barrier], None]) -> list[StoreRequest]:
        if not requests:
            return requests
        try:
            for barrier in self._barriers:
                sync(barrier)
        except Exception as error:  # noqa: BLE001 - of whatever kind, nothing is known to be durable
            # The kernel reports a lost write once; to sync again would be told that all is well. It may
            # have been a name of an earlier batch, so manifests that waited for one stay for the next start.
            self._settling.clear()
            for request in requests:
                self._fail(request, error)
            return []
        return requests

    def _stage(self, request: StoreRequest) -> None:
        for entry in request.entries:
            data_temporary = None
            if entry.segments is not None:
                data_temporary = self._data.stage(entry.id, entry.segments)
            try:
                meta_temporary = self._meta.stage(entry.id, (entry.meta,))
            except OSError:
                if data_temporary is not None:
                    self._data.discard(data_temporary)
                raise
            request.placements.append(Placement(entry.id, entry.is_update, meta_temporary, data_temporary))
        if len(request.entries) > 1 or any(map(_replaces_content, request.placements)):
            manifest = encode_manifest(request.placements)
            request.manifest_temporary = self._meta.stage(request.entries[0].id, (manifest,))

    def _place(self, request: StoreRequest) -> None:
        for placement in request.placements:
            if placement.data_temporary is not None and not placement.is_update:
                self._data.place(placement.data_temporary, placement.id)
        if request.manifest_temporary is None:
            for placement in request.placements:
                self._meta.place(placement.meta_temporary, placement.id)
        else:
            path = manifest_path(self._meta, request.manifest_temporary)
            self._meta.move(self._meta.staged_path(request.manifest_temporary), path)
            request.manifest = path

    def _complete(self, request: StoreRequest) -> None:
        manifest = request.manifest
        if manifest is None:
            return
        for placement in request.placements:
            # Not before the manifest: the meta that is there belongs to the content that is there.
            if placement.data_temporary is not None and placement.is_update:
                self._data.place(placement.data_temporary, placement.id)
            self._meta.place(placement.meta_temporary, placement.id)
        self._settling.append(manifest)
        if self._meta.barrier is None:
            self._settle()

    def _settle(self) -> None:
        manifests, self._settling = self._settling, []
        for manifest in manifests:
            try:
                self._files.unlink(manifest)
            except Exception as error:  # noqa: BLE001 - no reason to fail whoever comes next
                # It names nothing any more that could be done again.
                _log.warning("unable to remove %s: %s", manifest, error)

    def _fail(self, request: StoreRequest, error: Exception) -> None:
        request.fail(error)
        try:
            self._take_back(request)
        except Exception as failure:  # noqa: BLE001 - the other requests are not to suffer from it
            _log.error("something of %s may be left on the spool: %s", request.names, failure)

    def _take_back(self, request: StoreRequest) -> None:
        undo = None
        if request.manifest is not None:
            undo = request.manifest + UNDO_SUFFIX
            # When this fails the transaction stays as it is, committed: whole, if unwanted.
            self._files.rename(request.manifest, undo)
        elif request.manifest_temporary is not None:
            self._meta.discard(request.manifest_temporary)
        try:
            roll_back(request.placements, self._data, self._meta)
        finally:
            for placement in request.placements:
                self._meta.discard(placement.meta_temporary)
                if placement.data_temporary is not None:
                    self._data.discard(placement.data_temporary)
        if undo is not None:
            with contextlib.suppress(OSError):
                self._files.unlink(undo)


def _replaces_content(placement: Placement) -> bool:
    """Whether a crash between two names would leave a stored message with new content and its old meta."""
    return placement.is_update and placement.data_temporary is not None
