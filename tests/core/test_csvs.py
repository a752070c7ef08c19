"""No cell of a table becomes a formula (ASVS 1.2.10)."""

import csv
import io

import pytest

from core.csvs import csv_text, inert


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\0=1", "＝1", "  =cmd()"])
def test_a_formula_is_only_text(text: str) -> None:
    assert inert(text) == f"'{text}"


@pytest.mark.parametrize("value", ["Ana", "", "a=b", -1, -1.5, None, "1-2"])
def test_everything_else_stays_as_it_is(value: object) -> None:
    assert inert(value) == value


def test_what_is_written_can_be_read_back() -> None:
    rows = list(csv.reader(io.StringIO(csv_text(["name", "n"], [['a, b\n"c"', -1], ["=x", 2]]))))
    assert rows == [["name", "n"], ['a, b\n"c"', "-1"], ["'=x", "2"]]
