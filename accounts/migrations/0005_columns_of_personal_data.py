from django.db import migrations, models

from kgen.common.encryption import EncryptedText, KeyedHash


class Migration(migrations.Migration):
    """What is personal gets columns of its own beside the plain ones, which the next one empties."""

    dependencies = [
        ("accounts", "0004_networks_and_devices_of_games"),
    ]

    operations = [
        migrations.RemoveConstraint("kgenaccount", "kgen_account_phone_is_e164"),
        migrations.RemoveConstraint("phoneverification", "one_verification_per_gamer_and_phone"),
        migrations.RemoveIndex("otprequest", "otp_sends_of_phone"),
        migrations.RemoveIndex("otprequest", "otp_sends_of_prefix"),
        migrations.RenameField("gamer", "email", "email_plain"),
        migrations.RenameField("gamer", "phonenumber", "phonenumber_plain"),
        migrations.RenameField("kgenaccount", "phone", "phone_plain"),
        migrations.RenameField("phoneverification", "phone", "phone_plain"),
        migrations.RenameField("otprequest", "phone", "phone_plain"),
        migrations.RenameField("otprequest", "prefix", "prefix_plain"),
        # Emptied ones are equal.
        migrations.AlterField(
            "kgenaccount", "phone_plain", models.CharField(max_length=16, default="")
        ),
        migrations.AddField("gamer", "email", EncryptedText(blank=True, default="")),
        migrations.AddField("gamer", "email_hash", KeyedHash(of="email", kind="email")),
        migrations.AddField("gamer", "phonenumber", EncryptedText(blank=True, default="")),
        migrations.AddField("kgenaccount", "phone", EncryptedText(blank=True, default="")),
        migrations.AddField(
            "kgenaccount", "phone_hash", KeyedHash(of="phone", kind="phone", unique=True)
        ),
        migrations.AddField(
            "phoneverification", "phone_hash", models.CharField(max_length=64, null=True)
        ),
        migrations.AddField(
            "otprequest", "phone", EncryptedText(default=""), preserve_default=False
        ),
        migrations.AddField("otprequest", "phone_hash", KeyedHash(of="phone", kind="phone")),
        migrations.AddField(
            "otprequest", "prefix_hash", models.CharField(max_length=64, null=True)
        ),
    ]
