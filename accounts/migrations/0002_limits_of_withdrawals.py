from pathlib import Path

from django.db import migrations, models

import kgen.common.money

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="game",
            name="auto_approve_limit",
            field=kgen.common.money.AmountField(default=5000),
        ),
        migrations.AddConstraint(
            model_name="game",
            constraint=models.CheckConstraint(
                condition=models.Q(("auto_approve_limit__gte", 0)),
                name="game_auto_approve_limit_not_negative",
            ),
        ),
        migrations.AddField(
            model_name="gamer",
            name="linked_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.RunSQL(
            (SQL / "game.sql").read_text(),
            "DROP TRIGGER game_kind_is_kept ON accounts_game;"
            " DROP FUNCTION game_refuse_other_kind();",
        ),
    ]
