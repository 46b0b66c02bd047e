from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    dependencies = [
        ("wallet", "0003_corrections_and_freezes"),
    ]

    operations = [
        migrations.RunSQL((SQL / "days.sql").read_text()),
        migrations.RunSQL((SQL / "post1.sql").read_text()),
    ]
