"""Give versions from the time before sources one that says what they said themselves."""

from django.db import migrations


def name_sources(apps, schema_editor):
    DatasetVersion = apps.get_model("datasets", "DatasetVersion")
    Source = apps.get_model("rights", "Source")
    SourceSpan = apps.get_model("rights", "SourceSpan")
    made = {}
    versions = DatasetVersion._default_manager.filter(spans__isnull=True, rows__gt=0).select_related("dataset")
    for version in versions.order_by("dataset", "number"):
        dataset = version.dataset
        said = (version.licence, tuple(version.uses), version.non_commercial, version.source)
        key = (dataset.pk, said)
        if key not in made:
            slug, number = dataset.slug[:70], 1
            while Source._default_manager.filter(project=dataset.project_id, slug=slug).exists():
                number += 1
                slug = f"{dataset.slug[:70]}-{number}"
            made[key] = Source._default_manager.create(
                project_id=dataset.project_id,
                slug=slug,
                title=dataset.title,
                licence=version.licence,
                uses=version.uses,
                non_commercial=version.non_commercial,
                languages=dataset.languages,
                origin=version.source,
            )
        SourceSpan._default_manager.create(version=version, source=made[key], start=0, stop=version.rows)


class Migration(migrations.Migration):
    dependencies = [("rights", "0002_exceptions_and_withdrawals")]
    operations = [migrations.RunPython(name_sources, migrations.RunPython.noop)]
