"""Prometheus measures of one service."""

from collections.abc import Mapping
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.registry import Collector

from toolsandbox.contract import ToolReply
from toolsandbox.gate import Gate

BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)


class Measures:
    """A registry of its own, so that two services in one process do not share counts."""

    def __init__(self, gates: Mapping[str, Gate]) -> None:
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
        self._refused = Counter(
            "toolsandbox_refused_calls_total",
            "Calls that got no reply: overloaded or unavailable",
            ["tool", "reason"],
            registry=self.registry,
        )
        running = Gauge("toolsandbox_running_calls", "Calls that run now", ["family"], registry=self.registry)
        waiting = Gauge("toolsandbox_waiting_calls", "Calls that wait for a place", ["family"], registry=self.registry)
        for family, gate in gates.items():
            running.labels(family).set_function(partial(getattr, gate, "in_flight"))
            waiting.labels(family).set_function(partial(getattr, gate, "waiting"))

    def add(self, collector: Collector) -> None:
        """Measures that a provider keeps itself."""
        self.registry.register(collector)

    def count_refusal(self, tool: str, reason: str) -> None:
        self._refused.labels(tool, reason).inc()

    def count(self, tool: str, reply: ToolReply) -> None:
        self._calls.labels(tool, reply.status).inc()
        self._seconds.labels(tool).observe(reply.wall_ms / 1e3)
        self._queued.labels(tool).observe(reply.queue_ms / 1e3)

    def render(self) -> bytes:
        return generate_latest(self.registry)
