import pytest

from kgen.common import strict_json


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b'{"a": 1, "b": [true, null, "x"]}', {"a": 1, "b": [True, None, "x"]}),
        (b"9007199254740993", 9007199254740993),
        (b"1.0", 1.0),
        (b'"\\\\u0000"', "\\u0000"),
        ('"ünï\\ud83d\\ude00"'.encode(), "ünï😀"),
        (b"[" * 32 + b"]" * 32, None),
        (b"[" + b",".join([b"[{}]"] * 100) + b"]", [[{}]] * 100),
        (b'["' + b"[" * 40 + b'\\"{"]', ["[" * 40 + '"{']),
    ],
)
def test_plain_json_is_read(raw, value):
    read = strict_json.loads(raw)

    assert value is None or (read == value and type(read) is type(value))


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b"\xff", "not UTF-8"),
        (b'\xef\xbb\xbf{"a": 1}', "not JSON"),
        (b'"a\x00b"', "not JSON"),
        (b'{"a": 1, "a": 1}', "a key is given twice"),
        (b'{"x": {"a": 1, "\\u0061": 2}}', "a key is given twice"),
        (b"[NaN]", "NaN is not a number"),
        (b"-Infinity", "-Infinity is not a number"),
        (b"1e400", "a number is too large"),
        (b"9" * 5000, "not JSON"),
        (b'["a\\u0000"]', "a text holds a NUL character"),
        (b'{"a\\u0000": 1}', "a text holds a NUL character"),
        (b'["\\ud800"]', "a text holds half a surrogate pair"),
        (b'{"\\uDFFF": 1}', "a text holds half a surrogate pair"),
        (b"[" * 33 + b"]" * 33, "nested deeper than 32"),
        (b'{"a":' * 33 + b"1" + b"}" * 33, "nested deeper than 32"),
        (b"[" * 30_000 + b"]" * 30_000, "nested deeper than 32"),
        (b'{"a":' * 9_000 + b"1" + b"}" * 9_000, "nested deeper than 32"),
        (b"[" * 30_000, "nested deeper than 32"),
        (b'["\\"' + b"[" * 33, "not JSON"),
        (b'["' + b'\\"' * 33_000 + b"[" * 33 + b"\\", "not JSON"),
    ],
)
def test_anything_ambiguous_is_refused(raw, reason):
    with pytest.raises(strict_json.BrokenJson) as refusal:
        strict_json.loads(raw)

    assert refusal.value.details == {"fields": {"body": reason}}


def _object_with(keys: int) -> bytes:
    return b"{" + b",".join(b'"%d":[":"]' % number for number in range(keys)) + b"}"


def test_a_thousand_keys_are_read_and_one_more_is_refused():
    assert strict_json.loads(_object_with(1000)) == {str(n): [":"] for n in range(1000)}
    with pytest.raises(strict_json.BrokenJson) as refusal:
        strict_json.loads(_object_with(1001))
    assert refusal.value.details == {"fields": {"body": "more than 1000 keys"}}


def test_canonical_form_is_one_for_equal_values():
    one = strict_json.loads(b'{"b": 1, "a": [1.5, "\xc3\xbc"]}')
    same = strict_json.loads(b'{"a":[15e-1,"\\u00fc"],\n"b":1}')

    assert strict_json.canonical(one) == strict_json.canonical(same)
    assert strict_json.canonical(one) == '{"a":[1.5,"ü"],"b":1}'.encode()


def test_canonical_form_keeps_integers_and_numbers_with_a_point_apart():
    assert strict_json.canonical(strict_json.loads(b"[1]")) == b"[1]"
    assert strict_json.canonical(strict_json.loads(b"[1.0]")) == b"[1.0]"
