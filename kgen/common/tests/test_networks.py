import pytest
from django.core.exceptions import ValidationError

from kgen.common import networks


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("", ""),
        (" \n", ""),
        ("203.0.113.7", "203.0.113.7/32"),
        ("10.0.0.0/8,  2001:DB8:0::/32\r\n10.0.0.0/255.0.0.0", "10.0.0.0/8\n2001:db8::/32"),
    ],
)
def test_list_is_kept_one_network_a_line(text, kept):
    networks.validate(text)

    assert networks.written(text) == kept


@pytest.mark.parametrize(
    "text",
    ["10.0.0.1/8", "10.0.0.0/33", "example.com", "300.0.0.1", "10.0.0.0/8;1.1.1.1", "::/129"],
)
def test_what_is_no_network_is_refused(text):
    with pytest.raises(ValidationError, match="Give networks such as"):
        networks.validate(text)


def test_list_that_nobody_reads_over_is_refused():
    with pytest.raises(ValidationError, match="at most 50"):
        networks.validate(" ".join(f"10.0.0.{n}" for n in range(51)))
