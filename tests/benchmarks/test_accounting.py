"""What is read from ``/proc`` is what processes really use."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import accounting

BURN = """
import os, sys, time
def burn():
    end = time.process_time() + 0.2
    while time.process_time() < end: pass
burn()
if os.fork() == 0:
    burn()
    os._exit(0)
os.wait()
print('burnt', flush=True)
sys.stdin.read()
"""


def test_cpu_time_is_that_of_the_tree_with_children_that_have_ended() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", BURN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        used = accounting.cpu_seconds(process.pid)
        process.communicate()
    # Both burn 0.2 seconds of their own; a hundredth may be cut off the one that has ended.
    assert used >= 0.39


def test_cpu_time_of_this_process_is_its_own_clock() -> None:
    before, seen = time.process_time(), accounting.cpu_seconds(os.getpid())
    after = time.process_time()
    children = sum(os.times()[2:4])
    assert before <= seen - children <= after + 0.02


def test_a_child_is_in_the_tree_while_it_lives() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert process.pid in set(accounting.tree(os.getpid()))
        process.communicate(b"\n")
    assert process.pid not in set(accounting.tree(os.getpid()))


def test_descriptors_and_sockets_are_counted() -> None:
    before = accounting.descriptors(os.getpid())
    with socket.socket():
        opened = accounting.descriptors(os.getpid())
    assert opened.sockets == before.sockets + 1
    assert opened.all == before.all + 1


def test_memory_of_a_process_that_took_some() -> None:
    before = accounting.memory(os.getpid())
    taken = bytearray(b"x" * 32_000_000)
    after = accounting.memory(os.getpid())
    assert after.resident - before.resident > 30_000_000
    assert after.anonymous - before.anonymous > 30_000_000
    assert after.proportional <= after.resident
    del taken


def test_an_open_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "segment"
    with path.open("w"):
        assert str(path) in accounting.targets(os.getpid())
    assert str(path) not in accounting.targets(os.getpid())


def test_memory_of_a_tree_is_that_of_its_processes() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        of_each = accounting.memory_of_each(os.getpid())
        assert {os.getpid(), process.pid} <= of_each.keys()
        assert accounting.memory(process.pid).resident > 0
        process.communicate(b"\n")
