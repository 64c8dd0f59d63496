"""kumod --workers: several real processes on one port, killed, drained, changed in number."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from kumo.spool import list_spool
from tests.workers.steering import needs_steering

from .daemon import PATIENCE, STARTED, Kumod, run_kumod
from .load import RECIPIENTS, Load, whole_contents
from .test_durability import DELIVER, deliver_all, listed_ids, set_policy
from .test_service import (
    ACTIVATE,
    USER,
    Manager,
    address_of,
    free_low_port,
    home,
    listening,
    readable_for_all,
)
from .wire import Peer

__all__ = ["home"]  # a fixture

POLICY = """
kumo.on('init', function()
  spools(false)
  logs()
  kumo.start_esmtp_listener { listen = '%s', hostname = 'mx.test' }
  kumo.start_http_listener { listen = '127.0.0.1:0' }
end)
"""
SLEEP_UNTIL_AWAKE = """
kumo.on('smtp_server_ehlo', function(domain)
  if domain == 'slow.test' then
    kumo.log_info 'asleep'
    while not io.open(var .. '/awake') do kumo.sleep(0.01) end
  end
end)
"""
KEEP = POLICY % "127.0.0.1:0"
CONTENT = b"Subject: x\r\n\r\nbody\r\n"
STANDARD_ERROR = 2
MOST_CONNECTIONS = 64
"""Until both of two workers have had one; the chance that they have not is nil."""


class Workers(Kumod):
    """A daemon of several processes.

    Args:
        count: how many; may be changed between two starts.
        environment: as ``Kumod`` takes it.
        prefix: likewise.
        user: whom it is to become.
        descriptors: as ``Kumod`` takes them.
    """

    def __init__(
        self,
        folder: Path,
        policy: str,
        count: int = 2,
        *,
        environment: dict[str, str] | None = None,
        prefix: Sequence[str] = (),
        user: str | None = None,
        by_processor: bool | None = None,
        descriptors: Sequence[int] = (),
    ) -> None:
        super().__init__(folder, policy, environment=environment, prefix=prefix, descriptors=descriptors)
        self.count = count
        self.user = user
        self.by_processor = by_processor

    def start(self) -> None:
        user = () if self.user is None else ("--user", self.user)
        choices = {None: (), True: ("--by-processor",), False: ("--no-by-processor",)}
        steered = choices[self.by_processor]
        self.arguments = ("--workers", str(self.count), *steered, *user)
        super().start()

    def pids(self) -> dict[int, int]:
        """Process ids of the workers that were started last, by number."""
        for _ in self._new_lines():
            pass
        found = re.findall(r"worker (\d+) is process (\d+)", "".join(self.lines))
        return {int(number): int(pid) for number, pid in found}

    def kill_worker(self, number: int, sig: signal.Signals = signal.SIGKILL) -> int:
        """Send a worker a signal; its process id."""
        pid = self.pids()[number]
        os.kill(pid, sig)
        return pid

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of an HTTP request."""
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.http_port}{path}", timeout=PATIENCE
            ) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def liveness(self) -> tuple[int, str]:
        return self.get("/api/check-liveness/v1")

    def metrics(self) -> dict[str, float]:
        """Every line of ``/metrics``."""
        lines = [line for line in self.get("/metrics")[1].splitlines() if not line.startswith("#")]
        series = [line.rpartition(" ") for line in lines]
        assert len({name for name, _, _ in series}) == len(series)
        return {name: float(value) for name, _, value in series}

    def kept_in(self, number: int) -> int:
        """Messages in a worker's shard."""
        return len(list(list_spool(self.folder / "spool" / "meta" / "workers" / str(number))))


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def descriptors_of(pid: int) -> Iterator[tuple[str, int]]:
    """What each descriptor of a process leads to, and its flags, but for standard input, output and error.

    Its threads go on opening and closing files, so what was listed may be gone when it is looked at.
    """
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            link = str(path.readlink())
            info = Path(f"/proc/{pid}/fdinfo/{path.name}").read_text()
            flags = re.search(r"^flags:\t(\d+)$", info, re.MULTILINE)
            assert flags is not None
            if int(path.name) > STANDARD_ERROR:
                yield link, int(flags[1], 8)


