"""Columns of exports: name, Arrow type, what they mean, and the option without which they are left out."""

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from training.exports.options import Options

TEXT, NUMBER, WHOLE, TRUTH = pa.string(), pa.float64(), pa.int64(), pa.bool_()
TEXTS = pa.list_(TEXT)
MESSAGE = pa.struct([("role", TEXT), ("content", TEXT)])
MESSAGES = pa.list_(MESSAGE)

Need = Literal["", "details", "models", "people"]


@dataclass(frozen=True)
class Column:
    name: str
    type: pa.DataType
    words: str
    needs: Need = ""

    def is_in(self, options: Options) -> bool:
        return not self.needs or bool(getattr(options, self.needs))


DETAILS = (
    Column("id", TEXT, "the row in the frozen dataset, and in its lineage", "details"),
    Column("prompt_id", TEXT, "hash of the prompt's messages", "details"),
    Column("n_votes", WHOLE, "judgements of the pair", "details"),
    Column("vote_share", NUMBER, "share of them for the chosen answer", "details"),
    Column("weight", NUMBER, "judgements behind the row", "details"),
)
