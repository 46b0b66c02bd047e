"""The two OTP calls: here and not in accounts, because the second one links a wallet."""

import re
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import otp, phones
from accounts.api.views import GamerViewSet
from kgen.common.api.fields import StrictTextField, TextOrIntegerField, text_or_integer
from kgen.common.api.schema import refuses
from wallet import linking

_OTP = re.compile(r"[0-9]{6}", re.ASCII)


@extend_schema_field(text_or_integer(pattern="^[0-9]{6}$"))
class OtpField(TextOrIntegerField):
    """Six digits; an integer has lost its leading zeros and gets them back."""

    default_error_messages = {"not_six_digits": "Give six digits."}

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        code = text if isinstance(data, str) else text.zfill(6)
        if not _OTP.fullmatch(code):
            self.fail("not_six_digits")
        return code


class PhoneFields(serializers.Serializer[Any]):
    phone_number = StrictTextField(max_length=64)
    countryCode = StrictTextField(max_length=8)  # noqa: N815 - the wire's name

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        phone = phones.parse(
            phone_number=attrs.pop("phone_number"), country_code=attrs.pop("countryCode")
        )
        return {**attrs, "phone": phone}


class VerifyFields(PhoneFields):
    authCode = TextOrIntegerField(max_length=64)  # noqa: N815 - the wire's name
    otp = OtpField()


class OtpRequested(serializers.Serializer[Any]):
    authCode = serializers.CharField()  # noqa: N815 - the wire's name
    isNewUser = serializers.BooleanField()  # noqa: N815 - the wire's name


class PhoneVerified(serializers.Serializer[Any]):
    message = serializers.CharField()


class OtpViewSet(GamerViewSet):
    counted_actions = frozenset({"request_otp", "verify_otp"})

    @extend_schema(operation_id="request_otp", request=PhoneFields, responses=OtpRequested)
    @refuses(
        phones.PhoneCountryNotServed,
        otp.AlreadyLinked,
        otp.SendingStopped,
        otp.ResendTooSoon,
        otp.RequestLimitReached,
        otp.DeliveryFailed,
    )
    def request_otp(self, request: Request) -> Response:
        """Send a one-time password to a phone; calling again sends a new one in its place."""
        phone = self.parse(PhoneFields)["phone"]
        gamer = self.caller.gamer
        issued = otp.issue(gamer=gamer, phone=phone, now=timezone.now())
        self.after_commit(lambda: otp.deliver(issued=issued, now=timezone.now()))
        return Response(
            {"authCode": issued.request.auth_code, "isNewUser": gamer.kgen_account_id is None}
        )

    @extend_schema(operation_id="verify_otp", request=VerifyFields, responses=PhoneVerified)
    @refuses(
        phones.PhoneCountryNotServed,
        otp.OtpInvalid,
        otp.OtpExpired,
        otp.OtpNotFound,
        otp.TooManyAttempts,
        otp.AlreadyLinked,
        linking.PhoneLinkedToAnotherGamer,
    )
    def verify_otp(self, request: Request) -> Response:
        """Prove the phone and link the gamer to its KGeN wallet."""
        fields = self.parse(VerifyFields)
        linking.link_by_otp(
            gamer=self.caller.gamer,
            phone=fields["phone"],
            auth_code=fields["authCode"],
            code=fields["otp"],
            now=timezone.now(),
        )
        return Response({"message": "Phone number verified successfully"})
