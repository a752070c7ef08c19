import pytest

from core.errors import Conflict, DomainError


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (DomainError("The name is taken.", how="Choose another."), "The name is taken. Choose another."),
        (Conflict("This campaign is closed."), "This campaign is closed."),
    ],
)
def test_a_problem_in_words_is_its_sentence_and_what_to_do_if_anything(problem: DomainError, words: str) -> None:
    assert problem.words == words
