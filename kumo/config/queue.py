"""Parameters of ``kumo.make_queue_config``."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from kumo.config.kinds import Duration, Kind, Unsigned
from kumo.config.template import check_template


@dataclass(frozen=True, slots=True, kw_only=True)
class MaildirProtocol:
    """Delivery into a maildir; ``maildir_path`` is a Jinja template, expanded for each recipient."""

    maildir_path: str
    dir_mode: Annotated[int | None, Kind.UNSIGNED] = None
    """Permission bits past the umask, for folders that are created."""
    file_mode: Annotated[int | None, Kind.UNSIGNED] = None
    """Permission bits past the umask, for files that are created."""

    def __post_init__(self) -> None:
        check_template("maildir_path", self.maildir_path)


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpProtocol:
    """Delivery over SMTP; not delivered by this version, its messages are kept."""

    mx_list: tuple[Any, ...] = ()
    treat_mx_list_as_secure: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomLuaProtocol:
    """Delivery by a Lua object; not delivered by this version, its messages are kept."""

    constructor: str
    batch_size: Unsigned = 1
    min_batch_size: Unsigned = 1
    max_batch_latency: Duration = 0.0


QueueProtocol = MaildirProtocol | SmtpProtocol | CustomLuaProtocol


class RefreshStrategy(enum.Enum):
    """When a queue asks the policy for its configuration again."""

    TTL = "Ttl"
    EPOCH = "Epoch"


class QueueStrategy(enum.Enum):
    """KumoMTA's data structures for delayed messages; accepted, ours is a heap."""

    TIMER_WHEEL = "TimerWheel"
    SKIP_LIST = "SkipList"
    SINGLETON_TIMER_WHEEL = "SingletonTimerWheel"
    SINGLETON_TIMER_WHEEL_V2 = "SingletonTimerWheelV2"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueConfig:
    """How the messages of one scheduled queue are tried.

    Source: KumoMTA manual, kumo.make_queue_config.
    """

    WITHOUT_EFFECT: ClassVar[frozenset[str]] = frozenset({"egress_pool", "max_message_rate", "shrink_policy"})
    """Keys that are taken and warned of, because what they ask for is not done yet."""

    egress_pool: str | None = None
    """Accepted; resolved once delivery over SMTP exists."""
    retry_interval: Duration = 1200.0
    """Seconds before the first retry; doubles with each attempt."""
    max_retry_interval: Annotated[float | None, Kind.DURATION] = None
    """Seconds between retries at most."""
    max_age: Duration = 604800.0
    """Seconds after creation at which a message expires."""
    max_message_rate: Annotated[str | None, Kind.THROTTLE] = None
    protocol: Annotated[QueueProtocol, Kind.PROTOCOL] = field(default_factory=SmtpProtocol)
    reap_interval: Duration = 600.0
    """Seconds after which an empty queue is forgotten."""
    refresh_interval: Duration = 60.0
    """Seconds after which the policy is asked again."""
    refresh_strategy: RefreshStrategy = RefreshStrategy.TTL
    strategy: QueueStrategy = QueueStrategy.SINGLETON_TIMER_WHEEL
    timerwheel_tick_interval: Annotated[float | None, Kind.DURATION] = None
    provider_name: str | None = None
    shrink_policy: tuple[Any, ...] = ()
