"""Keys, hashes and canonical bytes: everything whose value must never depend on a database or a machine.

Imports nothing but the standard library, so recipes and the starter model may use it too.
"""

import hashlib
import json
import re
import secrets
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, Literal

KEY_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"  # without l, o, 0 and 1: a person may have to read it aloud
KEY_LENGTH = 12
HOLDOUT_SHARE = 0.15

Split = Literal["train", "holdout"]


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def new_key() -> str:
    """A random opaque key for URLs: 12 characters, 60 bits."""
    # 32 letters, so five bits of each byte choose one of them evenly; one call to the system, since imports make millions.
    return "".join(KEY_ALPHABET[byte & 31] for byte in secrets.token_bytes(KEY_LENGTH))


def new_token() -> str:
    """A secret of 256 bits, for invitations, API tokens and leases."""
    return secrets.token_urlsafe(32)


def canonical_json(value: Any) -> bytes:
    """The one byte form of a JSON value: sorted keys, no spaces, UTF-8, no NaN.

    Raises ValueError for NaN or infinity and UnicodeEncodeError for lone surrogates.
    """
    return _ENCODER.encode(value).encode()


def sha256_hex(data: bytes | str) -> str:
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def content_sha256(messages: Sequence[dict[str, str]]) -> str:
    """The identity of a prompt: its messages, exactly as given."""
    return sha256_hex(canonical_json([{"role": m["role"], "content": m["content"]} for m in messages]))


def normalised(text: str) -> str:
    """Text with case, width and runs of white space levelled out, for telling near-equal prompts apart from new ones."""
    return " ".join(levelled(text).split())


def levelled(text: str) -> str:
    """Text with case and width levelled out. What is ASCII is its own normal form."""
    return (text if text.isascii() else unicodedata.normalize("NFKC", text)).casefold()


# Words of levelled text: what stands between blanks and punctuation. Marks belong to their letters, and emoji are words of their own kind.
_STOPS = (
    r"\s\x00-\x1f!\"'(),\-.:;?\[\]\\_`{}\x7f-\xa1\xa7\xab\xb6\xb7\xbb\xbf\u0589\u05be\u05c0\u05c3\u05f3\u05f4\u060c\u061b\u061f\u066a-\u066d"
    r"\u06d4\u0964\u0965\u0df4\u0e2f\u0e5a\u0e5b\u104a-\u104f\u1361-\u1368\u17d4-\u17da\u2000-\u200b\u2010-\u2029\u202f-\u205f\u2e00-\u2e5d"
    r"\u3000-\u3003\u3008-\u3011\u3014-\u301f\u30fb"
)
WORDS = re.compile(f"[^{_STOPS}]+")


def group_sha256(text: str) -> str:
    """The hash of a prompt's group: a given group name or, without one, the first user turn."""
    return sha256_hex(normalised(text))


def split_for(group_hash: str, holdout_share: float = HOLDOUT_SHARE) -> Split:
    """Which side of the border a group lies on; depends on its hash alone, so it never drifts."""
    return "holdout" if int(group_hash[:8], 16) / 2**32 < holdout_share else "train"


def seed_from(*parts: object) -> int:
    """A 31-bit seed derived from identity, so that a job done again asks for the same answer."""
    return int(sha256_hex(_list_json([str(part) for part in parts]))[:8], 16) & 0x7FFFFFFF


def keys_sha256(keys: Iterable[str]) -> str:
    """The hash of a set of keys, whatever their order."""
    return sha256_hex(_list_json(sorted(keys)))


def _list_json(texts: list[str]) -> bytes:
    """``canonical_json`` of a list of texts, without an encoder where no text needs one: an import asks for millions."""
    joined = '","'.join(texts)
    if joined.isalnum() or (
        joined.isascii() and joined.isprintable() and "\\" not in joined and _n_quotes(joined, texts)
    ):
        return f'["{joined}"]'.encode()
    return canonical_json(texts)


def _n_quotes(joined: str, texts: list[str]) -> bool:
    """Whether the only quotation marks are those between the texts."""
    return bool(texts) and joined.count('"') == 2 * (len(texts) - 1)
