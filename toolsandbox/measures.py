"""Prometheus measures of one service."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from toolsandbox.contract import ToolReply
from toolsandbox.gate import Gate

BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)


class Measures:
    """A registry of its own, so that two services in one process do not share counts."""

    def __init__(self, gate: Gate) -> None:
        self.registry = CollectorRegistry()
        self._calls = Counter(
            "toolsandbox_calls_total", "Calls by terminal status", ["tool", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "toolsandbox_call_seconds", "Time in the tool", ["tool"], buckets=BUCKETS_S, registry=self.registry
        )
        self._queued = Histogram(
            "toolsandbox_queue_seconds", "Time before the tool", ["tool"], buckets=BUCKETS_S, registry=self.registry
        )
        running = Gauge("toolsandbox_running_calls", "Calls that run now", registry=self.registry)
        running.set_function(lambda: gate.in_flight)
        waiting = Gauge("toolsandbox_waiting_calls", "Calls that wait for a place", registry=self.registry)
        waiting.set_function(lambda: gate.waiting)

    def count(self, tool: str, reply: ToolReply) -> None:
        self._calls.labels(tool, reply.status).inc()
        self._seconds.labels(tool).observe(reply.wall_ms / 1e3)
        self._queued.labels(tool).observe(reply.queue_ms / 1e3)

    def render(self) -> bytes:
        return generate_latest(self.registry)
