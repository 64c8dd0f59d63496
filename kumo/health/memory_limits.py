"""How much memory there is to use, who says so, and how much is used.

The surroundings are asked (control group, resource limits, physical memory), the environment overrules
them and the policy both. Called by ``MemoryMonitor``'s owner and by the Lua functions that tell the
limits. Nothing here is cheap enough for each message.

Source: KumoMTA manual, memory management.
"""

from __future__ import annotations

import resource
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import psutil

from kumo.errors import ConfigError
from kumo.health.cgroup import GroupMemory, group_memory

HARD_LIMIT_VARIABLE = "KUMOD_MEMORY_HARD_LIMIT"
SOFT_LIMIT_VARIABLE = "KUMOD_MEMORY_SOFT_LIMIT"


class MemoryLimits(NamedTuple):
    """Limits in octets.

    Args:
        hard: all there is.
        soft: beyond it, new sessions are turned away.
        low: beyond it, memory is short; by default four fifths of ``soft``.
    """

    hard: int
    soft: int
    low: int


class MemoryOverrides(NamedTuple):
    """Limits that somebody set, in octets; None: nobody did.

    Args:
        hard: instead of what the surroundings say.
        soft: instead of three quarters of the hard limit.
        low: instead of four fifths of the soft limit.
    """

    hard: int | None = None
    soft: int | None = None
    low: int | None = None


class MemorySample(NamedTuple):
    """One look at memory, in octets.

    Args:
        usage: the working set of the control group that limits this process, else what is resident of
            this process.
        limits: as they are now; a control group's may be changed at any time.
    """

    usage: int
    limits: MemoryLimits


def memory_overrides(
    environment: Mapping[str, str],
    *,
    hard: int | None = None,
    soft: int | None = None,
    low: int | None = None,
) -> MemoryOverrides:
    """What environment and policy set; the policy wins.

    Args:
        environment: of the process.
        hard: what ``kumo.set_memory_hard_limit`` was given; None or 0: nothing.
        soft: likewise, of ``kumo.set_memory_soft_limit``.
        low: likewise, of ``kumo.set_memory_low_thresh``.

    Raises:
        ConfigError: a variable that is no number of octets, whether it counts or not.
    """
    by_environment = (_octets(environment, HARD_LIMIT_VARIABLE), _octets(environment, SOFT_LIMIT_VARIABLE))
    return MemoryOverrides(hard or by_environment[0], soft or by_environment[1], low or None)


def sample_memory(overrides: MemoryOverrides, processes: int = 1) -> MemorySample:
    """Look at memory; takes about 0.2 ms, more where the kernel counts for a large group first.

    Args:
        overrides: of environment and policy.
        processes: of the daemon. Limits are the daemon's; where a process sees but what it uses itself, it
            takes the others to use as much.
    """
    group = group_memory()
    # What a group without limit uses may be the whole machine's page cache, or nothing at all.
    usage = psutil.Process().memory_info().rss * processes if group is None else group.working_set
    return MemorySample(usage, memory_limits(overrides, group))


def memory_limits(overrides: MemoryOverrides, group: GroupMemory | None = None) -> MemoryLimits:
    """The limits in force.

    Args:
        overrides: of environment and policy.
        group: what the control group says; None: nothing.
    """
    # ulimit's resident set binds nobody but who goes by it, as KumoMTA does; the kernel holds every
    # process to its address space, of which what is resident is a part.
    softs = [resource.getrlimit(resource.RLIMIT_RSS)[0]]
    hards = [resource.getrlimit(resource.RLIMIT_RSS)[1], resource.getrlimit(resource.RLIMIT_AS)[0]]
    if group is not None:
        softs.append(group.soft_limit or 0)
        hards.append(group.hard_limit or 0)
    hard = overrides.hard or min([psutil.virtual_memory().total, *_set(hards)])
    soft = overrides.soft or min([hard * 3 // 4, *_set(softs)])
    return MemoryLimits(hard, soft, overrides.low or soft * 8 // 10)


def _set(limits: Iterable[int]) -> list[int]:
    return [limit for limit in limits if limit not in (0, resource.RLIM_INFINITY)]


def _octets(environment: Mapping[str, str], variable: str) -> int | None:
    text = environment.get(variable)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and int(text)):
        raise ConfigError(f"{variable}: {text!r} is no number of octets above 0")
    return int(text)