def inheritable(pid: int) -> list[str]:
    """What a program that a policy starts would inherit beside standard input, output and error."""
    return [link for link, flags in descriptors_of(pid) if not flags & os.O_CLOEXEC]


def sockets_of(pid: int) -> set[str]:
    """The sockets that a process has, as the kernel names them."""
    return {link for link, _ in descriptors_of(pid) if link.startswith("socket:")}


def send_one(daemon: Kumod, recipient: bytes = b"b@example.org") -> None:
    with Peer(daemon.port) as peer:
        peer.greet()
        assert peer.offer(CONTENT, recipient).code == 250
        peer.ask(b"QUIT")


def send_until(daemon: Kumod, is_enough: Callable[[], bool]) -> int:
    """Send mail, each on a connection of its own, until it is enough; how many were sent."""
    for count in range(1, MOST_CONNECTIONS + 1):
        send_one(daemon)
        if is_enough():
            return count
    raise AssertionError("one worker gets no connection")


def wait_for(is_so: Callable[[], bool], daemon: Kumod) -> None:
    daemon.wait_until(is_so)
    assert is_so()


def wait_for_messages(daemon: Workers, count: int) -> None:
    """Until the queues have so many."""
    wait_for(lambda: daemon.metrics()["message_count"] == count, daemon)


def kill_if_left(*pids: int) -> None:
    for pid in pids:
        if is_running(pid):
            os.kill(pid, signal.SIGKILL)


# --- service --------------------------------------------------------------------------------------


def test_all_workers_take_mail_and_are_counted_as_one(tmp_path: Path) -> None:
    with Workers(tmp_path, KEEP + DELIVER) as daemon:
        assert set(daemon.pids()) == {1, 2}

        def writers() -> set[int]:
            names = [path.name for path in daemon.delivered()]
            return {int(match[1]) for name in names if (match := re.search(r"P(\d+)", name))}

        count = send_until(daemon, lambda: len(writers()) == 2)
        assert daemon.liveness() == (200, "OK")
        wait_for(lambda: len(list(daemon.delivered())) == count, daemon)
        assert writers() == set(daemon.pids().values())
        wait_for(
            lambda: daemon.metrics().get('total_messages_delivered{service="Maildir"}', count) == count,
            daemon,
        )
        metrics = daemon.metrics()
        assert metrics['total_messages_received{service="esmtp_listener"}'] == count
        assert metrics['total_connection_count{service="esmtp_listener"}'] == count
        assert metrics["smtpsrv_transaction_duration_count"] == count
        assert metrics['smtpsrv_transaction_duration_bucket{le="+Inf"}'] == count
        assert metrics["message_count"] == 0
        one_process = Path(f"/proc/{daemon.process.pid}/statm").read_text().split()[1]
        assert metrics["memory_usage"] > 2 * int(one_process) * os.sysconf("SC_PAGE_SIZE")
        pids = daemon.pids()
        assert [inheritable(pid) for pid in pids.values()] == [[], []]
        assert daemon.stop() == 0
        assert not any(is_running(pid) for pid in pids.values())
        records = daemon.records()
    assert Counter(record["type"] for record in records) == {"Reception": count, "Delivery": count}
    ids = [record["id"] for record in records if record["type"] == "Reception"]
    assert len(set(ids)) == count
    # Node and clock sequence: one for each worker.
    assert len({spool_id[16:] for spool_id in ids}) == 2
    assert not [path for path in (tmp_path / "log").iterdir() if path.stat().st_mode & 0o222]


def test_a_worker_has_only_what_it_was_handed(tmp_path: Path) -> None:
    """No pipe whose reader would wait for it, no second output, nothing of the parent's or of another one."""
    reading, writing = os.pipe()
    with os.fdopen(reading), os.fdopen(writing, "w"):
        unwanted = str(Path(f"/proc/self/fd/{writing}").readlink())
        with Workers(tmp_path, KEEP, descriptors=[writing]) as daemon:
            daemon.kill_worker(1)
            daemon.wait_for_line("worker 1: serving")
            first, second = daemon.pids().values()
            for pid in (first, second):
                output = str(Path(f"/proc/{pid}/fd/{STANDARD_ERROR}").readlink())
                assert not {link for link, _ in descriptors_of(pid)} & {unwanted, output}
                assert inheritable(pid) == []
                # The one that both listen on.
                assert len(sockets_of(pid) & sockets_of(daemon.process.pid)) == 1
            assert not sockets_of(first) & sockets_of(second)


