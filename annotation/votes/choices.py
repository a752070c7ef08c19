"""What a person chooses about an import of votes, besides the file itself."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from core.errors import require

MAX_OPEN_FOR = 50
MAX_GUIDELINES = 60_000


@dataclass(frozen=True, slots=True)
class Choices:
    """question         what the people were asked
    guidelines       the instruction they had read, Markdown
    licence          of the prompts and answers
    is_holdout_only  no prompt of it ever trains a model
    allow_secrets    rows that hold what looks like a secret come in too: an admin's decision
    open_for         how many more judgements each task takes by people here; 0 closes the campaign
    """

    question: str = "Which answer is better?"
    guidelines: str = ""
    licence: str = ""
    is_holdout_only: bool = False
    open_for: int = 0
    allow_secrets: bool = False

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> "Choices":
        """Raises DomainError for what makes no sense."""
        unknown = sorted(set(given) - {each.name for each in fields(cls)})
        require(not unknown, f"An import has no choice {unknown[0]!r}." if unknown else "")
        made = cls(**given)
        require(made.question.strip() and len(made.question) <= 300, "The question has 1 to 300 characters.")
        require(len(made.guidelines) <= MAX_GUIDELINES, f"The guidelines have at most {MAX_GUIDELINES:,} characters.")
        require(len(made.licence) <= 100, "The licence has at most 100 characters.")
        require(0 <= made.open_for <= MAX_OPEN_FOR, f"Further judgements are a number from 0 to {MAX_OPEN_FOR}.")
        return made

    def stored(self) -> dict[str, Any]:
        return asdict(self)
