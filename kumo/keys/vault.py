"""Reads secrets from HashiCorp Vault, or OpenBao, KV version 2. Blocks: ``KeySources`` calls it in a thread.

Everything that hvac, requests and the server may answer is mapped here, once, to a ``KeySourceError`` of
one line. Libraries quote what they choke on, header values among it; so no foreign exception
is chained where the token could be in its text, and what the server says passes through ``_foreign_text``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kumo.config import KeyVault
from kumo.errors import KeySourceError

_MAX_FOREIGN_TEXT = 200
_REASONS = {
    "InvalidSchema": "its address is not a URL of HTTP",
    "InvalidURL": "its address is not a URL",
    "MissingSchema": "its address is not a URL",
    "TooManyRedirects": "it redirects again and again",
}
"""What requests' exceptions mean that come from no other."""

_USER_INFO = re.compile(r"//.*@")


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultSecret:
    """One secret and how to get at it; what the cache is keyed by.

    Args:
        address: URL of the server.
        token: for authentication.
        mount: the KV engine's mount point.
        path: of the secret, within the mount.
        namespace: ``$VAULT_NAMESPACE``; None: none.
        ca_bundle: ``$VAULT_CACERT`` or ``$VAULT_CAPATH``; None: the authorities that requests brings.
    """

    address: str
    token: str = field(repr=False)
    mount: str
    path: str
    namespace: str | None = None
    ca_bundle: str | None = None

    @classmethod
    def of_source(cls, source: KeyVault, environment: Mapping[str, str]) -> VaultSecret:
        """What a policy's source names, completed from the environment.

        Raises:
            KeySourceError: there is no address or no token, or the token is none.
        """
        secret = cls(
            address=_required("address", source, source.vault_address, environment),
            token=_required("token", source, source.vault_token, environment),
            mount=source.vault_mount,
            path=source.vault_path,
            namespace=environment.get("VAULT_NAMESPACE") or None,
            ca_bundle=environment.get("VAULT_CACERT") or environment.get("VAULT_CAPATH") or None,
        )
        if not (secret.token.isascii() and secret.token.isprintable()) or " " in secret.token:
            raise KeySourceError(
                f"the token for {secret.place} holds a blank, a line end or another octet that tokens do not"
            )
        return secret

    @property
    def server(self) -> str:
        """The server, for messages; without the user and password that a URL may carry."""
        return f"vault at {_USER_INFO.sub('//', self.address)}"

    @property
    def place(self) -> str:
        """The secret, for messages."""
        return f"vault secret {self.mount}/{self.path} at {_USER_INFO.sub('//', self.address)}"


def _required(name: str, source: KeyVault, given: str | None, environment: Mapping[str, str]) -> str:
    variable = f"VAULT_{name.upper()}" if name != "address" else "VAULT_ADDR"
    value = given or environment.get(variable)
    if not value:
        raise KeySourceError(
            f"vault_{name} was not specified and ${variable} is not set/usable, "
            f"so vault secret {source.vault_mount}/{source.vault_path} cannot be read"
        )
    return value


def read_secret(secret: VaultSecret, timeout: float) -> Mapping[str, Any]:
    """The fields of the newest version of a secret.

    Args:
        secret: what to read.
        timeout: seconds, for each step on the network.

    Raises:
        KeySourceError: there is no such secret, mount, right or server; the text says which.
    """
    # 85 ms, most of it requests: only those pay who have a Vault.
    import hvac  # type: ignore[import-untyped]  # noqa: PLC0415 - as above
    import requests  # noqa: PLC0415 - as above

    try:
        client = hvac.Client(
            url=secret.address,
            token=secret.token,
            verify=secret.ca_bundle or True,
            timeout=timeout,
            namespace=secret.namespace,
        )
        # A standby node redirects to the active one, once.
        client.adapter.session.max_redirects = 1
        try:
            answer = client.secrets.kv.v2.read_secret_version(
                path=secret.path, mount_point=secret.mount, raise_on_deleted_version=True
            )
        except hvac.exceptions.InvalidPath as error:
            raise _nothing_there(client, secret, error.json) from None
        finally:
            client.adapter.close()
    except hvac.exceptions.Forbidden:
        raise KeySourceError(
            f"{secret.server} denied access to {secret.mount}/{secret.path}: "
            "its token is bad, has expired or lacks the right"
        ) from None
    except hvac.exceptions.VaultError as error:
        raise KeySourceError(f"{secret.server} answered with an error: {_said(error, secret)}") from None
    except requests.exceptions.Timeout:
        raise timed_out(secret, timeout) from None
    except (requests.exceptions.RequestException, OSError) as error:
        raise KeySourceError(f"{secret.server} cannot be reached: {_why(error, secret)}") from None
    except KeySourceError:
        raise
    except Exception as error:  # noqa: BLE001 - hvac trips over JSON that Vault would not send
        kind = type(error).__name__
        raise KeySourceError(f"{secret.server} gave an answer that cannot be read: {kind}") from None
    return _fields(answer, secret)


