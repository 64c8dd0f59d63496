from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kumo.spool import FileOperations
from tests.spool.samples import Stores

WAYS = {"one sync for all": True, "each file synced": False}


@pytest.fixture(params=WAYS)
def durability(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to make files durable, whatever file system the test runs on."""
    name: str = request.param
    monkeypatch.setattr("kumo.spool.opening.syncs_whole_file_system", lambda _: WAYS[name])
    return name


@pytest.fixture(params=["no flush", *WAYS])
def flush(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """``flush`` in all its forms."""
    is_whole = WAYS.get(request.param)
    monkeypatch.setattr("kumo.spool.opening.syncs_whole_file_system", lambda _: is_whole)
    return is_whole is not None


@pytest.fixture
def open_stores(tmp_path: Path) -> Iterator[Callable[..., Stores]]:
    """Opens the pair of stores in ``tmp_path``; closed in the end."""
    opened = []

    def open_them(*, flush: bool = False, files: FileOperations | None = None) -> Stores:
        stores = Stores(tmp_path, flush=flush, files=files)
        opened.append(stores)
        return stores

    yield open_them
    for stores in opened:
        stores.close()


@pytest.fixture
def reopen(tmp_path: Path) -> Iterator[Callable[..., Stores]]:
    """Opens the spool in ``tmp_path`` as if the process before had been killed."""
    current: list[Stores] = []

    def again(**options: object) -> Stores:
        for stores in current:
            stores.close()
        current[:] = [Stores(tmp_path, **options)]  # type: ignore[arg-type]
        return current[0]

    yield again
    for stores in current:
        stores.close()
