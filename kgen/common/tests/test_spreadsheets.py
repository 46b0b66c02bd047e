import csv
from datetime import UTC, datetime, timedelta, timezone

import pytest

from kgen.common.spreadsheets import csv_lines


def read_back(*rows):
    return list(csv.reader(csv_lines(["a", "b"], rows)))


def test_header_and_rows_are_read_back_as_they_are():
    text = 'x, "y"\nz'

    assert read_back((text, 1), (None, "ü")) == [["a", "b"], [text, "1"], ["", "ü"]]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_text_never_becomes_a_formula(start):
    assert read_back((f"{start}1+1", "")) == [["a", "b"], [f"'{start}1+1", ""]]


def test_formula_signs_within_a_text_are_left_alone():
    assert read_back(("1=1", "a@b")) == [["a", "b"], ["1=1", "a@b"]]


def test_numbers_stay_numbers_of_any_size():
    assert read_back((-5, 10**77)) == [["a", "b"], ["-5", str(10**77)]]


def test_moments_are_told_in_utc():
    moment = datetime(2026, 1, 1, 1, 30, 0, 7, tzinfo=timezone(timedelta(hours=2)))

    assert read_back((moment, datetime(2026, 1, 1, tzinfo=UTC))) == [
        ["a", "b"],
        ["2025-12-31T23:30:00.000007Z", "2026-01-01T00:00:00.000000Z"],
    ]
