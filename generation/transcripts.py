"""Anthropic's transcripts: a conversation as one text, each turn after a blank line with its speaker."""

import re
from collections.abc import Sequence

SPOKEN = re.compile(r"\n\n(System|Human|Assistant):")
ROLES = {"System": "system", "Human": "user", "Assistant": "assistant"}
ASKED = "\n\nAssistant:"


def is_transcript(text: object) -> bool:
    return isinstance(text, str) and text.startswith(("\n\nHuman:", "\n\nSystem:")) and ASKED in text


def is_asked(prompt: object) -> bool:
    """A transcript up to the answer; the space before the answer may stand at its end."""
    return is_transcript(prompt) and str(prompt).endswith((ASKED, f"{ASKED} "))


def opened(prompt: object, answers: Sequence[str]) -> tuple[object, Sequence[str]]:
    """(conversation, answers) of a transcript up to the answer; any other prompt, and its answers, as they stand.

    Where the transcript ends at the colon, the space that follows it is at the beginning of each answer, and not part of it.
    """
    if not is_asked(prompt):
        return prompt, answers
    text = str(prompt)
    said = answers if text.endswith(" ") else [answer.removeprefix(" ") for answer in answers]
    return transcript(text)[:-1], said


def transcript(text: str) -> list[dict[str, str]]:
    """A transcript as messages; the space after the colon is the transcript's, not the speaker's."""
    _, *parts = SPOKEN.split(text)
    return [
        {"role": ROLES[speaker], "content": words.removeprefix(" ")}
        for speaker, words in zip(parts[::2], parts[1::2], strict=True)
    ]