def test_one_worker_is_one_process(tmp_path: Path) -> None:
    with Workers(tmp_path, KEEP, count=1) as daemon:
        assert daemon.pids() == {}
        children = Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children").read_text()
        assert children == ""
        send_one(daemon)
        assert not (tmp_path / "spool" / "meta" / "workers").exists()


@pytest.mark.parametrize("count", ["0", "-1", "65", "two", ""])
def test_a_number_of_workers_that_is_none_is_wrong_usage(tmp_path: Path, count: str) -> None:
    done = run_kumod("--workers", count, cwd=tmp_path)
    assert done.returncode == 2
    assert "is no number from 1 to 64" in done.stderr


@pytest.mark.parametrize("option", ["--by-processor", "--no-by-processor"])
def test_to_deal_by_processor_is_for_several(tmp_path: Path, option: str) -> None:
    done = run_kumod(option, cwd=tmp_path)
    assert done.returncode == 2
    assert "--by-processor is for --workers" in done.stderr


HOLD = """
import os, socket, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
held = [socket.create_connection(("127.0.0.1", int(sys.argv[2]))) for _ in range(int(sys.argv[3]))]
print("connected", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def held_from(processor: int, count: int, daemon: Workers) -> Iterator[None]:
    """Connections from one processor, until left; some may still wait to be accepted."""
    program = [sys.executable, "-c", HOLD, str(processor), str(daemon.port), str(count)]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == b"connected\n"
        yield


@needs_steering
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="takes two processors")
def test_connections_are_dealt_by_processor(tmp_path: Path) -> None:
    with Workers(tmp_path, KEEP, by_processor=True) as daemon:
        for number, processor in enumerate(sorted(os.sched_getaffinity(0))[:2], 1):
            worker = daemon.pids()[number]
            before = len(sockets_of(worker))
            with held_from(processor, 12, daemon):
                wait_for(lambda pid=worker, had=before: len(sockets_of(pid)) == had + 12, daemon)  # type: ignore[misc]


@needs_steering
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="takes two processors")
def test_how_connections_are_dealt_follows_where_they_arrive(tmp_path: Path) -> None:
    first, second = sorted(os.sched_getaffinity(0))[:2]
    with Workers(tmp_path, KEEP) as daemon:
        with held_from(first, 40, daemon), held_from(second, 40, daemon):
            daemon.wait_for_line("connections are dealt by processor")
        counted = daemon.metrics()
        assert counted[f'connections_by_processor{{arrival="127.0.0.1:{daemon.port}/{first}"}}'] >= 40
        assert counted[f'connections_by_processor{{arrival="127.0.0.1:{daemon.port}/{second}"}}'] >= 40
        wait_for(lambda: daemon.metrics()['connection_count{service="esmtp_listener"}'] == 0, daemon)
        worker = daemon.pids()[2]
        before = len(sockets_of(worker))
        with held_from(second, 12, daemon):
            wait_for(lambda: len(sockets_of(worker)) == before + 12, daemon)
        with held_from(first, 300, daemon):
            daemon.wait_for_line("connections are dealt by chance")


# --- workers that end -----------------------------------------------------------------------------


def test_kill_9_of_a_worker_under_load_loses_nothing(tmp_path: Path) -> None:
    """It is started again and serves; what it had acknowledged is there, each message once."""
    with Workers(tmp_path, KEEP) as daemon:
        load = Load(daemon.port, 0)
        load.start()
        daemon.wait_until(lambda: load.count > 40)
        for victim in (1, 2):
            killed = daemon.kill_worker(victim)
            daemon.wait_for_line(f"worker {victim} (process {killed}) was ended by SIGKILL")
            daemon.wait_for_line(f"worker {victim}: serving")
        load.join()
        send_one(daemon)
        assert daemon.stop() == 0
        listed = listed_ids(daemon)
        assert len(listed) == len(set(listed))
        assert {spool_id for one in load.acknowledged for spool_id in one.ids} <= set(listed)
        set_policy(daemon, KEEP + DELIVER)
        daemon.start()
        wait_for(lambda: not has_stored(daemon), daemon)
        assert daemon.stop() == 0
        (single,) = (tmp_path / "maildir").glob("example.org/b/new/*")
        single.unlink()
        delivered = whole_contents(daemon.delivered())
    assert set(delivered.values()) == {1}
    assert len(delivered) == len(listed) - 1
    expected = {
        (one.number, to.decode()) for one in load.acknowledged for to in RECIPIENTS[: 1 + one.number % 2]
    }
    assert expected <= set(delivered)


def has_stored(daemon: Kumod) -> bool:
    # In files or in a journal: a busy machine's clean end may leave some there.
    return any(list_spool(daemon.folder / "spool" / "meta"))


def test_counters_do_not_go_down_with_a_worker(tmp_path: Path) -> None:
    received = 'total_messages_received{service="esmtp_listener"}'
    with Workers(tmp_path, KEEP) as daemon:
        count = send_until(daemon, lambda: bool(daemon.kept_in(1) and daemon.kept_in(2)))
        assert daemon.metrics()[received] == count
        daemon.kill_worker(1)
        daemon.wait_for_line("worker 1: serving")
        send_one(daemon)
        assert daemon.metrics()[received] == count + 1


def test_what_a_worker_counted_is_known_without_a_scrape(tmp_path: Path) -> None:
    """Until its last sign of life when it is killed, and all of it when it ends by itself."""
    manager = Manager(tmp_path / "notify")
    with manager.socket:
        environment = {"NOTIFY_SOCKET": str(manager.socket.getsockname()), "WATCHDOG_USEC": "200000"}
        with Workers(tmp_path, KEEP, environment=environment) as daemon, contextlib.ExitStack() as peers:
            count = send_until(daemon, lambda: bool(daemon.kept_in(1) and daemon.kept_in(2)))
            # Signs of life tell of sessions, and come behind the counts.
            for _ in range(MOST_CONNECTIONS):
                peers.enter_context(Peer(daemon.port)).greet()
            manager.hear_until(f"STATUS=serving, {MOST_CONNECTIONS} sessions")
            daemon.kill_worker(1)
            daemon.wait_for_line("worker 1: serving")
            peers.close()
            kept = daemon.kept_in(2)
            count += send_until(daemon, lambda: daemon.kept_in(2) > kept)
            daemon.kill_worker(2, signal.SIGTERM)
            daemon.wait_for_line("worker 2: serving")
            metrics = daemon.metrics()
            assert metrics['total_messages_received{service="esmtp_listener"}'] == count
            connections = metrics['total_connection_count{service="esmtp_listener"}']
            assert connections == count + MOST_CONNECTIONS


def test_a_worker_that_is_told_to_end_is_replaced_without_a_word_to_others(tmp_path: Path) -> None:
    with Workers(tmp_path, KEEP) as daemon:
        before = daemon.pids()
        with Peer(daemon.port) as first:
            first.greet()
            daemon.kill_worker(1, signal.SIGTERM)
            daemon.kill_worker(1, signal.SIGTERM)
            daemon.wait_for_line("worker 1: serving")
            assert "ended with status 0" in "".join(daemon.lines)
        after = daemon.pids()
        assert after[1] != before[1]
        assert after[2] == before[2]
        send_until(daemon, lambda: bool(daemon.kept_in(1) and daemon.kept_in(2)))
        assert daemon.stop() == 0


def test_a_worker_that_drains_gets_no_connection(tmp_path: Path) -> None:
    """Nor does anybody wait for it: the others take its part at once, not when its last session has ended."""
    with Workers(tmp_path, KEEP + SLEEP_UNTIL_AWAKE) as daemon:
        pids = daemon.pids()
        with Peer(daemon.port) as busy:
            busy.reply()
            busy.send(b"EHLO slow.test\r\n")
            number = int(re.findall(r"worker (\d): ", daemon.wait_for_line("asleep"))[0])
            daemon.kill_worker(number, signal.SIGTERM)
            daemon.wait_for_line(f"worker {number} was told to end, and drains")
            wait_for(lambda: listening_sockets(daemon.port) == 1, daemon)
            for _ in range(MOST_CONNECTIONS):
                send_one(daemon)
            assert daemon.liveness() == (503, f"waiting for worker {number}")
            assert is_running(pids[number])
            assert daemon.pids() == pids
            (tmp_path / "awake").touch()
            assert [busy.reply().code for _ in range(2)] == [250, 421]
        daemon.wait_for_line(f"worker {number}: serving")
        (ending,) = [line for line in daemon.lines if "ended with status 0; it is started again" in line]
        assert " INFO " in ending
        assert daemon.stop() == 0


def listening_sockets(port: int) -> int:
    """Among how many sockets the kernel deals out the connections to a port of 127.0.0.1."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    return sum(row[1] == f"0100007F:{port:04X}" and row[3] == "0A" for row in rows)


