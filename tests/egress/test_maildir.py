from __future__ import annotations

import errno
import os
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kumo.config import MaildirProtocol
from kumo.egress import MaildirDeliverer
from kumo.message import ContentNotResident, Message, SpoolIdSource
from kumo.smtp import NULL_REVERSE_PATH, POSTMASTER, EnvelopeAddress

IDS = SpoolIdSource(node=1)
ALICE = EnvelopeAddress("alice", "example.org")
BOB = EnvelopeAddress("bob", "example.org")
SENDER = EnvelopeAddress("sender", "example.com")

_NAME = re.compile(r"(\d+)\.#[0-9a-f]+M(\d{1,9})P(\d+)V(\d+)I(\d+)\.mx\.example\.net,S=(\d+)")


def _message(*recipients: EnvelopeAddress, body: bytes | None = b"body", **meta: Any) -> Message:
    return Message(id=IDS.new_id(), sender=SENDER, recipients=recipients, meta=meta, body=body)


@pytest.fixture
def deliverer() -> Iterator[MaildirDeliverer]:
    deliverer = MaildirDeliverer("mx.example.net", max_writers=2)
    yield deliverer
    deliverer.close()


@pytest.fixture
def by_recipient(tmp_path: Path) -> MaildirProtocol:
    return MaildirProtocol(maildir_path=f"{tmp_path}/{{{{ domain_part }}}}/{{{{ local_part }}}}")


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _is_empty(folder: Path) -> bool:
    return not list(folder.iterdir())


async def test_each_recipient_gets_the_content_as_it_stands(
    tmp_path: Path, deliverer: MaildirDeliverer, by_recipient: MaildirProtocol
) -> None:
    message = _message(ALICE, BOB, body=b"Subject: x\r\n\r\nbody\n")
    message.prepend(b"Received: y\r\n")
    disposition = await deliverer.deliver(message, by_recipient, "example.org")
    files = _files(tmp_path)
    assert [file.parent for file in files] == [
        tmp_path / f"example.org/{who}/new" for who in ("alice", "bob")
    ]
    assert [file.read_bytes() for file in files] == [b"Received: y\r\nSubject: x\r\n\r\nbody\n"] * 2
    assert disposition.delivered == (ALICE, BOB)
    assert disposition.failed == ()
    assert disposition.failed_response is None
    assert disposition.delivery_protocol == "Maildir"
    assert disposition.delivered_response == (
        f"alice@example.org: wrote to maildir with id={files[0].name}, "
        f"bob@example.org: wrote to maildir with id={files[1].name}"
    )
    for name in ("cur", "new", "tmp"):
        assert (tmp_path / "example.org/alice" / name).is_dir()


async def test_file_names_tell_time_process_device_inode_host_and_size(
    tmp_path: Path, deliverer: MaildirDeliverer, by_recipient: MaildirProtocol
) -> None:
    await deliverer.deliver(_message(ALICE, body=b"12345"), by_recipient, "q")
    (file,) = _files(tmp_path)
    match = _NAME.fullmatch(file.name)
    assert match
    status = file.stat()
    assert [int(group) for group in match.groups()[2:]] == [os.getpid(), status.st_dev, status.st_ino, 5]


