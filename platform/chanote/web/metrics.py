"""Figures for Prometheus, counted in the database at each scrape: every web process gives the same answer."""

from collections.abc import Iterable
from ipaddress import ip_address, ip_network

from django.conf import settings
from django.db.models import Count, Min, Sum
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from chanote.accounts.models import User
from chanote.datasets.models import DatasetVersion
from chanote.runs.models import ACTIVE, Attempt, MetricSeries, OutboxMessage, Run, State
from chanote.runs.queue import live_workers


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """For staff, and for the addresses of CHANOTE_METRICS_ALLOW; nobody else learns that it exists."""
    if not (request.user.is_staff or _is_allowed(request.META.get("REMOTE_ADDR", ""))):
        raise Http404
    registry = CollectorRegistry(auto_describe=False)
    registry.register(PlatformCollector())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _is_allowed(address: str) -> bool:
    try:
        client = ip_address(address)
    except ValueError:
        return False
    return any(client in ip_network(network, strict=False) for network in settings.METRICS_ALLOW)


class PlatformCollector(Collector):
    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        now = timezone.now()
        counts = dict(Run.objects.order_by().values_list("state").annotate(Count("pk")))
        runs = GaugeMetricFamily("chanote_runs", "Runs by state", labels=["state"])
        for state in State.values:
            runs.add_metric([state], counts.get(state, 0))
        yield runs
        active = Attempt.objects.filter(state__in=ACTIVE)
        oldest = active.filter(state=State.QUEUED).aggregate(first=Min("queued"))["first"]
        yield GaugeMetricFamily(
            "chanote_queue_oldest_seconds",
            "Time the longest waiting attempt has waited",
            (now - oldest).total_seconds() if oldest else 0,
        )
        expired = active.exclude(state=State.QUEUED).filter(lease_until__lt=now)
        yield GaugeMetricFamily("chanote_leases_expired", "Active attempts without a live lease", expired.count())
        yield GaugeMetricFamily("chanote_outbox_messages", "Nudges not sent yet", OutboxMessage.objects.count())
        yield GaugeMetricFamily("chanote_workers", "Workers heard of lately", live_workers().count())
        points = MetricSeries.objects.aggregate(sum=Sum("points"))["sum"] or 0
        yield GaugeMetricFamily("chanote_metric_points", "Points of all curves", points)
        rows = DatasetVersion.objects.aggregate(sum=Sum("rows"))["sum"] or 0
        yield GaugeMetricFamily("chanote_dataset_rows", "Rows of all dataset versions", rows)
        yield GaugeMetricFamily("chanote_users", "Active accounts", User.objects.filter(is_active=True).count())
