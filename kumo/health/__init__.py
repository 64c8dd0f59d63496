"""Health: what keeps mail from being taken for the moment."""

from kumo.health.admission import Admission
from kumo.health.disk import SAMPLE_INTERVAL, DiskMonitor, DiskSample, MonitoredPath

__all__ = ["SAMPLE_INTERVAL", "Admission", "DiskMonitor", "DiskSample", "MonitoredPath"]
