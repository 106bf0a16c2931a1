"""Fills the home that CHANOTE_HOME names with a project whose finished run has odd rollouts; see review_rows.

Run as `python -m tests.review_home DIRECTORY PASSWORD`, where the attempt's files come to lie in the directory.
"""

import os
import sys
from pathlib import Path


def fill_home(directory: Path, password: str) -> None:
    from chanote.accounts.models import Membership, Project, User
    from tests.review_rows import make_odd_run

    project = Project.objects.create(slug="law", name="Law assistant")
    person = User.objects.create_user("mali", password=password)
    Membership.objects.create(user=person, project=project, role="researcher")
    make_odd_run(project, person, directory)


if __name__ == "__main__":
    import django

    os.environ["DJANGO_SETTINGS_MODULE"] = "chanote.settings"
    django.setup()
    fill_home(Path(sys.argv[1]), sys.argv[2])
