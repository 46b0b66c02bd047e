import os
from datetime import UTC, datetime
from pathlib import Path

import orjson
from django.conf import settings

from accounts.sms import Message, SmsRefused


class FileOutbox:
    """The development gateway: one JSON object a line in the file `SMS_OUTBOX`, nothing sent.

    A line goes out in a single write in append mode, so that lines of several processes never mix.
    """

    def send(self, message: Message) -> None:
        line = orjson.dumps(
            {"at": datetime.now(UTC), "phone": message.phone, "text": message.text},
            option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE,
        )
        path = Path(settings.SMS_OUTBOX)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            outbox = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(outbox, line)
            finally:
                os.close(outbox)
        except OSError as error:
            raise SmsRefused(str(error)) from error
