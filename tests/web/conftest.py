"""What tests of several pages begin with."""

import pytest

from chanote.datasets.models import Dataset, DatasetVersion


@pytest.fixture
def plain_static(settings, tmp_path):
    """Pages are read as they are in development: no file needs to be collected first."""
    settings.STATIC_ROOT = tmp_path
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }


@pytest.fixture
def browser(client_of, researcher, plain_static):
    return client_of(researcher)


@pytest.fixture
def version(project):
    """Four rows that may be evaluated on; none of them is in the store."""
    dataset = Dataset.objects.create(project=project, slug="code", title="Code of law", kind="prompts")
    return DatasetVersion.objects.create(
        dataset=dataset, number=1, sha256="a" * 64, rows=4, bytes=10, uses=["evaluate"]
    )
