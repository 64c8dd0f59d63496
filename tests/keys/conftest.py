"""One server of Vault's interface for all tests that leave it alive."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.openbao import Openbao


@pytest.fixture(scope="session")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Openbao]:
    """With secrets for the rows of the tests."""
    with Openbao(tmp_path_factory.mktemp("openbao")) as bao:
        bao.write(
            "tls", {"key": "the key", "certificate": "the certificate", "number": 5, "table": {"a": "b"}}
        )
        bao.write("umlaut", {"key": "schlüssel"})
        bao.write("deleted", {"key": "once"})
        bao.do("DELETE", "secret/data/deleted")
        bao.write("destroyed", {"key": "once"})
        bao.do("PUT", "secret/destroy/destroyed", {"versions": [1]})
        bao.do("POST", "sys/mounts/old", {"type": "kv", "options": {"version": "1"}})
        bao.do("POST", "old/tls", {"key": "of version 1"})
        bao.do("POST", "sys/mounts/deep/er", {"type": "kv", "options": {"version": "2"}})
        bao.write("a/b/c", {"key": "deep"}, mount="deep/er")
        bao.do("POST", "sys/namespaces/team")
        bao.do("POST", "team/sys/mounts/kv", {"type": "kv", "options": {"version": "2"}})
        bao.write("tls", {"key": "of the team"}, mount="team/kv")
        yield bao
