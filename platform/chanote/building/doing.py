"""What a build works with: endpoints, the sandbox, the funnel, and a way to say how far it is."""

import time
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

from django.utils import timezone

from chanote.building.endpoint import ChatEndpoint, Endpoint, EndpointFailed, Limits, Price
from chanote.building.funnel import Funnel, Step
from chanote.building.keys import read_key
from chanote.building.models import Build, TeacherEndpoint
from chanote.building.sandbox import FunctionSandbox
from chanote.errands.work import Work, WorkRefused
from chanote.tools.endpoints import find_endpoint

TELL_SECONDS = 1.0
"""Between two writes of the funnel."""


class Building(AbstractContextManager["Building"]):
    """One process of one build."""

    def __init__(self, build: Build, work: Work, steps: tuple[Step, ...]) -> None:
        self.build, self.work, self.steps = build, work, steps
        self.project, self.actor, self.directory = work.project, work.actor, work.directory
        self.funnel = Funnel(self.directory, self._tell)
        self._endpoints: dict[str, ChatEndpoint] = {}
        self._told = 0.0
        self._now: tuple[int, int, str] = (0, 0, "")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for endpoint in self._endpoints.values():
            endpoint.__exit__(None, None, None)

    def open_endpoint(self, slug: str) -> ChatEndpoint:
        """The endpoint of this name, the same object each time. Raises WorkRefused where there is none any more."""
        if slug not in self._endpoints:
            row = TeacherEndpoint.objects.filter(project=self.project, slug=slug).first()
            if row is None:
                raise WorkRefused(f"The project has no endpoint {slug} any more; make it again and resume.")
            self._endpoints[slug] = open_endpoint(row, self.directory / "replies" / slug)
        return self._endpoints[slug]

    def open_sandbox(self) -> FunctionSandbox:
        """Where written functions run. Raises WorkRefused where the installation has none."""
        service = find_endpoint()
        if service is None:
            raise WorkRefused(
                "No tool service is set up; start one with `chanote up`, or name it in CHANOTE_SANDBOX_URL."
            )
        return FunctionSandbox(service, self.directory / "sandbox", leave_if_asked=self.leave_if_asked)

    def leave_if_asked(self) -> None:
        """Also keeps the progress moving while a step waits. Raises Stopped."""
        done, total, words = self._now
        self.work.report(done, total, words, **self.cost())

    def cost(self) -> dict[str, float]:
        """Totals over every process of the build."""
        costs: dict[str, float] = {}
        for endpoint in self._endpoints.values():
            told = endpoint.cost()
            named = {
                "replies": told["replies"],
                "tokens sent": told["prompt_tokens"],
                "tokens received": told["completion_tokens"],
                f"money ({told['currency']})" if told["currency"] else "money": told["money"],
            }
            for name, amount in named.items():
                costs[name] = costs.get(name, 0) + amount
        return costs

    def _tell(self, step: Step, counts: dict[str, Any]) -> None:
        place = self.steps.index(step)
        looked = counts["kept"] + counts["dropped"]
        done = min(looked, counts["in"]) if counts["in"] else looked
        self._now = (done, counts["in"], f"step {place + 1} of {len(self.steps)}: {step.title}")
        self.leave_if_asked()
        now = time.monotonic()
        if counts["done"] or now - self._told >= TELL_SECONDS:
            self._told = now
            funnel = list(self.build.funnel) or blank_funnel(self.steps)
            funnel[place] = {**describe_step(step), **counts, "told": timezone.now().isoformat(timespec="seconds")}
            self.build.funnel = funnel
            self.build.save(update_fields=["funnel"])


def blank_funnel(steps: tuple[Step, ...]) -> list[dict[str, Any]]:
    return [describe_step(step) for step in steps]


def describe_step(step: Step) -> dict[str, Any]:
    return {"name": step.name, "title": step.title, "unit": step.unit}


def open_endpoint(row: TeacherEndpoint, replies: Path) -> ChatEndpoint:
    """A client of the endpoint with its key, limits and price. Raises WorkRefused where the key is gone."""
    try:
        key = read_key(row)
    except OSError as error:
        raise WorkRefused(
            f"The key of the endpoint {row.slug} cannot be read ({error.strerror}); write it again."
        ) from error
    return ChatEndpoint(
        Endpoint(base_url=row.base_url, model=row.model),
        replies=replies,
        limits=Limits(seconds=row.seconds, concurrency=row.concurrency),
        price=Price(
            prompt=row.prompt_price, completion=row.completion_price, currency=row.currency, most=row.most_money
        ),
        key=key,
    )


__all__ = ["Building", "EndpointFailed", "blank_funnel", "open_endpoint"]
