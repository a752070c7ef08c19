"""The quick writer gives the bytes of the slow one, or its error."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.ids import canonical_json
from training.formats.canonical import canonical, messages_in, value_in

text = st.text(alphabet=st.characters(exclude_categories=["Cs"]))
numbers = st.one_of(
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(0, 1).map(lambda x: round(x, 6)),
    st.sampled_from([1e-6, 1e-4, 9.9e-5, 1e15, 1e16, -0.0, 5e-324, 2**63, 2**64, -(2**63) - 1]),
)
plain = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, text),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(text, inner, max_size=4)),
    max_leaves=20,
)


@given(plain)
def test_the_bytes_are_equal(value):
    assert canonical(value) == canonical_json(value)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.0, -0.0, 1e-5, 1e-4, 1e16])))
def test_the_bytes_are_equal_where_the_caller_names_the_floats(floats):
    value = {"text": ["a", "\u2028"], "n": 3, "floats": floats}
    assert canonical(value, floats=floats) == canonical_json(value)


@pytest.mark.parametrize("odd", ["\u2028\u2029\x85", "\x7f\x00\x1f", '\r\n\t"\\/', "\ufeff\U0001f600", "e\u0301"])
def test_odd_text_is_written_alike(odd):
    assert canonical({odd: [odd]}) == canonical_json({odd: [odd]})


def test_what_cannot_be_written_raises_the_same_error():
    with pytest.raises(UnicodeEncodeError):
        canonical({"text": "\ud800"})
    for wrong in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="Out of range"):
            canonical([wrong])


@given(plain)
def test_a_value_is_read_as_python_reads_it(value):
    assert value_in(json.dumps(value)) == value


anything = st.text(st.characters(exclude_categories=[]))  # halves of characters too


@given(st.lists(st.fixed_dictionaries({"role": anything, "content": anything}), max_size=3), st.booleans())
def test_messages_are_read_as_python_reads_them(messages, is_ascii):
    stored = json.dumps(messages, ensure_ascii=is_ascii)
    assert messages_in(stored) == json.loads(stored)
