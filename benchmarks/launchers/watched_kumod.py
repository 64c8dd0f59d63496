"""``kumod`` that tells on SIGUSR1 how many tasks and objects it has.

Run as a program with kumod's arguments; appends a line of JSON to the file ``state`` in the folder
KUMO_VAR for each signal: tasks of the event loop, objects that the garbage collector follows, and the most
numerous of their types.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path

from kumo.cli import main

_MOST = 40
"""Types that are told."""


def tell(*_: object) -> None:
    """Append what there is now; nothing before the event loop runs."""
    try:
        tasks = sorted(task.get_name() for task in asyncio.all_tasks())
    except RuntimeError:
        return
    objects = gc.get_objects()
    types = Counter(f"{type(one).__module__}.{type(one).__qualname__}" for one in objects)
    line = {"tasks": len(tasks), "objects": len(objects), "types": dict(types.most_common(_MOST))}
    del objects
    with Path(os.environ["KUMO_VAR"], "state").open("a") as state:
        state.write(json.dumps(line) + "\n")


signal.signal(signal.SIGUSR1, tell)
sys.exit(main())