def test_a_worker_that_hangs_is_named_to_probes(tmp_path: Path) -> None:
    with Workers(tmp_path, KEEP) as daemon:
        stopped = daemon.kill_worker(2, signal.SIGSTOP)
        try:
            wait_for(lambda: daemon.liveness() == (503, "worker 2 does not answer"), daemon)
            # It has its time limit, and the answer of the other one comes.
            assert daemon.metrics()["memory_usage"] > 0
        finally:
            os.kill(stopped, signal.SIGCONT)
        wait_for(lambda: daemon.liveness() == (200, "OK"), daemon)
        assert daemon.stop() == 0


def test_workers_that_cannot_start_end_the_daemon(tmp_path: Path) -> None:
    policy = KEEP + (
        "if io.open(var .. '/was-read') then error('not for a worker') end "
        "io.open(var .. '/was-read', 'w'):close()"
    )
    daemon = Workers(tmp_path, policy)
    with pytest.raises(AssertionError, match=r"kumod ended"):
        daemon.start()
    assert daemon.process.returncode == 1
    log = "".join(daemon.lines)
    assert "not for a worker" in log
    assert re.search(
        r"^Error: worker \d \(process \d+\) ended with status 1 before the daemon served", log, re.MULTILINE
    )
    assert not any(is_running(pid) for pid in daemon.pids().values())


