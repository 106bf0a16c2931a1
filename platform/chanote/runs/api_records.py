"""What runs leave, over REST: events, logs, metrics; and the queue."""

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponseBase, JsonResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from drf_spectacular.utils import OpenApiResponse, extend_schema
from knox.crypto import hash_token
from rest_framework import exceptions, serializers
from rest_framework.response import Response

from chanote.accounts.roles import require
from chanote.api.authentication import INVALID, find_token, note_use, read_header
from chanote.api.errors import NOT_FOUND, answer_plain
from chanote.api.permissions import check_scope
from chanote.api.throttles import METER
from chanote.api.views import ProjectView
from chanote.runs.api import NUMBER, RunAnswer, find_run
from chanote.runs.log_text import STREAMS, read_on, read_tail
from chanote.runs.metrics import BadMetrics, encode_curve, ingest_metrics_request, read_curve
from chanote.runs.models import Attempt, MetricSeries, Run, RunEvent
from chanote.runs.queue_page import read_queue

MOST_POINTS = 5000
MOST_KEYS = 50
LARGEST_BATCH = 16 * 1024 * 1024
REMEMBERED_SECONDS = 5.0
MOST_REMEMBERED = 1000


class EventAnswer(serializers.ModelSerializer[RunEvent]):
    attempt = serializers.IntegerField(source="attempt.number")
    payload = serializers.DictField()

    class Meta:
        model = RunEvent
        fields = ("id", "attempt", "seq", "at", "type", "payload")


class SeriesAnswer(serializers.ModelSerializer[MetricSeries]):
    class Meta:
        model = MetricSeries
        fields = ("key", "points", "last_step", "last_value", "lowest", "highest")


class LogQuery(serializers.Serializer[Any]):
    stream = serializers.ChoiceField(STREAMS, default="stderr")
    attempt = serializers.IntegerField(required=False, help_text="The newest when left out.", **NUMBER)
    offset = serializers.IntegerField(
        required=False,
        min_value=0,
        max_value=2**53,
        help_text="Byte to read on from; the end of the log when left out.",
    )


class LogAnswer(serializers.Serializer[Any]):
    lines = serializers.ListField(child=serializers.CharField(allow_blank=True))
    cut = serializers.BooleanField(help_text="Earlier lines were left out.")
    offset = serializers.IntegerField(help_text="Where to read on.")
    size = serializers.IntegerField(help_text="Bytes of the whole log.")


class CurvesQuery(serializers.Serializer[Any]):
    key = serializers.ListField(
        child=serializers.CharField(max_length=200),
        max_length=MOST_KEYS,
        required=False,
        help_text="All when left out.",
    )
    points = serializers.IntegerField(min_value=1, max_value=MOST_POINTS, default=1000)
    start = serializers.IntegerField(required=False, min_value=0, max_value=2**53, help_text="First step.")
    stop = serializers.IntegerField(required=False, min_value=0, max_value=2**53, help_text="Last step.")


class CurveAnswer(serializers.Serializer[Any]):
    key = serializers.CharField()
    count = serializers.IntegerField(help_text="Points that the curve stands for.")
    steps = serializers.ListField(child=serializers.IntegerField())
    mean = serializers.ListField(child=serializers.FloatField(allow_null=True))
    low = serializers.ListField(child=serializers.FloatField(allow_null=True), required=False)
    high = serializers.ListField(child=serializers.FloatField(allow_null=True), required=False)
    broken = serializers.ListField(
        child=serializers.IntegerField(), help_text="Places that hold a value that is no finite number."
    )


class CurvesAnswer(serializers.Serializer[Any]):
    curves = CurveAnswer(many=True)


class PointsRequest(serializers.Serializer[Any]):
    steps = serializers.ListField(child=serializers.IntegerField(min_value=0), min_length=1)
    values = serializers.ListField(child=serializers.FloatField(), min_length=1)
    times = serializers.ListField(child=serializers.FloatField(), required=False)


