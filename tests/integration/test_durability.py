"""What got a 250 is ours: kill -9 and SIGTERM in the middle of a load, torn spools, spools of others."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import pytest

from kumo.spool import list_spool

from .daemon import Kumod, run_kumod
from .load import RECIPIENTS, Acknowledged, Load, whole_contents
from .wire import Peer, parse_replies, stuffed

HEAD = """
kumo.on('init', function()
  spools(%s)
  logs()
  kumo.start_esmtp_listener { listen = '127.0.0.1:0', hostname = 'mx.test', deferred_spool = %s }
end)
"""
KEEP = HEAD % ("false", "false")
DELIVER = "\nmaildir()\n"


def listed_ids(daemon: Kumod) -> list[str]:
    listed = run_kumod("--list-spool", str(daemon.folder / "spool" / "meta"), cwd=daemon.folder)
    assert listed.returncode == 0
    return [line.split()[0] for line in listed.stdout.splitlines()]


def set_policy(daemon: Kumod, policy: str) -> None:
    head = daemon.script.read_text().partition("kumo.on('init'")[0]
    daemon.script.write_text(head + policy)


def deliver_all(daemon: Kumod, count: int) -> None:
    """Start it once more with maildirs, until so many messages are delivered, and stop it."""
    set_policy(daemon, KEEP + DELIVER)
    daemon.start()
    daemon.wait_for_line("spool enumeration complete")
    daemon.wait_until(lambda: len(list(daemon.delivered())) >= count and not has_stored(daemon))
    assert daemon.stop() == 0
    assert listed_ids(daemon) == []


def has_stored(daemon: Kumod) -> bool:
    return any(list_spool(daemon.folder / "spool" / "meta"))


def run_load(daemon: Kumod, first_number: int, enough: int) -> Load:
    """Begin a load and return in the middle of it."""
    load = Load(daemon.port, first_number)
    load.start()
    daemon.wait_until(lambda: load.count >= enough)
    return load


@pytest.mark.parametrize("spool", ["false", "true", "false, 'RocksDB'", "true, 'RocksDB'"])
def test_kill_9_in_the_middle_of_a_load_loses_nothing(tmp_path: Path, spool: str) -> None:
    """Three rounds on one spool; then everything is delivered, each message exactly once and whole."""
    rng = random.Random(spool)  # noqa: S311 - a repeatable test
    acknowledged: list[Acknowledged] = []
    with Kumod(tmp_path, HEAD % (spool, "false")) as daemon:
        for number in range(3):
            if number:
                daemon.start()
            load = run_load(daemon, number * 100_000, rng.randrange(10, 120))
            daemon.kill()
            load.join()
            acknowledged += load.acknowledged
            listed = listed_ids(daemon)
            assert len(listed) == len(set(listed))
            assert {spool_id for one in acknowledged for spool_id in one.ids} <= set(listed)
        deliver_all(daemon, len(listed))
        delivered = whole_contents(daemon.delivered())
    assert set(delivered.values()) == {1}
    # More than were listed: a transaction that was committed by its manifest only when the kill came.
    assert len(listed) <= len(delivered) <= len(listed) + 2 * 4
    assert_transactions_are_whole(acknowledged, set(delivered))


def assert_transactions_are_whole(acknowledged: list[Acknowledged], delivered: set[tuple[int, str]]) -> None:
    """Every recipient of an acknowledged transaction; all or none of one that was not."""
    numbers = {one.number for one in acknowledged} | {number for number, _ in delivered}
    assert len(acknowledged) == len({one.number for one in acknowledged})
    for number in numbers:
        for recipient in RECIPIENTS[: 1 + number % 2]:
            assert (number, recipient.decode()) in delivered


def test_kill_9_while_mail_is_delivered_loses_nothing(tmp_path: Path) -> None:
    """Between a delivery and its removal from the spool a kill repeats the delivery, never loses it."""
    acknowledged: list[Acknowledged] = []
    with Kumod(tmp_path, KEEP + DELIVER) as daemon:
        for number in range(2):
            if number:
                daemon.start()
            load = run_load(daemon, number * 100_000, 60)
            daemon.kill()
            load.join()
            acknowledged += load.acknowledged
        before = whole_contents(daemon.delivered())
        listed = listed_ids(daemon)
        deliver_all(daemon, before.total() + len(listed))
        delivered = whole_contents(daemon.delivered())
    assert delivered.total() >= before.total() + len(listed)
    assert_transactions_are_whole(acknowledged, set(delivered))
    # At most what was in flight at a kill came twice.
    assert max(delivered.values()) <= 2
    assert delivered.total() - len(delivered) <= 2 * 16


@pytest.mark.parametrize("flush", ["false", "true"])
def test_sigterm_in_the_middle_of_a_load_accounts_for_every_250(tmp_path: Path, flush: str) -> None:
    with Kumod(tmp_path, HEAD % (flush, "false")) as daemon:
        with Peer(daemon.port) as idle, Peer(daemon.port) as halfway:
            idle.greet()
            halfway.greet()
            halfway.begin(b"a@example.com", b"first@load.example")
            halfway.send(b"half a mess")
            load = run_load(daemon, 0, 50)
            daemon.process.terminate()
            load.join()
            for peer in (idle, halfway):
                assert peer.rest() == b"421 4.3.2 mx.test shutting down\r\n"
        assert daemon.stop() == 0
        assert load.endings == ["421 4.3.2 mx.test shutting down"] * 4
        assert sorted(listed_ids(daemon)) == sorted(i for one in load.acknowledged for i in one.ids)
        count = len(listed_ids(daemon))
        received = [record["id"] for record in daemon.records() if record["type"] == "Reception"]
        assert sorted(received) == sorted(i for one in load.acknowledged for i in one.ids)
        deliver_all(daemon, count)
        delivered = whole_contents(daemon.delivered())
    assert set(delivered.values()) == {1}
    assert set(delivered) == {
        (one.number, to.decode()) for one in load.acknowledged for to in RECIPIENTS[: 1 + one.number % 2]
    }


def test_sigterm_waits_for_a_message_that_policy_looks_at(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    handler = f"""kumo.on('smtp_server_message_received', function()
      kumo.log_info 'it looks'
      while not io.open('{gate}') do kumo.sleep(0.01) end
    end)"""
    with Kumod(tmp_path, KEEP + handler) as daemon, Peer(daemon.port) as peer:
        peer.greet()
        peer.begin(b"a@example.com", b"b@example.org")
        peer.send(stuffed(b"Subject: x\r\n\r\n"))
        daemon.wait_for_line("it looks")
        daemon.process.terminate()
        daemon.wait_for_line("shutting down")
        gate.touch()
        answers = parse_replies(peer.rest())
        assert [a.code for a in answers] == [250, 421]
        assert daemon.stop() == 0
        assert len(listed_ids(daemon)) == 1


def test_a_deferred_spool_is_written_at_the_end(tmp_path: Path) -> None:
    """What is neither delivered nor on disk when the end comes, is saved."""
    with Kumod(tmp_path, HEAD % ("false", "true") + DELIVER) as daemon:
        load = run_load(daemon, 0, 150)
        daemon.process.terminate()
        load.join()
        assert daemon.stop() == 0
        delivered = whole_contents(daemon.delivered())
        saved = listed_ids(daemon)
        count = sum(len(one.ids) for one in load.acknowledged)
        assert delivered.total() + len(saved) == count
        deliver_all(daemon, count)
        delivered = whole_contents(daemon.delivered())
    assert set(delivered.values()) == {1}
    assert delivered.total() == count
    assert_transactions_are_whole(load.acknowledged, set(delivered))


def test_being_asked_to_end_again_and_again_cuts_nothing_short(tmp_path: Path) -> None:
    """A second signal drops the sessions that linger, and neither it nor any further one costs a message."""
    with Kumod(tmp_path, HEAD % ("false", "true") + DELIVER) as daemon, Peer(daemon.port) as lingering:
        lingering.greet()
        load = run_load(daemon, 0, 150)
        daemon.process.terminate()
        load.join()

        def has_ended() -> bool:
            daemon.process.terminate()
            return daemon.process.poll() is not None

        daemon.wait_until(has_ended)
        assert daemon.process.returncode == 0
        count = sum(len(one.ids) for one in load.acknowledged)
        assert whole_contents(daemon.delivered()).total() + len(listed_ids(daemon)) == count
        assert lingering.rest() == b"421 4.3.2 mx.test shutting down\r\n"


def test_a_deaf_client_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """Its time limit is five minutes, and it has been sent more than it reads."""
    with (
        Kumod(tmp_path, KEEP.replace("hostname", "client_timeout = 300, hostname")) as daemon,
        Peer(daemon.port, receive_buffer=4096) as deaf,
        Peer(daemon.port) as pacer,
    ):
        pacer.reply()
        deaf.socket.settimeout(0)
        octets = 0
        with contextlib.suppress(BlockingIOError):
            while octets < 100_000_000:
                octets += deaf.socket.send(b"EHLO client.example.com\r\n" * 1000)
                pacer.pace()
        assert octets < 100_000_000
        assert daemon.stop() == 0


def test_torn_and_foreign_files_are_set_aside(tmp_path: Path) -> None:
    with Kumod(tmp_path, KEEP) as daemon:
        ids = []
        with Peer(daemon.port) as peer:
            peer.greet()
            for number in range(6):
                peer.begin(b"a@example.com", b"b%d@torn.example" % number)
                peer.send(stuffed(b"Subject: x\r\n\r\n"))
                ids.append(peer.reply().text.removeprefix("OK ids="))
        # At rest each message is in files.
        assert daemon.stop() == 0
        spool = tmp_path / "spool"

        def entry(store: str, number: int) -> Path:
            levels = (ids[number][start : start + 2] for start in (0, 2, 4, 6))
            return (spool / store / "data").joinpath(*levels, ids[number][8:])

        entry("meta", 1).write_bytes(entry("meta", 1).read_bytes()[:50])
        entry("meta", 2).write_bytes(b"")
        entry("data", 3).unlink()
        entry("meta", 4).unlink()
        for store in ("data", "meta"):
            (spool / store / "data" / "README").write_text("not ours")
            (spool / store / "data" / "zz").mkdir()
            (spool / store / "new" / "half-written").write_bytes(b"\0" * 100)
            (spool / store / "CURRENT").write_text("MANIFEST-000001\n")
        deliver_all(daemon, 2)
        assert sorted(path.parts[-3] for path in daemon.delivered()) == ["b0", "b5"]
        log = "".join(daemon.lines)
        for number in range(1, 5):
            assert ids[number] in log
            assert any(ids[number] in path.name for path in spool.glob("*/quarantine/*"))
        assert log.count("README") >= 2
        assert "RocksDB" in log


def test_a_failing_policy_keeps_no_message_from_its_queue(tmp_path: Path) -> None:
    """What ``spool_message_enumerated`` does cannot lose what was promised."""
    with Kumod(tmp_path, KEEP) as daemon:
        load = run_load(daemon, 0, 10)
        daemon.process.terminate()
        load.join()
        assert daemon.stop() == 0
        count = len(listed_ids(daemon))
        set_policy(
            daemon,
            KEEP
            + DELIVER
            + "kumo.on('spool_message_enumerated', function(msg)"
            + " if msg:id():byte(8) % 2 == 0 then error 'no' else kumo.reject(550, 'no') end end)",
        )
        daemon.start()
        daemon.wait_until(lambda: len(list(daemon.delivered())) >= count)
        assert daemon.stop() == 0
        assert set(whole_contents(daemon.delivered()).values()) == {1}
        assert len(list(daemon.delivered())) == count


@pytest.mark.parametrize("way", ["a file", "not there"])
def test_an_unusable_spool_path_is_named(tmp_path: Path, way: str) -> None:
    path = tmp_path / "taken"
    path.write_text("")
    if way == "not there":
        path = path / "below"
    script = tmp_path / "init.lua"
    stores = "".join(f"kumo.define_spool {{ name = '{n}', path = '{path}/{n}' }} " for n in ("data", "meta"))
    script.write_text(f"local kumo = require 'kumo'\nkumo.on('init', function() {stores} end)")
    done = run_kumod("--policy", str(script), cwd=tmp_path)
    assert done.returncode == 1
    assert f"Error: unable to use spool data at {path}/data" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_daemon_harms_nothing(tmp_path: Path) -> None:
    with Kumod(tmp_path, KEEP) as daemon:
        load = run_load(daemon, 0, 10)
        second = run_kumod("--policy", str(daemon.script), cwd=tmp_path)
        assert second.returncode == 1
        assert "unable to lock" in second.stderr
        seen = load.count
        daemon.wait_until(lambda: load.count > seen)
        daemon.process.terminate()
        load.join()
        assert daemon.stop() == 0
        assert sorted(listed_ids(daemon)) == sorted(i for one in load.acknowledged for i in one.ids)


def test_what_was_delivered_is_not_delivered_again(tmp_path: Path) -> None:
    with Kumod(tmp_path, KEEP + DELIVER) as daemon:
        with Peer(daemon.port) as peer:
            peer.greet()
            peer.begin(b"a@example.com", b"b@example.org")
            peer.send(stuffed(b"Subject: x\r\n\r\n"))
            peer.reply()
        daemon.wait_until(lambda: any(daemon.delivered()) and not listed_ids(daemon))
        daemon.kill()
        deliver_all(daemon, 1)
        assert len(list(daemon.delivered())) == 1
