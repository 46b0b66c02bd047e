"""MSG91, by its flow API: India's rules allow only texts that were registered before."""

from django.conf import settings

from accounts.sms import Message
from accounts.sms.http import fields_of, post, refusal

_NAME = "MSG91"


class Msg91:
    """The registered template has the variables `otp` and `minutes`."""

    def send(self, message: Message) -> None:
        response = post(
            _NAME,
            f"{settings.SMS_MSG91_URL}/api/v5/flow/",
            headers={"authkey": settings.SMS_MSG91_KEY},
            json={
                "template_id": settings.SMS_MSG91_TEMPLATE,
                "recipients": [
                    {
                        "mobiles": message.phone.removeprefix("+"),
                        "otp": message.code,
                        "minutes": str(message.minutes),
                    }
                ],
            },
        )
        # It refuses with 200 too.
        told = fields_of(response)
        if response.status_code != 200 or told.get("type") != "success":
            raise refusal(_NAME, response, told.get("code"))
