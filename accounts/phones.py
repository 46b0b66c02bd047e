"""Phone numbers: from what a gamer types to one spelling, or a refusal (contract 3.9)."""

import re
from dataclasses import dataclass

import phonenumbers
from django.conf import settings
from phonenumbers import NumberParseException, PhoneNumber, PhoneNumberFormat, PhoneNumberType

from kgen.common.encryption import keyed_hash
from kgen.common.errors import Invalid

_TYPED = re.compile(r"[0-9 -]+", re.ASCII)
_DIGITS = re.compile(r"[0-9]{4,14}", re.ASCII)
_CALLING_CODE = re.compile(r"\+?([1-9][0-9]{0,2})", re.ASCII)
_REGION = re.compile(r"[A-Za-z]{2}", re.ASCII)
_CAN_TAKE_SMS = (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE)
_NO_REGION = "ZZ"

# Neighbouring numbers share so many national digits; whoever pumps SMS sends to neighbours.
_PREFIX_DIGITS = 7


class InvalidPhone(Invalid):
    """Not a number, not a country, or no mobile number of that country."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason, details={"fields": {field: reason}})


class PhoneCountryNotServed(Invalid):
    code = "PHONE_COUNTRY_NOT_SERVED"
    message = "We send no OTP to this kind of number."


@dataclass(frozen=True, slots=True)
class Phone:
    """A mobile number that we serve: E.164, and the prefix that its sends are limited by."""

    e164: str
    prefix: str
    country: str

    @property
    def is_for_tests(self) -> bool:
        """Whether it is nobody's, and set aside for sandboxes."""
        numbers = settings.OTP_SANDBOX_NUMBERS
        return bool(numbers) and re.fullmatch(numbers, self.e164, re.ASCII) is not None

    @property
    def phone_hash(self) -> str:
        """What its rows are found by."""
        return keyed_hash("phone", self.e164)

    @property
    def prefix_hash(self) -> str:
        return keyed_hash("prefix", self.prefix)


def parse(*, phone_number: str, country_code: str) -> Phone:
    """The one spelling of a number; `country_code` is "+91", "91" or "IN".

    Raises `InvalidPhone` or `PhoneCountryNotServed`.
    """
    if not _TYPED.fullmatch(phone_number):
        raise InvalidPhone("phone_number", "Give digits, spaces and dashes alone.")
    digits = phone_number.replace(" ", "").replace("-", "")
    if not _DIGITS.fullmatch(digits):
        raise InvalidPhone("phone_number", "Give 4 to 14 digits.")
    # A calling code may stand for several countries, as +1 does: then the number tells which.
    regions = _regions_of(country_code)
    if not any(region in settings.OTP_COUNTRIES for region in regions):
        raise PhoneCountryNotServed
    if any(phonenumbers.is_emergency_number(digits, region) for region in regions):
        raise PhoneCountryNotServed
    try:
        number = phonenumbers.parse(digits, regions[0])
    except NumberParseException:
        raise _not_a_mobile_number() from None

    region = phonenumbers.region_code_for_number(number)
    if region is None or region not in regions:
        raise _not_a_mobile_number()
    kind = phonenumbers.number_type(number)
    if region not in settings.OTP_COUNTRIES or kind == PhoneNumberType.PREMIUM_RATE:
        raise PhoneCountryNotServed
    if kind not in _CAN_TAKE_SMS:
        raise _not_a_mobile_number()
    return Phone(
        e164=phonenumbers.format_number(number, PhoneNumberFormat.E164),
        prefix=_prefix_of(number),
        country=region,
    )


def hashes_of(digits: str) -> list[str]:
    """What a number may be kept under that somebody looks for, with its country or without."""
    international = digits.removeprefix("+").removeprefix("00").lstrip("0")
    found = [f"+{international}"]
    if not digits.startswith(("+", "00")):
        codes = phonenumbers.COUNTRY_CODE_TO_REGION_CODE
        found += [f"+{code}{international}" for code in codes]
    return [keyed_hash("phone", e164) for e164 in found]


def _regions_of(country_code: str) -> tuple[str, ...]:
    if _REGION.fullmatch(country_code):
        region = country_code.upper()
        if region in phonenumbers.SUPPORTED_REGIONS:
            return (region,)
    elif calling_code := _CALLING_CODE.fullmatch(country_code):
        regions = phonenumbers.region_codes_for_country_code(int(calling_code[1]))
        if regions and regions[0] != _NO_REGION:
            return tuple(regions)
    raise InvalidPhone("countryCode", 'Give a country, such as "+91", "91" or "IN".')


def _prefix_of(number: PhoneNumber) -> str:
    national = phonenumbers.national_significant_number(number)
    return f"+{number.country_code}{national[:_PREFIX_DIGITS]}"


def _not_a_mobile_number() -> InvalidPhone:
    return InvalidPhone("phone_number", "This is no mobile number of that country.")