async def test_names_of_files_are_not_interned(
    tmp_path: Path,
    deliverer: MaildirDeliverer,
    by_recipient: MaildirProtocol,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # CPython's table of such strings would be made anew again and again, in the heap of whichever thread
    # comes first: 1.8 MiB that each of them keeps.
    interned: list[str] = []

    def record(text: str) -> str:
        interned.append(text)
        return text

    with monkeypatch.context() as patch:
        patch.setattr(sys, "intern", record)
        await deliverer.deliver(_message(ALICE), by_recipient, "q")
    (file,) = _files(tmp_path)
    assert not [text for text in interned if text in file.name or file.name in text]


async def test_names_never_collide(tmp_path: Path, deliverer: MaildirDeliverer) -> None:
    protocol = MaildirProtocol(maildir_path=str(tmp_path))
    disposition = await deliverer.deliver(_message(*[ALICE] * 50), protocol, "q")
    assert len(disposition.delivered) == 50
    assert len(_files(tmp_path)) == 50


@pytest.mark.parametrize("body", [b"", b"\x00\xff" * 100_000])
async def test_any_content_is_written_whole(
    tmp_path: Path, deliverer: MaildirDeliverer, by_recipient: MaildirProtocol, body: bytes
) -> None:
    await deliverer.deliver(_message(ALICE, body=body), by_recipient, "q")
    (file,) = _files(tmp_path)
    assert file.read_bytes() == body
    assert file.name.endswith(f",S={len(body)}")


async def test_short_writes_are_continued(
    tmp_path: Path,
    deliverer: MaildirDeliverer,
    by_recipient: MaildirProtocol,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def write_three(descriptor: int, buffers: list[memoryview]) -> int:
        return os.write(descriptor, bytes(buffers[0][:3]))

    monkeypatch.setattr("kumo.egress.maildir_folder.os.writev", write_three)
    message = _message(ALICE, body=b"a body")
    message.prepend(b"a head\r\n")
    await deliverer.deliver(message, by_recipient, "q")
    (file,) = _files(tmp_path)
    assert file.read_bytes() == b"a head\r\na body"


async def test_modes_apply_past_the_umask_to_what_is_made_only(
    tmp_path: Path, deliverer: MaildirDeliverer
) -> None:
    existing = tmp_path / "existing"
    existing.mkdir(mode=0o700)
    protocol = MaildirProtocol(maildir_path=f"{existing}/a/b", dir_mode=0o2775, file_mode=0o664)
    umask = os.umask(0o077)
    try:
        await deliverer.deliver(_message(ALICE), protocol, "q")
    finally:
        os.umask(umask)
    assert stat.S_IMODE(existing.stat().st_mode) == 0o700
    for name in ("a", "a/b", "a/b/cur", "a/b/new", "a/b/tmp"):
        assert stat.S_IMODE((existing / name).stat().st_mode) == 0o2775
    (file,) = _files(existing)
    assert stat.S_IMODE(file.stat().st_mode) == 0o664


async def test_without_modes_the_umask_rules(tmp_path: Path, deliverer: MaildirDeliverer) -> None:
    umask = os.umask(0o027)
    try:
        await deliverer.deliver(_message(ALICE), MaildirProtocol(maildir_path=f"{tmp_path}/m"), "q")
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "m/new").stat().st_mode) == 0o750
    (file,) = _files(tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


async def test_a_relative_path_starts_in_the_working_directory(
    tmp_path: Path, deliverer: MaildirDeliverer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    await deliverer.deliver(_message(ALICE), MaildirProtocol(maildir_path="./var/{{ local_part }}"), "q")
    (file,) = _files(tmp_path)
    assert file.parent == tmp_path / "var/alice/new"


@pytest.mark.parametrize(
    ("template", "folder"),
    [
        ("{{ email }}", "alice@example.org"),
        ("{{ local_part }}+{{ domain_part }}", "alice+example.org"),
        ("{{ queue }}", "c:t@example.net!r.example"),
        ("{{ campaign }}.{{ tenant }}.{{ domain }}.{{ routing_domain }}", "c.t.example.net.r.example"),
        ("{{ sender_local_part }}-{{ sender_domain_part }}", "sender-example.com"),
        ("{{ sender_email }}", "sender@example.com"),
        ("{{ meta.tenant }}/{{ meta['n'] }}", "t/3"),
        ("{{ meta.yes }}{{ meta.no }}{{ meta.nil }}{{ meta.absent }}", "truefalsenone"),
        ("{{ [meta.yes, meta.nil] }}", "[true, none]"),
        ("{% if tenant == 't' %}big{% else %}small{% endif %}", "big"),
        ("{{ 'a/b' }}", "a/b"),
        ("{{ local_part | upper }}", "ALICE"),
        ("a/../b", "b"),
    ],
)
async def test_templates(tmp_path: Path, deliverer: MaildirDeliverer, template: str, folder: str) -> None:
    message = _message(ALICE, tenant="t", n=3, yes=True, no=False, nil=None)
    protocol = MaildirProtocol(maildir_path=f"{tmp_path}/{template}")
    (tmp_path / "a").mkdir()
    disposition = await deliverer.deliver(message, protocol, "c:t@example.net!r.example")
    assert disposition.failed_response is None
    (file,) = _files(tmp_path)
    assert file.parent == tmp_path / folder / "new"


@pytest.mark.parametrize(
    ("recipient", "folder"),
    [
        (EnvelopeAddress('"a b"', "x"), "x/a b/new"),
        (POSTMASTER, "postmaster/new"),
        (EnvelopeAddress("...", "x"), "x/.../new"),
    ],
)
async def test_local_parts_are_used_without_quotes(
    tmp_path: Path,
    deliverer: MaildirDeliverer,
    by_recipient: MaildirProtocol,
    recipient: EnvelopeAddress,
    folder: str,
) -> None:
    await deliverer.deliver(_message(recipient), by_recipient, "q")
    (file,) = _files(tmp_path)
    assert file.parent == tmp_path / folder


@pytest.mark.parametrize(
    "hostile",
    [
        EnvelopeAddress("..", "example.org"),
        EnvelopeAddress(".", "example.org"),
        EnvelopeAddress('".."', "example.org"),
        EnvelopeAddress('"\\.\\."', "example.org"),
        EnvelopeAddress("../../x", "example.org"),
        EnvelopeAddress("a/b", "example.org"),
        EnvelopeAddress('"a/b"', "example.org"),
        EnvelopeAddress("/etc", "example.org"),
        EnvelopeAddress("a\0b", "example.org"),
        EnvelopeAddress("a", ".."),
        EnvelopeAddress("a", "x/y"),
        EnvelopeAddress("a", "x\0"),
    ],
)
@pytest.mark.parametrize("template", ["{{ domain_part }}/{{ local_part }}", "{{ email }}", "fixed"])
async def test_a_hostile_recipient_fails_alone_and_nothing_is_written_for_it(
    tmp_path: Path, deliverer: MaildirDeliverer, hostile: EnvelopeAddress, template: str
) -> None:
    inside = tmp_path / "outer/inside"
    protocol = MaildirProtocol(maildir_path=f"{inside}/{template}")
    disposition = await deliverer.deliver(_message(hostile, ALICE), protocol, "q")
    assert disposition.delivered == (ALICE,)
    assert disposition.failed == (hostile,)
    assert disposition.failed_response == (
        f"{hostile.email}: failed to write to maildir: the recipient's address cannot be part of a path"
    )
    (file,) = _files(tmp_path)
    assert file.is_relative_to(inside)
    assert "alice" in str(file) or template == "fixed"


@pytest.mark.parametrize(
    ("template", "sender", "meta", "queue", "why"),
    [
        (
            "{{ sender_email }}",
            EnvelopeAddress("a/b", "c"),
            {},
            "q",
            "the sender's address cannot be part of a path",
        ),
        (
            "{{ sender_local_part }}",
            EnvelopeAddress("..", "c"),
            {},
            "q",
            "the sender's address cannot be part of a path",
        ),
        ("{{ tenant }}/x", SENDER, {}, "..@q", "the path holds a '..' that the template does not"),
        ("{{ meta.x }}", SENDER, {"x": "a/../../b"}, "q", "the path holds a '..' that the template does not"),
        ("{{ meta.x }}.", SENDER, {"x": "."}, "q", "the path holds a '..' that the template does not"),
        ("{{ queue }}", SENDER, {}, "a\0b", "the path holds a NUL"),
        ("{{ meta.x }}", SENDER, {"x": "a\0b"}, "q", "the path holds a NUL"),
    ],
)
async def test_other_values_lead_nowhere_else(
    tmp_path: Path,
    deliverer: MaildirDeliverer,
    template: str,
    sender: EnvelopeAddress,
    meta: dict[str, Any],
    queue: str,
    why: str,
) -> None:
    message = _message(ALICE, **meta)
    message.sender = sender
    disposition = await deliverer.deliver(
        message, MaildirProtocol(maildir_path=f"{tmp_path}/{template}"), queue
    )
    assert disposition.failed == (ALICE,)
    assert disposition.failed_response == f"alice@example.org: failed to write to maildir: {why}"
    assert _is_empty(tmp_path)


@pytest.mark.parametrize("sender", [EnvelopeAddress("a/b", "c"), NULL_REVERSE_PATH])
async def test_a_sender_that_the_template_does_not_use_is_no_matter(
    deliverer: MaildirDeliverer, by_recipient: MaildirProtocol, sender: EnvelopeAddress
) -> None:
    message = _message(ALICE)
    message.sender = sender
    assert (await deliverer.deliver(message, by_recipient, "q")).failed == ()


@pytest.mark.parametrize(
    "template",
    [
        "{{ nope.field }}",
        "{{ 1 / 0 }}",
        "{{ meta.clear() }}",
        "{{ ''.__class__.mro() }}",
        "",
    ],
)
async def test_a_bad_template_fails_every_recipient(
    tmp_path: Path, deliverer: MaildirDeliverer, monkeypatch: pytest.MonkeyPatch, template: str
) -> None:
    monkeypatch.chdir(tmp_path)
    message = _message(ALICE, BOB, x=1)
    disposition = await deliverer.deliver(message, MaildirProtocol(maildir_path=template), "q")
    assert disposition.failed == (ALICE, BOB)
    assert disposition.delivered_response is None
    assert disposition.failed_response is not None
    assert disposition.failed_response.count(": failed to write to maildir: ") == 2
    assert message.meta == {"x": 1}
    assert _is_empty(tmp_path)


async def test_a_file_in_the_way_fails_the_recipient(
    tmp_path: Path, deliverer: MaildirDeliverer, by_recipient: MaildirProtocol
) -> None:
    (tmp_path / "example.org").write_bytes(b"")
    disposition = await deliverer.deliver(_message(ALICE), by_recipient, "q")
    assert disposition.failed == (ALICE,)
    assert disposition.failed_response is not None
    assert os.strerror(errno.ENOTDIR) in disposition.failed_response


async def test_a_name_that_is_too_long_fails_the_recipient(
    tmp_path: Path, deliverer: MaildirDeliverer, by_recipient: MaildirProtocol
) -> None:
    long = EnvelopeAddress("a" * 300, "example.org")
    disposition = await deliverer.deliver(_message(long), by_recipient, "q")
    assert disposition.failed == (long,)
    assert _files(tmp_path) == []


@pytest.mark.parametrize("call", ["writev", "fsync", "fstat"])
async def test_a_failing_disk_leaves_nothing_behind_and_a_later_try_works(
    tmp_path: Path,
    deliverer: MaildirDeliverer,
    by_recipient: MaildirProtocol,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
) -> None:
    await deliverer.deliver(_message(ALICE), by_recipient, "q")
    before = _files(tmp_path)

    def fail(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(f"kumo.egress.maildir_folder.os.{call}", fail)
        disposition = await deliverer.deliver(_message(ALICE), by_recipient, "q")
    assert disposition.failed_response == (
        "alice@example.org: failed to write to maildir: [Errno 28] No space left on device"
    )
    assert _files(tmp_path) == before
    assert (await deliverer.deliver(_message(ALICE), by_recipient, "q")).failed == ()


async def test_a_name_that_is_not_durable_counts_as_failed(
    tmp_path: Path,
    deliverer: MaildirDeliverer,
    by_recipient: MaildirProtocol,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await deliverer.deliver(_message(ALICE), by_recipient, "q")
    before = _files(tmp_path)
    real_fsync = os.fsync

    def fail_on_folders(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real_fsync(descriptor)

    monkeypatch.setattr("kumo.egress.maildir_folder.os.fsync", fail_on_folders)
    disposition = await deliverer.deliver(_message(ALICE), by_recipient, "q")
    assert disposition.failed == (ALICE,)
    assert _files(tmp_path) == before


async def test_content_and_names_are_synced_before_the_outcome(
    tmp_path: Path,
    deliverer: MaildirDeliverer,
    by_recipient: MaildirProtocol,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    synced: list[Path] = []
    real_fsync = os.fsync

    def record(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        real_fsync(descriptor)

    monkeypatch.setattr("kumo.egress.maildir_folder.os.fsync", record)
    await deliverer.deliver(_message(ALICE), by_recipient, "q")
    maildir = tmp_path / "example.org/alice"
    assert synced[-2].parent == maildir / "tmp"
    assert synced[-1] == maildir / "new"
    assert {tmp_path, tmp_path / "example.org", maildir} <= set(synced)


async def test_after_stop_no_further_recipient_is_begun_with_and_what_is_done_stays_done(
    tmp_path: Path,
    deliverer: MaildirDeliverer,
    by_recipient: MaildirProtocol,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = os.writev

    def stop_at_first(descriptor: int, buffers: Any) -> int:
        deliverer.stop()
        return real(descriptor, buffers)

    monkeypatch.setattr("kumo.egress.maildir_folder.os.writev", stop_at_first)
    disposition = await deliverer.deliver(_message(ALICE, BOB), by_recipient, "q")
    assert disposition.delivered == (ALICE,)
    assert disposition.failed == (BOB,)
    assert disposition.failed_response == "bob@example.org: not tried, the daemon is stopping"
    assert len(_files(tmp_path)) == 1


async def test_slashes_and_colons_of_the_host_name_are_escaped(
    tmp_path: Path, by_recipient: MaildirProtocol
) -> None:
    deliverer = MaildirDeliverer("a/b:c", max_writers=1)
    await deliverer.deliver(_message(ALICE), by_recipient, "q")
    deliverer.close()
    (file,) = _files(tmp_path)
    assert ".a\\057b\\072c,S=" in file.name


async def test_a_message_without_content_is_the_callers_mistake(
    deliverer: MaildirDeliverer, by_recipient: MaildirProtocol
) -> None:
    with pytest.raises(ContentNotResident):
        await deliverer.deliver(_message(ALICE, body=None), by_recipient, "q")


async def test_each_attempt_has_its_own_session_id(
    deliverer: MaildirDeliverer, by_recipient: MaildirProtocol
) -> None:
    first = await deliverer.deliver(_message(ALICE), by_recipient, "q")
    second = await deliverer.deliver(_message(ALICE), by_recipient, "q")
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", first.session_id)
    assert first.session_id != second.session_id
