"""Disks that are full, or fuller than allowed: an honest refusal, nothing half-written, then service."""

from __future__ import annotations

import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from .daemon import PATIENCE, Kumod, run_kumod
from .wire import Answer, Peer, stuffed

POLICY = """
kumo.on('init', function()
  spools(%s)
  logs()
  kumo.start_esmtp_listener { listen = '127.0.0.1:0', hostname = 'mx.test', max_message_size = 100000000 }
end)
"""
OUT_OF_ORDER = "421 4.3.0 mx.test technical difficulties"
FULL = "421 4.3.2 mx.test disk is too full. Try later"

SMALL_DISK = (
    "unshare",
    "--map-root-user",
    "--mount",
    "sh",
    "-c",
    'mount -t tmpfs -o size=4m,nr_inodes=400 none "$0" && exec "$@"',
)
"""Runs a command, in its own process, with a small disk at a folder that nobody else sees it at."""


def can_mount(folder: Path) -> bool:
    return subprocess.run([*SMALL_DISK, folder, "true"], check=False, timeout=PATIENCE).returncode == 0


def offer(peer: Peer, octets: int, *recipients: bytes) -> Answer:
    peer.begin(b"a@example.com", *(recipients or (b"b@example.org",)))
    peer.send(stuffed(b"Subject: x\r\n\r\n" + b"0123456789abcde\r\n" * (octets // 17)))
    return peer.reply()


def offer_anew(daemon: Kumod, octets: int, *recipients: bytes) -> str:
    """A message in a session of its own: the reply to it, or the refusal in place of the banner."""
    with Peer(daemon.port) as peer:
        banner = peer.reply()
        return str(banner) if banner.code != 220 else str(offer(peer, octets, *recipients))


def ids_in(answer: str) -> list[str]:
    assert answer.startswith("250 OK ids=")
    return answer.removeprefix("250 OK ids=").split()


def listed_ids(spool: Path) -> list[str]:
    listed = run_kumod("--list-spool", str(spool / "meta"), cwd=Path("/"))
    assert listed.returncode == 0
    return [line.split()[0] for line in listed.stdout.splitlines()]


def leftovers(spool: Path, kept: list[str]) -> list[Path]:
    """What a store that failed may not leave: temporary files, its manifest, contents without meta."""
    found = [path for name in ("data/new", "meta/new") for path in (spool / name).glob("*")]
    # With flush the manifest of a transaction that was stored stays until a later one is synced.
    found += [path for path in (spool / "meta/commit").glob("*") if path.name.partition(".")[0] not in kept]
    stored = {path.relative_to(spool / "meta") for path in (spool / "meta/data").rglob("*") if path.is_file()}
    contents = [path for path in (spool / "data/data").rglob("*") if path.is_file()]
    return found + [path for path in contents if path.relative_to(spool / "data") not in stored]


@pytest.fixture
def mount_point(tmp_path: Path) -> Path:
    """Where a small disk can be mounted for a daemon's spool."""
    folder = tmp_path / "spool"
    folder.mkdir()
    if not can_mount(folder):
        pytest.skip("this machine lets nobody mount a disk of his own")
    return folder


@pytest.mark.parametrize("flush", ["false", "true"])
def test_a_full_disk_refuses_keeps_nothing_half_and_recovers(
    tmp_path: Path, mount_point: Path, flush: str
) -> None:
    with Kumod(tmp_path, POLICY % flush, prefix=(*SMALL_DISK, str(mount_point))) as daemon:
        spool = Path(f"/proc/{daemon.process.pid}/root{mount_point}")
        ballast = spool / "ballast"
        ballast.write_bytes(b"\0" * 1_500_000)
        kept: list[str] = []
        with Peer(daemon.port) as bystander:
            bystander.greet()
            while (answer := offer_anew(daemon, 200_000, b"b@one.example", b"b@two.example")).startswith(
                "250"
            ):
                kept += ids_in(answer)
            assert answer == OUT_OF_ORDER
            assert len(kept) >= 2
            assert leftovers(spool, kept) == []
            assert sorted(listed_ids(spool)) == sorted(kept)
            # It knows at once, without waiting to look at its disks again.
            assert offer_anew(daemon, 200_000) == FULL
            assert bystander.ask(b"NOOP")[0].code == 250
            # Whoever was let in before gets a verdict on each message.
            assert str(offer(bystander, 3_000_000)) == OUT_OF_ORDER
            assert bystander.rest() == b""
        ballast.unlink()
        answers: list[str] = []

        def is_taken() -> bool:
            answers.append(offer_anew(daemon, 200_000))
            return answers[-1].startswith("250")

        daemon.wait_until(is_taken)
        kept += ids_in(answers[-1])
        assert set(answers[:-1]) <= {FULL}
        assert sorted(listed_ids(spool)) == sorted(kept)
        assert leftovers(spool, kept) == []
        assert "Traceback" not in daemon.errors.read_text()


def test_mail_is_there_once_on_a_full_disk_and_moves_when_there_is_room(
    tmp_path: Path, mount_point: Path
) -> None:
    with Kumod(tmp_path, POLICY % "false", prefix=(*SMALL_DISK, str(mount_point))) as daemon:
        spool = Path(f"/proc/{daemon.process.pid}/root{mount_point}")
        ballast = spool / "ballast"
        ballast.write_bytes(b"\0" * 2_000_000)
        with Peer(daemon.port) as peer:
            peer.greet()
            kept = [spool_id for _ in range(6) for spool_id in ids_in(str(offer(peer, 200_000)))]

        def filed() -> list[str]:
            entries = spool / "meta/data"
            return ["".join(path.relative_to(entries).parts) for path in entries.rglob("*") if path.is_file()]

        # Some of it would fit into files, beside the journal that has all of it.
        daemon.wait_for_line("stay in the journal until there is more room")
        assert filed() == []
        ballast.unlink()
        # Nobody sends anything that would wake the spool up.
        daemon.wait_until(lambda: sorted(filed()) == sorted(kept))
        assert sorted(listed_ids(spool)) == sorted(kept)
        assert leftovers(spool, kept) == []
        assert daemon.stop() == 0


def test_a_disk_without_inodes_is_a_full_disk(tmp_path: Path, mount_point: Path) -> None:
    with Kumod(tmp_path, POLICY % "false", prefix=(*SMALL_DISK, str(mount_point))) as daemon:
        spool = Path(f"/proc/{daemon.process.pid}/root{mount_point}")
        kept = []
        with Peer(daemon.port) as peer:
            peer.greet()
            while (answer := str(offer(peer, 100))).startswith("250"):
                kept += ids_in(answer)
            assert answer == OUT_OF_ORDER
        assert len(kept) > 20
        assert sorted(listed_ids(spool)) == sorted(kept)
        assert leftovers(spool, kept) == []
        assert daemon.stop() == 0


def test_a_file_that_cannot_be_written_whole_is_no_message(tmp_path: Path) -> None:
    """A limit on the size of files stands for a quota: part of the content is written, the rest is not."""
    with Kumod(tmp_path, POLICY % "false", prefix=("prlimit", "--fsize=50000")) as daemon:
        spool = tmp_path / "spool"
        kept = ids_in(offer_anew(daemon, 1000))
        for recipients in ((b"b@one.example",), (b"b@one.example", b"b@two.example")):
            assert offer_anew(daemon, 200_000, *recipients) == OUT_OF_ORDER
            assert leftovers(spool, kept) == []
            kept += ids_in(offer_anew(daemon, 40_000, *recipients))
        assert sorted(listed_ids(spool)) == sorted(kept)
        assert daemon.stop() == 0
        received = [record["id"] for record in daemon.records() if record["type"] == "Reception"]
        assert sorted(received) == sorted(kept)


def test_less_room_than_asked_for_sheds_at_the_banner(tmp_path: Path) -> None:
    policy = """
    kumo.on('init', function()
      for _, name in ipairs { 'data', 'meta' } do
        kumo.define_spool { name = name, path = var .. '/spool/' .. name, min_free_space = 1 << 60 }
      end
      kumo.start_esmtp_listener { listen = '127.0.0.1:0', hostname = 'mx.test' }
      kumo.start_http_listener { listen = '127.0.0.1:0' }
    end)
    """
    with Kumod(tmp_path, policy) as daemon:
        with Peer(daemon.port) as peer:
            peer.send(b"EHLO client.example.com\r\nMAIL FROM:<a@example.com>\r\n")
            assert peer.rest() == FULL.encode() + b"\r\n"
        base = f"http://127.0.0.1:{daemon.http_port}"
        with pytest.raises(urllib.error.HTTPError) as unhealthy:
            urllib.request.urlopen(f"{base}/api/check-liveness/v1", timeout=PATIENCE)  # noqa: S310 - loopback
        with unhealthy.value as answer:
            assert (answer.code, answer.read()) == (503, b"storage is too full")
        assert daemon.stop() == 0
        assert "too full" in "".join(daemon.lines)


def test_folders_of_logs_are_there_when_the_disks_are_first_looked_at(tmp_path: Path) -> None:
    policy = """
kumo.on('init', function()
  spools(false)
  logs()
  kumo.aaa.configure_acct_log { log_dir = var .. '/acct', min_free_space = '0%', min_free_inodes = '0%' }
  kumo.start_esmtp_listener { listen = '127.0.0.1:0' }
end)
"""
    with Kumod(tmp_path, policy) as daemon:
        daemon.wait_for_line("spool enumeration complete")
        assert not [line for line in daemon.lines if "unable to see" in line]