def test_a_worker_that_dies_again_and_again_ends_the_daemon(tmp_path: Path) -> None:
    policy = KEEP + (
        "if io.open(var .. '/was-read') then os.execute('kill -9 $PPID') end "
        "io.open(var .. '/was-read', 'w'):close()"
    )
    daemon = Workers(tmp_path, policy)
    with pytest.raises(AssertionError, match=r"kumod ended"):
        daemon.start()
    assert daemon.process.returncode == 1
    log = "".join(daemon.lines)
    assert re.search(
        r"^Error: worker \d .* was ended by SIGKILL, for the 5th time in a row", log, re.MULTILINE
    )
    assert not any(is_running(pid) for pid in daemon.pids().values())


def test_who_connects_while_a_failed_daemon_drains_is_refused(tmp_path: Path) -> None:
    """Also by the sockets of the worker that could not be started: nobody would accept from them."""
    policy = (
        KEEP
        + """
        local function exists(name) local file = io.open(var .. '/' .. name) return file and file:close() end
        if exists 'first' then
          while not exists 'go' do os.execute 'sleep 0.01' end
          error 'not for a second worker'
        elseif exists 'parent' then
          io.open(var .. '/first', 'w'):close()
        else
          io.open(var .. '/parent', 'w'):close()
        end
    """
    )
    daemon = Workers(tmp_path, policy + SLEEP_UNTIL_AWAKE)
    daemon.started = ": serving"
    with daemon:
        serving = int(re.findall(r"worker (\d): serving", "".join(daemon.lines))[0])
        with greeted_by_any(daemon) as busy:
            busy.send(b"EHLO slow.test\r\n")
            daemon.wait_for_line("asleep")
            (tmp_path / "go").touch()
            daemon.wait_for_line(f"worker {serving}: shutting down")
            wait_for(lambda: is_refused(daemon.port), daemon)
            assert all(is_refused(daemon.port) for _ in range(MOST_CONNECTIONS))
            assert is_running(daemon.pids()[serving])
            (tmp_path / "awake").touch()
        assert daemon.process.wait(timeout=PATIENCE) == 1


