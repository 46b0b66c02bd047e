from pathlib import Path

from django.db import migrations, models

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    dependencies = [
        ("wallet", "0003_corrections_and_freezes"),
    ]

    operations = [
        migrations.CreateModel(
            name="DayDigest",
            fields=[
                ("day", models.DateField(primary_key=True, serialize=False)),
                ("row_count", models.BigIntegerField()),
                ("sha256", models.BinaryField(max_length=32)),
                ("prev_sha256", models.BinaryField(max_length=32)),
            ],
            options={"db_table": '"ledger"."day_digest"', "managed": False},
        ),
        migrations.RunSQL((SQL / "days.sql").read_text()),
        migrations.RunSQL((SQL / "post1.sql").read_text()),
    ]