def timed_out(secret: VaultSecret, timeout: float) -> KeySourceError:
    """The failure of a server that said nothing for ``timeout`` seconds."""
    return KeySourceError(f"{secret.server} did not answer within {timeout:g} seconds")


def key_octets(fields: Mapping[str, Any], source: KeyVault) -> bytes:
    """The one field that a source names, in UTF-8.

    Raises:
        KeySourceError: the secret has no such field, or it is no string.
    """
    value = fields.get(source.vault_key)
    if value is None:
        raise KeySourceError(f"vault secret at {source.vault_path} does not contain key '{source.vault_key}'")
    if not isinstance(value, str):
        raise KeySourceError(
            f"vault secret at {source.vault_path} has a key '{source.vault_key}' that is not a string"
        )
    return value.encode("utf-8", "surrogatepass")


def _fields(answer: Any, secret: VaultSecret) -> Mapping[str, Any]:
    # A proxy's error page arrives here as a response object: hvac passes on what is not JSON.
    data = answer.get("data") if isinstance(answer, dict) else None
    fields = data.get("data") if isinstance(data, dict) else None
    if not isinstance(fields, dict):
        raise KeySourceError(
            f"{secret.server} gave an answer for {secret.mount}/{secret.path} that is no KV version 2 secret"
        )
    return fields


def _nothing_there(client: Any, secret: VaultSecret, answer: Any) -> KeySourceError:
    """What a 404 means, which is the same for a missing secret, a missing mount and another engine."""
    data = answer.get("data") if isinstance(answer, dict) else None
    metadata = data.get("metadata") if isinstance(data, dict) else None
    if isinstance(metadata, dict) and (metadata.get("deletion_time") or metadata.get("destroyed")):
        return KeySourceError(f"{secret.place} has been deleted: version {metadata.get('version')}")
    mount = _read_mount(client, secret)
    if mount is None:
        return KeySourceError(
            f"{secret.server} has no secret {secret.mount}/{secret.path}: "
            f"there is no mount `{secret.mount}`, or the token may not see it"
        )
    options = mount.get("options")
    version = options.get("version", "1") if isinstance(options, dict) else "1"
    if mount.get("type") not in {"kv", "generic"}:
        kind = _foreign_text(str(mount.get("type")), secret)
        return KeySourceError(f"vault mount `{secret.mount}` is of type {kind}; KV version 2 is needed")
    if str(version) != "2":
        return KeySourceError(
            f"vault mount `{secret.mount}` is KV version 1; KV version 2 is needed "
            f"to read {secret.mount}/{secret.path}"
        )
    return KeySourceError(f"{secret.server} has no secret `{secret.path}` in mount `{secret.mount}`")


def _read_mount(client: Any, secret: VaultSecret) -> Mapping[str, Any] | None:
    """What kind of engine is mounted; None when the server does not tell."""
    import hvac  # noqa: PLC0415 - as in read_secret

    try:
        answer = client.adapter.get(f"/v1/sys/internal/ui/mounts/{secret.mount}")
    except hvac.exceptions.VaultError:
        return None
    data = answer.get("data") if isinstance(answer, dict) else None
    return data if isinstance(data, dict) else None


def _said(error: Any, secret: VaultSecret) -> str:
    """What the server gave as its reasons; pages of a proxy in between are not quoted."""
    return _foreign_text(", ".join(map(str, error.errors or ())), secret) or type(error).__name__


def _why(error: BaseException, secret: VaultSecret) -> str:
    """Why no answer came, from the innermost exception: those around it quote addresses of objects."""
    for cause in _causes(error):
        if verification := getattr(cause, "verify_message", None):
            return f"its certificate is not trusted: {_one_line(str(verification))}"
        if isinstance(cause, OSError) and cause.errno is not None and cause.strerror:
            return _one_line(cause.strerror)
    kind = type(error).__name__
    if kind == "OSError":
        return f"the certificates in {secret.ca_bundle} cannot be read"
    return _REASONS.get(kind, kind)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An exception and what led to it; a chain that bites its tail ends."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__


def _foreign_text(text: str, secret: VaultSecret) -> str:
    """What the server said: on one line, and without the token should it quote that."""
    return _one_line(text.replace(secret.token, "(token)"))


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return "".join(character for character in line if character.isprintable())[:_MAX_FOREIGN_TEXT]
