"""Reads key material from files. Blocks: ``KeySources`` calls it in a thread."""

from __future__ import annotations

import os
import stat

from kumo.errors import KeySourceError

MAX_KEY_OCTETS = 4 * 1024 * 1024
"""More than the largest bundle of authorities there is, and a bound for a path that names something else."""


def read_key_file(path: str) -> bytes:
    """All octets of a regular file.

    Args:
        path: as the policy gave it; relative to the working directory.

    Raises:
        KeySourceError: it cannot be read, is no regular file, or holds more than ``MAX_KEY_OCTETS``.
    """
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise _failure(path, "not a regular file")
            octets = file.read(MAX_KEY_OCTETS + 1)
    except OSError as error:
        raise _failure(path, f"{error.strerror} (os error {error.errno})") from error
    except ValueError as error:  # a NUL in the path
        raise _failure(path, str(error)) from error
    if len(octets) > MAX_KEY_OCTETS:
        raise _failure(path, f"it holds more than {MAX_KEY_OCTETS} octets")
    return octets


def _open_at_once(path: str, flags: int) -> int:
    """Opening a FIFO would otherwise hold the thread until somebody writes to it."""
    return os.open(path, flags | os.O_NONBLOCK)


def _failure(path: str, why: str) -> KeySourceError:
    return KeySourceError(f"KeySource failed to load data from file `{path}`: {why}")