class MetricsRequest(serializers.Serializer[Any]):
    batch = serializers.CharField(max_length=64, help_text="A word that no other batch of the run has.")
    series = serializers.DictField(child=PointsRequest())


class MetricsAnswer(serializers.Serializer[Any]):
    stored = serializers.IntegerField(help_text="Points taken; 0 when the batch had been stored before.")


class WaitingAnswer(serializers.Serializer[Any]):
    position = serializers.IntegerField()
    run = RunAnswer(allow_null=True, help_text="Null for a run of a project you do not see.")
    reason = serializers.CharField(allow_blank=True)


class QueueAnswer(serializers.Serializer[Any]):
    free_slots = serializers.IntegerField()
    running = serializers.ListField(child=RunAnswer(allow_null=True))
    waiting = WaitingAnswer(many=True)
    worker = serializers.CharField(allow_blank=True, help_text="What is wrong with the workers; empty when one lives.")


class Events(ProjectView):
    scope = "runs"
    serializer_class = EventAnswer
    queryset = RunEvent.objects.none()
    page_ordering = "id"

    @extend_schema(responses=EventAnswer(many=True), operation_id="runs_events", tags=["runs"])
    def get(self, request: Any, project: str, number: int) -> Response:
        """What the run told while it lived, the oldest first; metrics are curves."""
        events = RunEvent.objects.filter(attempt__run=find_run(self, number)).select_related("attempt")
        return self.answer_page(events, EventAnswer)


class Logs(ProjectView):
    scope = "runs"

    @extend_schema(parameters=[LogQuery], responses=LogAnswer, operation_id="runs_logs", tags=["runs"])
    def get(self, request: Any, project: str, number: int) -> Response:
        """The end of a log, or what came after `offset`."""
        query = self.read_query(LogQuery)
        attempts = Attempt.objects.filter(run=find_run(self, number)).order_by("-number")
        if "attempt" in query:
            attempts = attempts.filter(number=query["attempt"])
        attempt = attempts.first()
        if attempt is None:
            raise exceptions.NotFound(NOT_FOUND)
        text = (
            read_on(attempt, query["stream"], query["offset"])
            if "offset" in query
            else read_tail(attempt, query["stream"])
        )
        return Response({"lines": text.lines, "cut": text.cut, "offset": text.offset, "size": text.size})


class Metrics(ProjectView):
    """Reading; what is sent goes to `receive_metrics`, which the schema describes here."""

    scope = "runs"
    serializer_class = SeriesAnswer
    queryset = MetricSeries.objects.none()
    page_ordering = "key"

    @extend_schema(responses=SeriesAnswer(many=True), operation_id="runs_metrics", tags=["metrics"])
    def get(self, request: Any, project: str, number: int) -> Response:
        """The run's metrics with their latest values."""
        return self.answer_page(MetricSeries.objects.filter(run=find_run(self, number)), SeriesAnswer)

    @extend_schema(
        request=MetricsRequest,
        responses={200: OpenApiResponse(MetricsAnswer)},
        operation_id="runs_send_metrics",
        tags=["metrics"],
        auth=[{"token": []}],  # type: ignore[list-item]  # as OpenAPI has it
    )
    def post(self, request: Any, project: str, number: int) -> Response:
        """Send points of a run's metrics. The batch's name makes sending twice harmless. Needs a token.

        NaN, Infinity and -Infinity are sent as these words in quotes.
        """
        raise exceptions.NotAuthenticated("Send metrics with a token.")


class Curves(ProjectView):
    scope = "runs"

    @extend_schema(parameters=[CurvesQuery], responses=CurvesAnswer, operation_id="runs_curves", tags=["metrics"])
    def get(self, request: Any, project: str, number: int) -> Response:
        """Curves reduced to at most `points` places each; every extreme is kept."""
        query = self.read_query(CurvesQuery)
        series = MetricSeries.objects.filter(run=find_run(self, number)).order_by("key")
        if query.get("key"):
            series = series.filter(key__in=query["key"])
        start, stop = query.get("start"), query.get("stop")
        curves = [encode_curve(read_curve(one, start, stop, query["points"])) for one in series[:MOST_KEYS]]
        return Response({"curves": curves})


