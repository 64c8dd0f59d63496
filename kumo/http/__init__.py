"""HTTP listeners: liveness and metrics."""

from kumo.http.http_server import HttpServer

__all__ = ["HttpServer"]
