from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("boards", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="evaluation", name="episodes", field=models.JSONField(blank=True, null=True)
        ),
        migrations.AddField(model_name="evaluation", name="left_out", field=models.PositiveIntegerField(default=0)),
        migrations.AddField(model_name="sample", name="episode", field=models.JSONField(blank=True, null=True)),
    ]
