from pathlib import Path

from django.db import migrations, models

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    dependencies = [
        ("tournaments", "0002_options"),
    ]

    operations = [
        migrations.AddField(
            model_name="participation",
            name="moved_in",
            field=models.BigIntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.AddIndex(
            model_name="participation",
            index=models.Index(fields=["tournament", "moved_in"], name="participation_moves"),
        ),
        migrations.RunSQL((SQL / "moves.sql").read_text()),
    ]
