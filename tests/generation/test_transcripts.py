"""Conversations written down as one text: which text is one, and whose the space before an answer is."""

import pytest

from generation.transcripts import is_asked, is_transcript, opened, transcript

ASKED = "\n\nHuman: Why?\n\nAssistant:"


@pytest.mark.parametrize("prompt", [ASKED, f"{ASKED} ", f"\n\nSystem: Be brief.{ASKED}"])
def test_a_transcript_up_to_the_answer_is_asked(prompt: str) -> None:
    assert is_transcript(prompt) and is_asked(prompt)
    assert transcript(prompt)[-1] == {"role": "assistant", "content": ""}


@pytest.mark.parametrize(
    "prompt", [None, 3, [], "", "Why?", "Human: Why?", "\n\nHuman: Why?", f"{ASKED} So.", f"{ASKED}  "]
)
def test_anything_else_is_not_asked(prompt: object) -> None:
    assert not is_asked(prompt)
    assert opened(prompt, [" x"]) == (prompt, [" x"])


@pytest.mark.parametrize(
    ("prompt", "given", "said"),
    [(ASKED, " x", "x"), (ASKED, "x", "x"), (ASKED, "  x", " x"), (f"{ASKED} ", "x", "x"), (f"{ASKED} ", " x", " x")],
)
def test_one_space_before_an_answer_is_the_transcripts(prompt: str, given: str, said: str) -> None:
    conversation, answers = opened(prompt, [given])
    assert conversation == [{"role": "user", "content": "Why?"}] and list(answers) == [said]
