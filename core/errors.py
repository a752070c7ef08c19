"""What went wrong, in a sentence for a person: raised by services, shown by one middleware in HTML and JSON."""


class DomainError(Exception):
    """A request that cannot be done as asked (422). ``how`` says what to do about it."""

    status_code = 422

    def __init__(self, sentence: str, *, how: str = "") -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.how = how

    @property
    def words(self) -> str:
        """All of it, for a form, a job or a terminal."""
        return f"{self.sentence} {self.how}".strip()


class Conflict(DomainError):
    """The world has moved on since the page was drawn (409): a lost lease, a retired task, a second click."""

    status_code = 409


def require(condition: object, sentence: str, *, how: str = "") -> None:
    if not condition:
        raise DomainError(sentence, how=how)
