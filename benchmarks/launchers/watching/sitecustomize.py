"""Has each process of the daemon tell what it holds: on SIGUSR1 at once, on SIGUSR2 after a collection.

An interpreter imports it by itself where its folder is in PYTHONPATH, and so do the workers that it starts.
It appends a line of JSON to the file ``state.PID`` in the folder KUMO_VAR for each signal: tasks of the event
loop, objects that the garbage collector follows, and how many there are of each type of kumo's own. Only a
collection tells what is leaked from what is not yet collected; to collect while it is under load would hide
what load does.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
from collections import Counter
from pathlib import Path


def tell(number: int, _: object) -> None:
    """Append what there is now; nothing before the event loop runs."""
    if number == signal.SIGUSR2:
        gc.collect()
    try:
        tasks = len(asyncio.all_tasks())
    except RuntimeError:
        return
    objects = gc.get_objects()
    types = Counter(f"{type(one).__module__}.{type(one).__qualname__}" for one in objects)
    own = {name: count for name, count in types.items() if name.startswith("kumo.")}
    line = {"tasks": tasks, "objects": len(objects), "types": own}
    del objects
    with Path(os.environ["KUMO_VAR"], f"state.{os.getpid()}").open("a") as state:
        state.write(json.dumps(line) + "\n")


signal.signal(signal.SIGUSR1, tell)
signal.signal(signal.SIGUSR2, tell)
