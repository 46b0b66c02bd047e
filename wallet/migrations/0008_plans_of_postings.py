from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    dependencies = [
        ("wallet", "0007_limits_and_approvals"),
    ]

    operations = [
        migrations.AlterModelOptions(name="operator", options={"verbose_name": "lane"}),
        # Again, for a database that has an earlier text of it; plans.sql speaks of what it makes.
        migrations.RunSQL((SQL / "post1.sql").read_text(), migrations.RunSQL.noop),
        migrations.RunSQL((SQL / "plans.sql").read_text(), migrations.RunSQL.noop),
    ]
