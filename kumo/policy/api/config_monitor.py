"""Which files make up the configuration: ``kumo.set_config_monitor_globs`` and its neighbours.

Only names are found here; whoever watches them reads the files and bumps the epoch.
"""

from __future__ import annotations

import glob
from collections.abc import Iterable
from typing import Any

from kumo.policy.api.arguments import TABLE, lua_function
from kumo.policy.call_error import CallError
from kumo.policy.json_values import lua_to_json
from kumo.policy.registry import PolicyContext

DEFAULT_GLOBS = ("/opt/kumomta/etc/**/*.{lua,json,toml,yaml}",)

_MAX_ALTERNATIVES = 1024


@lua_function("set_config_monitor_globs", TABLE)
def set_config_monitor_globs(context: PolicyContext, globs: Any) -> None:
    """Say which files are watched.

    The patterns may hold ``*``, ``?``, ``[…]``, ``**`` for any depth and ``{a,b}`` for alternatives.

    Raises:
        CallError: no array of strings, or braces that do not match.
    """
    patterns = lua_to_json(globs)
    if patterns == {}:
        patterns = []
    if type(patterns) is not list or any(type(pattern) is not str for pattern in patterns):
        raise CallError("bad argument #1 to 'kumo.set_config_monitor_globs' (array of strings expected)")
    for pattern in patterns:
        expand_braces(pattern)
    context.declarations.config_monitor_globs = tuple(patterns)


@lua_function("eval_config_monitor_globs")
def eval_config_monitor_globs(context: PolicyContext) -> Any:
    """The files that match now, sorted."""
    globs = context.declarations.config_monitor_globs
    return context.to_lua(matching_files(DEFAULT_GLOBS if globs is None else globs))


@lua_function("bump_config_epoch")
def bump_config_epoch(context: PolicyContext) -> None:
    """Have the script evaluated anew, as after a change of a watched file."""
    context.engine.bump_config_epoch()


def matching_files(globs: Iterable[str]) -> list[str]:
    """Paths that match any of the patterns, sorted, each once; a missing folder matches nothing."""
    return sorted(
        {
            path
            for pattern in globs
            for alternative in expand_braces(pattern)
            for path in glob.iglob(alternative, recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
        }
    )


def expand_braces(pattern: str) -> list[str]:
    """Write out the alternatives of ``{a,b}``, which the standard library does not know.

    Raises:
        CallError: braces do not match, or there are more than a thousand alternatives.
    """
    done: list[str] = []
    waiting = [pattern]
    while waiting:
        text = waiting.pop()
        # The last opening brace has no other inside, so that nesting unfolds from within.
        start = text.rfind("{")
        if start < 0:
            if "}" in text:
                raise CallError(f"unmatched `}}` in glob `{pattern}`")
            done.append(text)
            continue
        end = text.find("}", start)
        if end < 0:
            raise CallError(f"unmatched `{{` in glob `{pattern}`")
        waiting.extend(
            f"{text[:start]}{alternative}{text[end + 1 :]}"
            for alternative in text[start + 1 : end].split(",")
        )
        if len(waiting) + len(done) > _MAX_ALTERNATIVES:
            raise CallError(f"glob `{pattern}` has more than {_MAX_ALTERNATIVES} alternatives")
    # Nested braces unfold to some texts more than once.
    return list(dict.fromkeys(done))


FUNCTIONS = (set_config_monitor_globs, eval_config_monitor_globs, bump_config_epoch)
