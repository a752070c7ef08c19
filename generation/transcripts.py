"""Anthropic's transcripts: a conversation as one text, each turn after a blank line with its speaker."""

import re

SPOKEN = re.compile(r"\n\n(System|Human|Assistant):")
ROLES = {"System": "system", "Human": "user", "Assistant": "assistant"}
ASKED = "\n\nAssistant:"


def is_transcript(text: object) -> bool:
    return isinstance(text, str) and text.startswith(("\n\nHuman:", "\n\nSystem:")) and ASKED in text


def is_asked(prompt: object) -> bool:
    """A transcript up to the answer, which follows after a space."""
    return is_transcript(prompt) and str(prompt).endswith(ASKED)


def transcript(text: str) -> list[dict[str, str]]:
    """A transcript as messages; the space after the colon is the transcript's, not the speaker's."""
    _, *parts = SPOKEN.split(text)
    return [
        {"role": ROLES[speaker], "content": words.removeprefix(" ")}
        for speaker, words in zip(parts[::2], parts[1::2], strict=True)
    ]
