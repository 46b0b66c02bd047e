from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0003_rake_of_games"),
        ("tournaments", "0007_result_records"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="tournament",
            index=models.Index(
                condition=models.Q(("phase", "PREPARATION"), ("publishes_itself", True)),
                fields=["locks_at"],
                name="tournaments_to_publish",
            ),
        ),
    ]
