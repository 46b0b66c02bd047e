from pathlib import Path

import django.core.serializers.json
import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

SQL = Path(__file__).parent / "sql" / "staff_acts.sql"


class Migration(migrations.Migration):
    dependencies = [
        ("common", "0001_initial"),
        ("admin", "0003_logentry_add_action_flag_choices"),
        ("contenttypes", "0002_remove_content_type_name"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="StaffAct",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("by_name", models.CharField(max_length=150)),
                ("roles", models.CharField(blank=True, max_length=300)),
                ("name", models.CharField(max_length=50)),
                ("label", models.TextField()),
                ("object_type", models.CharField(blank=True, max_length=100)),
                ("object_pk", models.CharField(blank=True, max_length=100)),
                ("object_text", models.TextField(blank=True)),
                (
                    "details",
                    models.JSONField(
                        default=dict, encoder=django.core.serializers.json.DjangoJSONEncoder
                    ),
                ),
                (
                    "before",
                    models.JSONField(
                        default=dict, encoder=django.core.serializers.json.DjangoJSONEncoder
                    ),
                ),
                (
                    "after",
                    models.JSONField(
                        default=dict, encoder=django.core.serializers.json.DjangoJSONEncoder
                    ),
                ),
                ("reason", models.TextField(blank=True)),
                ("request_id", models.CharField(blank=True, max_length=64)),
                ("address", models.GenericIPAddressField(null=True)),
                (
                    "by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        fields=["object_type", "object_pk", "-id"], name="staff_acts_of_object"
                    ),
                    models.Index(fields=["by", "-id"], name="staff_acts_of_person"),
                    models.Index(fields=["at"], name="staff_acts_of_time"),
                ],
            },
        ),
        migrations.RunSQL(SQL.read_text()),
    ]
