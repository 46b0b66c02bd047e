from typing import Any

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.utils.crypto import salted_hmac

import kgen.common.encryption


def take_over(apps: Any, schema_editor: Any) -> None:
    """Seeds and backup codes of before stood in clear in tables of django-otp."""
    connection = schema_editor.connection
    with connection.cursor() as cursor:
        if "otp_totp_totpdevice" not in connection.introspection.table_names(cursor):
            return
        cursor.execute(
            "SELECT DISTINCT ON (user_id) user_id, name, key, last_t FROM otp_totp_totpdevice"
            " WHERE confirmed ORDER BY user_id, id"
        )
        for user_id, name, key, last_step in cursor.fetchall():
            apps.get_model("common", "Authenticator").objects.create(
                user_id=user_id, name=name, confirmed=True, key=key, last_step=last_step
            )
        cursor.execute(
            "SELECT device.user_id, code.token FROM otp_static_statictoken AS code"
            " JOIN otp_static_staticdevice AS device ON device.id = code.device_id"
            " WHERE device.confirmed"
        )
        for user_id, code in cursor.fetchall():
            device, _ = apps.get_model("common", "BackupCodes").objects.get_or_create(
                user_id=user_id, defaults={"name": "Backup codes", "confirmed": True}
            )
            keyed = salted_hmac("kgen.backup_code", f"{user_id}:{code}", algorithm="sha256")
            apps.get_model("common", "BackupCode").objects.get_or_create(
                code_hash=keyed.hexdigest(), defaults={"backup_codes": device}
            )
        cursor.execute(
            "DROP TABLE otp_static_statictoken, otp_static_staticdevice, otp_totp_totpdevice"
        )
        cursor.execute("DELETE FROM django_migrations WHERE app IN ('otp_static', 'otp_totp')")


class Migration(migrations.Migration):
    dependencies = [
        ("common", "0002_staff_acts"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="BackupCodes",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "name",
                    models.CharField(
                        help_text="The human-readable name of this device.", max_length=64
                    ),
                ),
                (
                    "confirmed",
                    models.BooleanField(default=True, help_text="Is this device ready for use?"),
                ),
                (
                    "user",
                    models.ForeignKey(
                        help_text="The user that this device belongs to.",
                        on_delete=django.db.models.deletion.CASCADE,
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="BackupCode",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("code_hash", models.CharField(max_length=64, unique=True)),
                (
                    "backup_codes",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="codes",
                        to="common.backupcodes",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Authenticator",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "name",
                    models.CharField(
                        help_text="The human-readable name of this device.", max_length=64
                    ),
                ),
                (
                    "confirmed",
                    models.BooleanField(default=True, help_text="Is this device ready for use?"),
                ),
                ("key", kgen.common.encryption.EncryptedText()),
                ("last_step", models.BigIntegerField(default=-1)),
                (
                    "user",
                    models.ForeignKey(
                        help_text="The user that this device belongs to.",
                        on_delete=django.db.models.deletion.CASCADE,
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "abstract": False,
                "constraints": [
                    models.UniqueConstraint(
                        fields=("user",), name="one_authenticator_for_each_of_staff"
                    )
                ],
            },
        ),
        migrations.AddConstraint(
            model_name="backupcodes",
            constraint=models.UniqueConstraint(
                fields=("user",), name="one_set_of_backup_codes_for_each"
            ),
        ),
        migrations.RunPython(take_over, migrations.RunPython.noop),
    ]