def greeted_by_any(daemon: Kumod) -> Peer:
    """A connection that the worker has that serves; one that waits for another worker is given up."""
    for _ in range(MOST_CONNECTIONS):
        peer = Peer(daemon.port)
        if select.select([peer.socket], [], [], 0.2)[0]:
            assert peer.reply().code == 220
            return peer
        peer.socket.close()
    raise AssertionError("nobody serves")


def is_refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
    except ConnectionRefusedError:
        return True
    return False


def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    """And as long as one of them drains, no other daemon gets the spool."""
    gate = tmp_path / "gate"
    handler = f"""kumo.on('smtp_server_ehlo', function()
      kumo.log_info 'asleep'
      while not io.open('{gate}') do kumo.sleep(0.01) end
    end)"""
    with Workers(tmp_path, KEEP + handler) as daemon:
        pids = list(daemon.pids().values())
        try:
            with Peer(daemon.port) as peer:
                peer.reply()
                peer.send(b"EHLO slow.test\r\n")
                daemon.wait_for_line("asleep")
                daemon.kill()
                second = run_kumod("--workers", "2", "--policy", str(daemon.script), cwd=tmp_path)
                assert second.returncode == 1
                assert "unable to lock pid file" in second.stderr
                gate.touch()
            wait_until_ended(pids)
        finally:
            kill_if_left(*pids)
        daemon.start()
        assert daemon.liveness() == (200, "OK")


def wait_until_ended(pids: list[int]) -> None:
    for pid in pids:
        if not is_running(pid):
            continue
        with subprocess.Popen(["tail", f"--pid={pid}", "-f", "/dev/null"]) as waiting:
            waiting.wait(timeout=PATIENCE)


# --- the end --------------------------------------------------------------------------------------


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_drains_all_workers(tmp_path: Path, sig: signal.Signals) -> None:
    with Workers(tmp_path, KEEP) as daemon:
        peers = [Peer(daemon.port) for _ in range(8)]
        for peer in peers:
            peer.greet()
        pids = daemon.pids()
        daemon.process.send_signal(sig)
        for peer in peers:
            assert peer.reply().code == 421
            peer.socket.close()
        assert daemon.stop(sig) == 0
        assert not any(is_running(pid) for pid in pids.values())


def test_a_second_signal_hurries_all_workers(tmp_path: Path) -> None:
    policy = KEEP + "kumo.on('smtp_server_ehlo', function() kumo.log_info 'asleep' kumo.sleep(3600) end)"
    with Workers(tmp_path, policy) as daemon, Peer(daemon.port) as peer:
        peer.reply()
        peer.send(b"EHLO slow.test\r\n")
        daemon.wait_for_line("asleep")
        daemon.process.terminate()
        daemon.wait_for_line("shutting down")
        assert daemon.stop() == 0


# --- the spool ------------------------------------------------------------------------------------


def test_changing_their_number_loses_nothing(tmp_path: Path) -> None:
    """1, 3, 2, 2 and 1 processes on one spool, killed or stopped in between; then all is delivered once."""
    daemon = Workers(tmp_path, KEEP)
    sent = 0
    try:
        for count, is_killed in ((1, False), (3, False), (2, True), (1, True), (3, True)):
            daemon.count = count
            daemon.start()
            load = Load(daemon.port, sent)
            with Peer(daemon.port) as peer:
                peer.greet()
                for number in range(sent, sent + 12):
                    assert load.offer(peer, number).startswith("250 OK")
            sent += 12
            expected = [
                (number, to.decode()) for number in range(sent) for to in RECIPIENTS[: 1 + number % 2]
            ]
            wait_for_messages(daemon, len(expected))
            if is_killed:
                pids = daemon.pids() if count > 1 else {}
                daemon.kill()
                wait_until_ended([pids[number] for number in range(1, count + 1) if pids])
            else:
                assert daemon.stop() == 0
            listed = listed_ids(daemon)
            assert len(listed) == len(set(listed)) == len(expected)
        daemon.count = 1
        deliver_all(daemon, len(listed))
    finally:
        daemon.kill()
    assert whole_contents(daemon.delivered()) == Counter(expected)