class Queue(ProjectView):
    scope = "runs"

    @extend_schema(responses=QueueAnswer, operation_id="queue", tags=["queue"])
    def get(self, request: Any, project: str) -> Response:
        """Who holds the device slots, who waits and why. Runs of other projects have no names here."""
        queue = read_queue(self.project)
        answer = {
            "free_slots": queue.free,
            "running": [_describe(attempt) for attempt in queue.running],
            "waiting": [
                {"position": one.position, "run": _describe(one.attempt), "reason": one.reason} for one in queue.waiting
            ],
            "worker": queue.worker,
        }
        return Response(answer)


def _describe(attempt: Attempt | None) -> Any:
    return RunAnswer(attempt.run).data if attempt is not None else None


@csrf_exempt
def metrics(request: HttpRequest, project: str, number: int) -> HttpResponseBase:
    """One address for both: points are received, anything else is read."""
    if request.method == "POST":
        return receive_metrics(request, project, number)
    return READING(request, project=project, number=number)


def receive_metrics(request: HttpRequest, project: str, number: int) -> JsonResponse:
    """Points of metrics from a program with a token, without the framework around it: this is the busiest address."""
    try:
        sender = SENDERS.find(request, project, number)
    except exceptions.AuthenticationFailed as error:
        return answer_plain(401, str(error.detail))
    except PermissionDenied as error:
        return answer_plain(403, str(error))
    except Http404:
        return answer_plain(404, NOT_FOUND)
    if wait := METER.admit(str(sender.user), "metrics"):
        response = answer_plain(429, f"More batches than are taken in a minute; go on in {wait} s.")
        response["Retry-After"] = str(wait)
        return response
    if int(request.META.get("CONTENT_LENGTH") or 0) > LARGEST_BATCH:
        return answer_plain(413, f"A batch has at most {LARGEST_BATCH // 2**20} MiB; send several.")
    try:
        return JsonResponse({"stored": ingest_metrics_request(sender.run, request.body)})
    except BadMetrics as error:
        return answer_plain(400, str(error))


@dataclass(frozen=True)
class Sender:
    """Somebody who may send metrics of a run, as found until `until` (seconds of the monotonic clock)."""

    user: int
    run: Run
    until: float
    expires: datetime | None


class SenderMemory:
    """Who sent metrics a moment ago: so many requests come from one program that their look-ups would count.

    A revoked token or a lost role is noticed at the latest REMEMBERED_SECONDS later.
    """

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, int], Sender] = {}

    def find(self, request: HttpRequest, project: str, number: int) -> Sender:
        """Raises AuthenticationFailed, PermissionDenied and Http404."""
        text = read_header(request)
        if text is None:
            raise exceptions.AuthenticationFailed(INVALID)
        key = (hash_token(text), project, number)
        known = self._found.get(key)
        if known and time.monotonic() < known.until and (known.expires is None or known.expires > timezone.now()):
            return known
        self._found.pop(key, None)
        if len(self._found) >= MOST_REMEMBERED:
            self._found.clear()
        self._found[key] = _admit(text, project, number)
        return self._found[key]


def _admit(text: str, project: str, number: int) -> Sender:
    token = find_token(text)
    if token is None:
        raise exceptions.AuthenticationFailed(INVALID)
    note_use(token)
    check_scope(token.user, token, "runs", "POST")
    runs = Run.objects.visible_to(token.user).select_related("project")
    run = get_object_or_404(runs, project__slug=project, number=number)
    require(token.user, "runs.launch", run.project)
    return Sender(token.user_id, run, time.monotonic() + REMEMBERED_SECONDS, token.expiry)


SENDERS = SenderMemory()
READING = Metrics.as_view()
# The schema finds the operations of an address by the class behind it.
metrics.cls = Metrics  # type: ignore[attr-defined]
metrics.initkwargs = {}  # type: ignore[attr-defined]
