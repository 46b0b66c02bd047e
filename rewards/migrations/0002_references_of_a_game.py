import django.db.models.deletion
from django.db import migrations, models

# Each reward is of its gamer's game. The foreign key is checked at once, since the table is altered
# next.
FILL = """
UPDATE rewards_reward SET game_id = gamer.game_id
  FROM accounts_gamer AS gamer
 WHERE gamer.id = rewards_reward.gamer_id;
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_initial"),
        ("rewards", "0001_initial"),
    ]

    operations = [
        migrations.AlterField(
            model_name="reward",
            name="source",
            field=models.CharField(
                choices=[
                    ("TOURNAMENT", "Tournament"),
                    ("PROMOTION", "Promotion"),
                    ("ACHIEVEMENT", "Achievement"),
                ],
                max_length=20,
            ),
        ),
        migrations.AddField(
            model_name="reward",
            name="game",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="accounts.game",
            ),
        ),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
        migrations.AlterField(
            model_name="reward",
            name="game",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="accounts.game",
            ),
        ),
        migrations.RemoveConstraint(model_name="reward", name="reward_granted_once"),
        migrations.AddConstraint(
            model_name="reward",
            constraint=models.UniqueConstraint(
                fields=("game", "source", "reference"), name="reward_granted_once"
            ),
        ),
    ]
