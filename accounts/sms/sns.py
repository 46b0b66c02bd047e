"""Amazon SNS, signed with AWS Signature Version 4."""

import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from urllib.parse import quote, urlencode, urlsplit

from django.conf import settings

from accounts.sms import Message
from accounts.sms.http import post, refusal

_NAME = "Amazon SNS"
_FORM = "application/x-www-form-urlencoded; charset=utf-8"
_CODE = re.compile(r"<Code>([A-Za-z0-9]{1,40})</Code>", re.ASCII)


class Sns:
    def send(self, message: Message) -> None:
        region = settings.SMS_SNS_REGION
        url = settings.SMS_SNS_URL or f"https://sns.{region}.amazonaws.com"
        body = urlencode(
            {
                "Action": "Publish",
                "Version": "2010-03-31",
                "PhoneNumber": message.phone,
                "Message": message.text,
                "MessageAttributes.entry.1.Name": "AWS.SNS.SMS.SMSType",
                "MessageAttributes.entry.1.Value.DataType": "String",
                "MessageAttributes.entry.1.Value.StringValue": "Transactional",
            },
            quote_via=quote,
        ).encode()
        headers = signed(
            host=urlsplit(url).netloc,
            body=body,
            headers={"content-type": _FORM},
            region=region,
            service="sns",
            key_id=settings.SMS_SNS_KEY_ID,
            secret=settings.SMS_SNS_SECRET,
            now=datetime.now(UTC),
        )
        response = post(_NAME, f"{url}/", headers=headers, content=body)
        if response.status_code != 200 or "<MessageId>" not in response.text:
            code = _CODE.search(response.text)
            raise refusal(_NAME, response, code[1] if code else "")


def signed(
    *,
    host: str,
    body: bytes,
    headers: Mapping[str, str],
    region: str,
    service: str,
    key_id: str,
    secret: str,
    now: datetime,
) -> dict[str, str]:
    """The headers of a POST to `/`, with those that AWS Signature Version 4 adds."""
    moment = f"{now:%Y%m%dT%H%M%SZ}"
    scope = f"{now:%Y%m%d}/{region}/{service}/aws4_request"
    named = {**{name.lower(): value for name, value in headers.items()}, "x-amz-date": moment}
    covered = {**named, "host": host}
    names = ";".join(sorted(covered))
    lines = "".join(f"{name}:{covered[name].strip()}\n" for name in sorted(covered))
    request = f"POST\n/\n\n{lines}\n{names}\n{sha256(body).hexdigest()}"
    text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{sha256(request.encode()).hexdigest()}"
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    credential = f"Credential={key_id}/{scope}"
    return {
        **named,
        "authorization": (
            f"AWS4-HMAC-SHA256 {credential}, SignedHeaders={names}, Signature={signature}"
        ),
    }
