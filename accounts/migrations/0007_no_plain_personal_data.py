from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0006_encrypt_personal_data"),
    ]

    operations = [
        migrations.RemoveField("gamer", "email_plain"),
        migrations.RemoveField("gamer", "phonenumber_plain"),
        migrations.RemoveField("kgenaccount", "phone_plain"),
        migrations.RemoveField("phoneverification", "phone_plain"),
        migrations.RemoveField("otprequest", "phone_plain"),
        migrations.RemoveField("otprequest", "prefix_plain"),
        migrations.AlterField("phoneverification", "phone_hash", models.CharField(max_length=64)),
        migrations.AlterField("otprequest", "prefix_hash", models.CharField(max_length=64)),
        migrations.AddIndex(
            "gamer",
            models.Index(
                condition=models.Q(("email_hash__isnull", False)),
                fields=["email_hash"],
                name="gamer_by_email",
            ),
        ),
        migrations.AddIndex(
            "otprequest",
            models.Index(fields=["phone_hash", "-created_at"], name="otp_sends_of_phone"),
        ),
        migrations.AddIndex(
            "otprequest",
            models.Index(fields=["prefix_hash", "-created_at"], name="otp_sends_of_prefix"),
        ),
        migrations.AddConstraint(
            "phoneverification",
            models.UniqueConstraint(
                fields=("gamer", "phone_hash"), name="one_verification_per_gamer_and_phone"
            ),
        ),
    ]
