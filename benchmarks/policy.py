"""What policy costs, as multiples of the binding's own calls: runs ``bench_policy`` and makes its tables.

Events are told as multiples of a bare call into Lua with a number and a text, methods as multiples of a bare
call from Lua into Python with the same. Of each the fastest round counts: other work on the machine lengthens
the rest.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any

from benchmarks import report
from benchmarks.bench_policy import CALLS, REPEATS

_EVENTS = {
    "ehlo": "one meta value set",
    "mail_from": "looks at the domain",
    "rcpt_to": "looks at user and domain",
    "message_received": "two values set, two read, one field prepended",
    "three_events": "",
    "four_events": "",
}
"""Events by their name in ``bench_policy``, and what the usual handler does."""

_ALL = {"three_events": "the last three, for one message", "four_events": "all four"}

_MAKES_MESSAGE = {"message_received", "three_events", "four_events"}
"""Events that are fired with a message of their own, whose making is not policy's."""


def measure() -> dict[str, Any]:
    """Run the benchmarks.

    Returns:
        Seconds of the fastest round, by benchmark and its parameters.
    """
    report.RESULTS.mkdir(parents=True, exist_ok=True)
    path = report.RESULTS / "bench_policy.json"
    program = [sys.executable, "-m", "pytest", "benchmarks/bench_policy.py", "--benchmark-enable", "--quiet"]
    subprocess.run(
        [*program, "--benchmark-max-time=0.3", f"--benchmark-json={path}"],
        cwd=report.FOLDER.parent,
        check=True,
    )
    found = json.loads(path.read_text())["benchmarks"]
    return {benchmark["name"]: benchmark["stats"]["min"] for benchmark in found}


def section(results: dict[str, Any]) -> str:
    """The tables of events and of methods."""
    into_lua = results["test_bare_call_into_lua[2]"]
    into_python = results["test_bare_calls_into_python"] / REPEATS
    rows = []
    for event, does in _EVENTS.items():
        making = results["test_event[make_message-absent]"] if event in _MAKES_MESSAGE else 0.0
        seconds = [
            results[f"test_event[{event}-{policy}]"] - making for policy in ("absent", "empty", "usual")
        ]
        cells = [report.number(max(0.0, one) / into_lua) for one in seconds]
        cells[2] += f" ({does})" if does else f", which is {report.number(seconds[2] * 1e6)} µs"
        rows.append([_ALL.get(event, f"`smtp_server_{event}`"), *cells])
    methods = [
        [f"`{text.removeprefix('local _ = ')}`", report.number(_of_one(results, call) / into_python)]
        for call, text in CALLS.items()
        if text
    ]
    bare = (
        f"{report.machine()}. A bare call into Lua took {report.number(into_lua * 1e6)} µs, "
        f"one from Lua into Python {report.number(into_python * 1e6)} µs."
    )
    events = report.table(["event", "without handler", "empty handler", "usual handler"], rows)
    return f"{bare}\n\n{events}\n\n{report.table(['call in a handler', 'bare calls into Python'], methods)}"


def _of_one(results: dict[str, Any], call: str) -> float:
    """Seconds of a call in a handler, without the loop around it."""
    return max(0.0, float(results[f"test_call[{call}]"] - results["test_call[loop]"])) / REPEATS


def main() -> None:
    """Run the benchmarks and print their tables."""
    parser = argparse.ArgumentParser(description="Cost of policy's events and of the methods of its objects.")
    report.add_options(parser)
    options = parser.parse_args()
    if not options.saved:
        report.keep("policy", measure())
    report.publish({"policy": section(report.saved("policy"))}, write=options.write)


if __name__ == "__main__":
    main()
