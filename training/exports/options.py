"""What a person chooses about an export besides format and container."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from core.errors import DomainError

WORDS = {"details": "further columns", "models": "models named", "people": "annotators by pseudonym"}


def in_words(options: Mapping[str, Any]) -> list[str]:
    """What was asked for on top of a format's own columns."""
    return [WORDS[name] for name, value in options.items() if value is True]


class Options(BaseModel):
    """split    which side of the border: train, or test (the held-out prompts)
    details  the further columns of a format: ids, votes behind a row, weights
    models   name the models that wrote the answers, and how they were sampled; otherwise they are model-1, model-2 ...
    people   name the annotators by their pseudonyms; otherwise they are person-1, person-2 ...
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    split: Literal["train", "test"] = "train"
    details: bool = False
    models: bool = False
    people: bool = False

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> "Options":
        """Raises DomainError for what makes no sense."""
        try:
            return cls.model_validate(dict(given))
        except ValidationError as problem:
            first = problem.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise DomainError(f"An export cannot be made like this: {where}: {first['msg']}.") from None
