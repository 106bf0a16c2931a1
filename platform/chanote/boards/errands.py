"""Long work about boards."""

from typing import Any

from django.urls import reverse

from chanote.boards.rescoring import KIND, rescore
from chanote.errands.kinds import errand
from chanote.errands.work import Work


@errand(KIND, permission="boards.change")
def score_again(work: Work) -> dict[str, Any]:
    """`config`: evaluation, task, and board or None, by their keys."""
    made = rescore(work)
    board = made.boards.filter(pk=work.config["board"]).first()
    place = ("boards:board", board.slug) if board else ("boards:task", made.task.slug, made.task.number)
    link = reverse(place[0], args=[work.project.slug, *place[1:]])
    return {"link": f"{link}?task={made.task.reference}" if board else link, "evaluation": made.pk}
