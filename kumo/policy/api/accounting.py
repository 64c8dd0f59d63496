"""``kumo.aaa``: the log of who tried to authenticate."""

from __future__ import annotations

from typing import Any

from kumo.config import AcctLog
from kumo.policy.api.arguments import TABLE, lua_function
from kumo.policy.api.constructors import declared
from kumo.policy.registry import PolicyContext


@lua_function("aaa.configure_acct_log", TABLE)
def configure_acct_log(context: PolicyContext, parameters: Any) -> None:
    """Declare the accounting log; the last call counts."""
    acct_log = declared(context, "kumo.aaa.configure_acct_log", parameters, AcctLog)
    if acct_log is not None:
        context.declarations.acct_log = acct_log


FUNCTIONS = (configure_acct_log,)