def test_adopted_messages_leave_their_orphan(tmp_path: Path) -> None:
    with Workers(tmp_path, KEEP, count=1) as daemon:
        for _ in range(5):
            send_one(daemon)
        assert daemon.stop() == 0
        set_policy(daemon, KEEP + DELIVER)
        daemon.count = 2
        daemon.start()
        wait_for(lambda: len(list(daemon.delivered())) == 5 and not listed_ids(daemon), daemon)
        assert daemon.stop() == 0
        assert daemon.has_logged("worker 1: 5 messages of 1 other stores were adopted")
        assert len(list(daemon.delivered())) == 5


@pytest.mark.parametrize(("first", "second"), [(2, 1), (2, 3), (1, 2)])
def test_a_second_daemon_is_refused(tmp_path: Path, first: int, second: int) -> None:
    with Workers(tmp_path, KEEP, count=first) as daemon:
        done = run_kumod("--workers", str(second), "--policy", str(daemon.script), cwd=tmp_path)
        assert done.returncode == 1
        assert re.search(r"^Error: unable to lock pid file .*: process \d+ has it", done.stderr, re.MULTILINE)
        send_one(daemon)
        assert daemon.stop() == 0


# --- sockets, users, the service manager ----------------------------------------------------------


def test_a_port_that_is_taken_costs_an_exit_code(tmp_path: Path) -> None:
    """By another daemon's workers too, whose sockets could be shared."""
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    with Workers(tmp_path / "first", KEEP) as daemon:
        second = Workers(tmp_path / "second", POLICY % f"127.0.0.1:{daemon.port}")
        with pytest.raises(AssertionError, match="failed to bind"):
            second.start()
        assert second.process.returncode == 1
        assert second.pids() == {}


def test_a_socket_of_the_manager_is_served_by_all(tmp_path: Path) -> None:
    manager = Manager(tmp_path / "notify")
    with manager.socket, listening() as smtp:
        descriptor = os.dup(smtp.fileno())
        daemon = Workers(
            tmp_path,
            POLICY % address_of(smtp),
            prefix=(sys.executable, "-c", ACTIVATE, "1", str(descriptor)),
            descriptors=[descriptor],
            environment={"NOTIFY_SOCKET": str(manager.socket.getsockname()), "WATCHDOG_USEC": "200000"},
        )
        try:
            with Peer(smtp.getsockname()[1]) as early, daemon:
                early.greet()
                assert early.offer(CONTENT, b"b@example.org").code == 250
                heard = manager.hear_until("READY=1")
                assert "".join(daemon.lines).count(STARTED) == 1
                assert heard[-1] == "READY=1"
                with Peer(daemon.port):
                    manager.hear_until("STATUS=serving, 2 sessions")
                manager.hear_until("WATCHDOG=1")
                daemon.process.terminate()
                assert early.reply().code == 421
                early.socket.close()
                manager.hear_until("STOPPING=1")
                assert daemon.stop() == 0
            assert manager.heard.count("READY=1") == 1
        finally:
            os.close(descriptor)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has privileges to drop")
def test_workers_of_another_user_serve_a_low_port(home: Path) -> None:
    port = free_low_port()
    policy = POLICY % f"127.0.0.1:{port}"
    with Workers(home, policy, prefix=readable_for_all(), user=USER) as daemon:
        assert daemon.port == port
        send_until(daemon, lambda: bool(daemon.kept_in(1) and daemon.kept_in(2)))
        for pid in daemon.pids().values():
            status = Path(f"/proc/{pid}/status").read_text()
            assert re.search(r"^CapEff:\t0{16}$", status, re.MULTILINE)
            assert Path(f"/proc/{pid}").stat().st_uid != 0
        daemon.kill_worker(1)
        daemon.wait_for_line("worker 1: serving")
        # Its sockets are closed while it drains, and have to be bound again.
        daemon.kill_worker(2, signal.SIGTERM)
        daemon.wait_for_line("worker 2: serving")
        assert listening_sockets(port) == 2
        assert daemon.stop() == 0
