"""Turns a process that was started by root into one of an ordinary user, for good.

All that is kept of root is the right to bind ports below 1024, so that a policy may still ask for one.
Capabilities belong to a thread and groups to a process: it has to be done before there is a second
thread. Called by the command line ahead of everything else, so that no policy runs as root, and no file
is root's.

Source: capabilities(7), prctl(2), KumoMTA manual, kumod --user.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import struct
from pathlib import Path
from typing import NamedTuple

from kumo.errors import PrivilegeError

NET_BIND_SERVICE = 10
"""Number of CAP_NET_BIND_SERVICE, the right to bind ports below 1024."""

_PR_SET_KEEPCAPS = 8
_CAPABILITY_VERSION_3 = 0x20080522
_HEADER = struct.Struct("=Ii")
_SETS = struct.Struct("=6I")
_LOW = 0xFFFF_FFFF


class _Capabilities(NamedTuple):
    """The sets of this thread; bit N is capability N."""

    effective: int
    permitted: int
    inheritable: int


def drop_privileges(user: str) -> None:
    """Become ``user``, keeping the right to bind low ports where there is it to keep.

    Started by that user already, nothing is done. As root, ``root`` keeps the user and loses all other
    rights all the same, as with KumoMTA.

    Args:
        user: name of an account.

    Raises:
        PrivilegeError: there is no such account, another user than root asks for it, threads run
            already, or the kernel refuses; the process may have lost some of its rights by then, and is
            to end.
    """
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        raise PrivilegeError(f"--user: there is no user {user!r}") from None
    euid = os.geteuid()
    if euid != 0:
        if account.pw_uid != euid:
            raise PrivilegeError(
                f"--user: {user} has uid {account.pw_uid}, this process {euid}; only root can change it"
            )
        return
    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads != 1:
        raise PrivilegeError(
            f"--user: {threads} threads run already, of which one only would change its user"
        )
    try:
        _become(account)
    except OSError as error:
        raise PrivilegeError(f"--user: unable to become {user}: {error.strerror or error}") from error
    _verify(account)


def _become(account: pwd.struct_passwd) -> None:
    uid, gid = account.pw_uid, account.pw_gid
    kept = _capabilities().permitted & (1 << NET_BIND_SERVICE)
    # Groups first: after the user changed, there is no right to change them.
    os.initgroups(account.pw_name, gid)
    os.setresgid(gid, gid, gid)
    _prctl(_PR_SET_KEEPCAPS, 1)
    os.setresuid(uid, uid, uid)
    _set_capabilities(_Capabilities(effective=kept, permitted=kept, inheritable=0))
    _prctl(_PR_SET_KEEPCAPS, 0)


def _verify(account: pwd.struct_passwd) -> None:
    """Look at what the process is now; trust no call that said it had worked."""
    uid, gid = account.pw_uid, account.pw_gid
    problems = []
    if os.getresuid() != (uid, uid, uid):
        problems.append(f"the user ids are {os.getresuid()}")
    if os.getresgid() != (gid, gid, gid):
        problems.append(f"the group ids are {os.getresgid()}")
    if not set(os.getgroups()) <= set(os.getgrouplist(account.pw_name, gid)):
        problems.append(f"the groups are {os.getgroups()}")
    if any(rights & ~(1 << NET_BIND_SERVICE) for rights in _capabilities()):
        problems.append("rights of root are left")
    if uid != 0 and _can_regain_root():
        problems.append("it can become root again")
    if problems:
        raise PrivilegeError(f"--user: {account.pw_name}: {'; '.join(problems)}")


def _can_regain_root() -> bool:
    try:
        os.setuid(0)
    except PermissionError:
        return False
    return True


def _capabilities() -> _Capabilities:
    sets = ctypes.create_string_buffer(_SETS.size)
    _check(_LIBC.capget(_HEADER.pack(_CAPABILITY_VERSION_3, 0), sets))
    low_e, low_p, low_i, high_e, high_p, high_i = _SETS.unpack(sets.raw)
    return _Capabilities(low_e | high_e << 32, low_p | high_p << 32, low_i | high_i << 32)


def _set_capabilities(wanted: _Capabilities) -> None:
    low = [rights & _LOW for rights in wanted]
    high = [rights >> 32 for rights in wanted]
    _check(_LIBC.capset(_HEADER.pack(_CAPABILITY_VERSION_3, 0), _SETS.pack(*low, *high)))


def _prctl(option: int, argument: int) -> None:
    # As unsigned longs: what is behind a plain int in a variadic call's register is nobody's business.
    _check(_LIBC.prctl(option, *map(ctypes.c_ulong, (argument, 0, 0, 0))))


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


_LIBC = ctypes.CDLL(None, use_errno=True)
