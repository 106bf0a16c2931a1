"""Fills the home that CHANOTE_HOME names with a project that reviews its data, three curators and a dataset.

Run as `python -m tests.curation_home PASSWORD`.
"""

import os
import sys


def fill_home(password: str) -> None:
    from chanote.accounts.models import Membership, Project, User
    from chanote.checks.models import CheckResult
    from tests.curated_rows import sections, take

    project = Project.objects.create(slug="law", name="Law assistant", reviews_data=True)
    people = [User.objects.create_user(name, password=password) for name in ("mali", "kanya", "chai")]
    for person in people:
        Membership.objects.create(user=person, project=project, role="curator")
    rows = [*sections(6), {"text": "Ask somchai@example.org about section 7.", "section_num": "7"}]
    version = take(project, rows, title="Laws", licence="CC0-1.0", languages=["th"], actor=people[0])
    CheckResult.objects.create(
        version=version, check_name="personal", check_version=1, key="home", rows=7, found_rows=1
    )


if __name__ == "__main__":
    import django

    os.environ["DJANGO_SETTINGS_MODULE"] = "chanote.settings"
    django.setup()
    fill_home(sys.argv[1])
