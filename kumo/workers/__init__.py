"""One daemon as several processes: what parent and workers tell each other, and who starts whom again."""

from kumo.workers.assignment import Assignment, Share
from kumo.workers.dealing import Dealing
from kumo.workers.handed_sockets import HandedSockets, keep_only
from kumo.workers.parent_link import ParentLink
from kumo.workers.ports import Ports
from kumo.workers.supervisor import Supervisor
from kumo.workers.worker_process import WorkerProcess, start_worker

__all__ = [
    "Assignment",
    "Dealing",
    "HandedSockets",
    "ParentLink",
    "Ports",
    "Share",
    "Supervisor",
    "WorkerProcess",
    "keep_only",
    "start_worker",
]
