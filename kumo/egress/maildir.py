"""Delivery into maildirs: one file a recipient, named by a template.

It knows nothing of retries, logs or the spool; ``kumo.queue`` calls it and decides what follows from
the ``Disposition``. Files are written in worker threads.
"""

from __future__ import annotations

import functools
import logging
import uuid

from kumo.config import MaildirProtocol
from kumo.egress.disposition import Disposition
from kumo.egress.maildir_folder import write_to_maildir
from kumo.egress.maildir_path import PathRefused, PathTemplate
from kumo.egress.writer_threads import WriterThreads
from kumo.message import Message, QueueName
from kumo.smtp import EnvelopeAddress

_logger = logging.getLogger("kumod.maildir")


class MaildirDeliverer:
    """Writes messages into maildirs.

    Args:
        hostname: name of this host in file names.
        max_writers: threads that write at one time.
    """

    __slots__ = ("_host", "_is_stopping", "_writers")

    def __init__(self, hostname: str, max_writers: int = 16) -> None:
        # A slash or colon in the host's name is written as the maildir format says.
        self._host = hostname.replace("/", "\\057").replace(":", "\\072")
        self._writers: WriterThreads[Disposition] = WriterThreads(max_writers)
        self._is_stopping = False

    async def deliver(self, message: Message, protocol: MaildirProtocol, queue: str) -> Disposition:
        """Write a message for each of its recipients.

        Args:
            message: resident; must not be changed meanwhile.
            protocol: path template and permission bits.
            queue: name of its scheduled queue.

        Returns:
            What became of each recipient; a failing one does not hinder the others.

        Raises:
            ContentNotResident: the content has to be loaded first.

        Source: KumoMTA manual, make_queue_config/protocol.
        """
        segments = message.segments
        return await self._writers.run(functools.partial(self._write, message, segments, protocol, queue))

    def stop(self) -> None:
        """Begin with no further recipient; those not begun with count as failed."""
        self._is_stopping = True

    def close(self) -> None:
        """Let the threads end once they are done with what they have.

        One that hangs, in a file system that does not answer, is left behind when the process ends. What
        it writes may yet arrive, and once more after the restart.
        """
        self._writers.close()

    def _write(
        self, message: Message, segments: tuple[bytes, bytes], protocol: MaildirProtocol, queue: str
    ) -> Disposition:
        name = QueueName.parse(queue)
        delivered: list[EnvelopeAddress] = []
        failed: list[EnvelopeAddress] = []
        successes: list[str] = []
        failures: list[str] = []
        for recipient in message.recipients:
            if self._is_stopping:
                failed.append(recipient)
                failures.append(f"{recipient.email}: not tried, the daemon is stopping")
                continue
            try:
                folder = PathTemplate.compile(protocol.maildir_path).expand(message, recipient, name)
                identity = write_to_maildir(
                    folder, segments, self._host, dir_mode=protocol.dir_mode, file_mode=protocol.file_mode
                )
            except Exception as error:  # a template may raise anything
                if not _is_told(error):
                    _logger.exception("delivering %s to %s failed", message.id, recipient.email)
                failed.append(recipient)
                failures.append(f"{recipient.email}: failed to write to maildir: {error}")
            else:
                delivered.append(recipient)
                successes.append(f"{recipient.email}: wrote to maildir with id={identity}")
        return Disposition(
            delivered=tuple(delivered),
            failed=tuple(failed),
            delivered_response=", ".join(successes) or None,
            failed_response=", ".join(failures) or None,
            delivery_protocol="Maildir",
            session_id=str(uuid.uuid4()),
        )


def _is_told(error: Exception) -> bool:
    """Whether the words of an error say all there is."""
    if isinstance(error, OSError | PathRefused):
        return True
    from jinja2 import TemplateError  # noqa: PLC0415 - see kumo.config.template

    return isinstance(error, TemplateError)
