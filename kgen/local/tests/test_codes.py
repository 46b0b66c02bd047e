from base64 import b32encode

import pytest

from kgen.local.codes import code_of


# RFC 6238, appendix B, less the two leading digits.
@pytest.mark.parametrize(("at", "code"), [(59, "287082"), (1111111109, "081804")])
def test_codes_are_those_of_the_standard(at: int, code: str) -> None:
    assert code_of(b32encode(b"12345678901234567890").decode(), at) == code
