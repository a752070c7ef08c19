"""What a campaign asks beyond "which is better?", and what a person says: plain values, no database.

``Protocol`` is stored with the campaign; ``Said`` is one person's whole answer to one task, read from a form's fields or from an
importer, checked against the protocol, and stored by ``annotation.judge``. Answers are named by *slot* here (their fixed place in
the task); the letters A, B, C of a page are places in the order shown to one person, and ``Said.from_fields`` turns one into the other.

The fields of the annotate form (names are a contract with the templates, the API and ``annotation.pageclient``):

    choice               a · b · tie · both_good · both_bad; on a scale also the strength: a1 ... a4, b1 ... b4; ranking: "ranking"
    rank-LETTER          1 ... n, equal numbers are ties; of a half-done ranking some are missing
    rate-CRITERION-LETTER  a level of that criterion's scale
    compare-CRITERION    a · b · tie, or with a strength a1 ... b4
    reason               any number of the protocol's chips
    comment, write_in    text; edited_from: the letter of the answer that the write-in began from, or ""
    flag                 any number of KIND or KIND:LETTER; flag_reason: text
    active, open         seconds
"""

from annotation.protocol.criteria import (
    FLAGS,
    LETTERS,
    MAX_ANSWERS,
    MAX_COMMENT,
    MAX_CRITERIA,
    MAX_FLAG_REASON,
    MAX_LEVELS,
    MAX_REASONS,
    MAX_SECONDS,
    MAX_WRITE_IN,
    SCALES,
    SHOWN,
    AsksFor,
    Criterion,
    Protocol,
)
from annotation.protocol.reading import Incomplete
from annotation.protocol.said import Said
from annotation.protocol.values import choice_of, closed_up, is_field, tidy, values_of

__all__ = [
    "FLAGS", "LETTERS", "MAX_ANSWERS", "MAX_COMMENT", "MAX_CRITERIA", "MAX_FLAG_REASON", "MAX_LEVELS", "MAX_REASONS",
    "MAX_SECONDS", "MAX_WRITE_IN", "SCALES", "SHOWN",
    "AsksFor", "Criterion", "Incomplete", "Protocol", "Said", "choice_of", "closed_up", "is_field", "tidy", "values_of",
]  # fmt: skip
