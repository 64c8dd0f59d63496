"""From a ``maildir_path`` template to the folder of one recipient.

The template is the policy's, what fills it in is the client's: nothing of the latter may lead out of
the folders that the former names. Called by ``maildir`` only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from kumo.config import compile_template, template_variables
from kumo.message import Message, QueueName
from kumo.smtp import EnvelopeAddress

if TYPE_CHECKING:
    from jinja2 import Template

_SENDER_NAMES = frozenset({"sender_local_part", "sender_domain_part", "sender_email"})


class PathRefused(ValueError):  # noqa: N818 - a verdict on an address, not a fault of ours
    """The path of a recipient would not be what the policy meant."""


@dataclass(frozen=True, slots=True)
class PathTemplate:
    """A compiled ``maildir_path``.

    Made by ``compile``, which keeps the last 256.

    Source: KumoMTA manual, make_queue_config/protocol.
    """

    text: str
    template: Template
    names: frozenset[str]
    """Variables that the template uses."""

    @staticmethod
    @lru_cache(maxsize=256)
    def compile(text: str) -> PathTemplate:
        """Compile a template.

        Raises:
            jinja2.TemplateError: its syntax is wrong.
        """
        return PathTemplate(text, compile_template(text), template_variables(text))

    def expand(self, message: Message, recipient: EnvelopeAddress, queue: QueueName) -> str:
        """The folder for one recipient.

        Args:
            message: gives meta and sender.
            recipient: one of its recipients.
            queue: name of its scheduled queue.

        Raises:
            PathRefused: the path could lead elsewhere.
            jinja2.TemplateError: the template failed.
        """
        _check_address(recipient, "recipient's")
        sender = message.sender
        if not self.names.isdisjoint(_SENDER_NAMES):
            _check_address(sender, "sender's")
        path = self.template.render(
            meta=message.meta,
            queue=queue.compose(),
            campaign=queue.campaign,
            tenant=queue.tenant,
            domain=queue.domain,
            routing_domain=queue.routing_domain,
            local_part=recipient.user,
            domain_part=recipient.domain,
            email=recipient.email,
            sender_local_part=sender.user,
            sender_domain_part=sender.domain,
            sender_email=sender.email,
        )
        self._check_path(path)
        return path

    def _check_path(self, path: str) -> None:
        if not path:
            raise PathRefused("the path is empty")
        if "\0" in path:
            raise PathRefused("the path holds a NUL")
        # Tenant, campaign and meta often come from the client's header fields.
        if path.split("/").count("..") > self.text.split("/").count(".."):
            raise PathRefused("the path holds a '..' that the template does not")


def _check_address(address: EnvelopeAddress, whose: str) -> None:
    # The local part as typed as well: `email` has it with its quotes.
    for part in (address.user, address.local_part, address.domain):
        if part in (".", "..") or "/" in part or "\0" in part:
            raise PathRefused(f"the {whose} address cannot be part of a path")
