import django.db.models.deletion
from django.db import migrations, models


def keep_scores_of_samples(apps, schema_editor):
    """Evaluations of before get the blob that new ones are stored with."""
    from chanote.boards.scores import keep_scores, sort_answers

    evaluations = apps.get_model("boards", "Evaluation")
    samples = apps.get_model("boards", "Sample")
    for evaluation in evaluations.objects.filter(scores=None).select_related("task").iterator(chunk_size=100):
        rows = samples.objects.filter(evaluation=evaluation.pk).values_list("item", "cluster", "score", "status")
        keep_scores(evaluation, sort_answers(rows.iterator()), sets=apps.get_model("boards", "ItemSet"))
        evaluation.save(update_fields=["item_set", "scores"])


class Migration(migrations.Migration):
    dependencies = [("boards", "0002_agents")]

    operations = [
        migrations.CreateModel(
            name="ItemSet",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("sha256", models.CharField(max_length=64)),
                ("items", models.JSONField(default=list)),
                ("clusters", models.JSONField(default=list)),
                (
                    "task",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="item_sets", to="boards.task"
                    ),
                ),
            ],
            options={"ordering": ["pk"]},
        ),
        migrations.AddConstraint(
            model_name="itemset",
            constraint=models.UniqueConstraint(fields=("task", "sha256"), name="item_set_once_per_task"),
        ),
        migrations.CreateModel(
            name="Standing",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.CharField(max_length=64, unique=True)),
                ("estimates", models.JSONField(default=list)),
                ("comparisons", models.BinaryField()),
                ("created", models.DateTimeField(auto_now_add=True)),
                (
                    "task",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="standings", to="boards.task"
                    ),
                ),
            ],
            options={"ordering": ["-created"]},
        ),
        migrations.AddField(
            model_name="evaluation",
            name="item_set",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="evaluations",
                to="boards.itemset",
            ),
        ),
        migrations.AddField(
            model_name="evaluation", name="scores", field=models.BinaryField(editable=False, null=True)
        ),
        migrations.RunPython(keep_scores_of_samples, migrations.RunPython.noop),
    ]
