"""``kumo.policy_extras``: what the Lua modules in ``kumo/policy/share`` need beyond KumoMTA's functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kumo.config import ListenerDomain
from kumo.policy.api.arguments import TABLE, lua_function
from kumo.policy.json_values import lua_to_plain
from kumo.policy.parameters import Problem, examine
from kumo.policy.registry import PolicyContext


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerDomainEntry(ListenerDomain):
    """One domain in a file of ``policy-extras.listener_domains``."""

    relay_from_authz: tuple[str, ...] = ()
    """Authorisation ids that may relay with a sender of this domain."""


@lua_function("policy_extras.listener_domain_problems", TABLE)
def listener_domain_problems(context: PolicyContext, entry: Any) -> Any:
    """Everything that is wrong with an entry, one text for each."""
    problems, _ = examine(lua_to_plain(entry), ListenerDomainEntry)
    return context.to_lua([_text(problem) for problem in problems])


def _text(problem: Problem) -> str:
    text = f"`{'.'.join(problem.path)}`: {problem.detail}" if problem.path else problem.detail
    return f"{text} ({problem.hint})" if problem.hint else text


FUNCTIONS = (listener_domain_problems,)
