import pytest

from core.templatetags.whetstone import listed


@pytest.mark.parametrize(
    ("value", "words"),
    [(["a", "b"], "a, b"), ({"split": "train", "models": False}, "split train, models False"), (3, "3"), ([], "")],
)
def test_what_an_event_holds_is_told_in_words(value, words):
    assert listed(value) == words
