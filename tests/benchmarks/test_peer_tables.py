"""What is made of the results of a comparison."""

from __future__ import annotations

from benchmarks.peer_tables import worker_table


def test_a_second_worker_stands_beside_a_second_daemon() -> None:
    def row(*servers: tuple[str, float, float]) -> str:
        measured = {name: {"cpu_ms": cpu, "rate": rate} for name, cpu, rate in servers}
        return worker_table({"2k": measured}).splitlines()[-1]

    one, workers = ("kumod, 1 worker", 100.0, 1000.0), ("kumod, 2 workers", 125.0, 1500.0)
    daemons = ("kumod, 2 daemons", 110.0, 1800.0)
    by_chance = ("kumod, 2 workers, by chance", 200.0, 1100.0)
    assert row(one, workers, by_chance, daemons) == "| 2k | 1.50 | 1.10 | 1.80 | 1.60 | 1 | 1.82 |"
    assert row(one, workers) == "| 2k | 1.50 | - | - | 1.60 | - | - |"
