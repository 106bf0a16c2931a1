"""Fills the home that CHANOTE_HOME names with an empty board, and one of a run's checkpoints with a guarded alias.

Run as `python -m tests.board_home DIRECTORY PASSWORD`, where the samples come to lie in the directory.
"""

import os
import sys
from pathlib import Path


def fill_home(directory: Path, password: str) -> None:
    from chanote.accounts.models import Membership, Project, User
    from chanote.boards.aliases import create_alias
    from chanote.boards.services import create_board, update_board
    from tests.board_rows import BoardRows, rate
    from tests.run_rows import make_run

    project = Project.objects.create(slug="law", name="Law assistant")
    person = User.objects.create_user("mali", password=password)
    Membership.objects.create(user=person, project=project, role="researcher")
    create_board(project=project, slug="outside", title="Outside")
    create_board(project=project, slug="judged", title="Judged")
    directory.mkdir(exist_ok=True)
    rows = BoardRows(project, directory)
    run = make_run(project, state="finished")
    law, sums = rows.task("law-qa"), rows.task("sums")
    for step, (right, kept) in {0: (120, 300), 50: (190, 298), 100: (204, 230)}.items():
        rows.score(f"step-{step}", law, rate(right, 400 - right), run=run, step=step)
        rows.score(f"step-{step}", sums, rate(kept, 400 - kept), run=run, step=step)
    update_board(rows.board, title="Suite", question="", baseline=rows.model("step-0"))
    create_alias(project=project, name="candidate", guard=rows.board)


if __name__ == "__main__":
    import django

    os.environ["DJANGO_SETTINGS_MODULE"] = "chanote.settings"
    django.setup()
    fill_home(Path(sys.argv[1]), sys.argv[2])
