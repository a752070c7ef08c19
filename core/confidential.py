"""What looks like a secret in the text of strangers: keys, tokens, private keys, card numbers. Addresses are counted, not refused.

Texts are long and secrets rare, so each pattern is tried only where its beginning occurs, and each beginning is looked for only
where its rarest sign occurs: one sign is found many times as quickly as two.
"""

import re
from collections.abc import Iterable

_KEYS: tuple[tuple[str, str, str, re.Pattern[str]], ...] = tuple(
    (sign, mark, what, re.compile(pattern))
    for sign, mark, what, pattern in (
        ("K", "AKIA", "an AWS access key", r"\bAKIA[0-9A-Z]{16}\b"),
        ("S", "ASIA", "an AWS access key", r"\bASIA[0-9A-Z]{16}\b"),
        ("-", "PRIVATE KEY-----", "a private key", r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----"),
        ("J", "eyJ", "a JSON Web Token", r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{16,}"),
        ("_", "gh", "a GitHub token", r"\bgh[oprsu]_[A-Za-z0-9]{36}\b"),
        ("_", "github_pat_", "a GitHub token", r"\bgithub_pat_\w{50,}"),
        ("-", "sk-", "an API key", r"\bsk-[A-Za-z0-9_-]{32,}"),
        ("_", "hf_", "a Hugging Face token", r"\bhf_[A-Za-z]{30,}\b"),
        ("-", "xox", "a Slack token", r"\bxox[abeprs]-[0-9A-Za-z-]{20,}"),
    )
)
# Bytes of ASCII that neither a sign nor a card number holds.
_PLAIN = bytes(set(range(128)) - set(b"0123456789" + "".join(sign for sign, *_ in _KEYS).encode()))
CARD_DIGITS = 13  # the fewest of a card number
# It begins with a digit and not with a look behind, which would be tried at every character.
_DIGITS = re.compile(r"\d{4}[ -]?\d{4}[ -]?\d{4}[ -]?\d{1,7}(?![\d.])")
_ADDRESS = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+")
_PHONE = re.compile(r"\+\d{1,3}[ -]?(?:\(?\d{1,4}\)?[ -]?){2,5}\d{2,4}")


def secret_in(text: str) -> str:
    """What the first secret of a text seems to be, with its article; empty where there is none."""
    left = text.encode().translate(None, _PLAIN).decode()
    if not left:
        return ""
    for sign, mark, what, pattern in _KEYS:
        if sign in left and mark in text and pattern.search(text):
            return what
    if len(left) < CARD_DIGITS:
        return ""
    for found in _DIGITS.finditer(text):
        if found.start() and text[found.start() - 1] in ".0123456789":
            continue
        digits = [int(sign) for sign in found.group() if sign.isdigit()]
        if CARD_DIGITS <= len(digits) <= 19 and len(set(digits)) > 1 and _adds_up(digits):
            return "a card number"
    return ""


def first_secret(texts: Iterable[str]) -> str:
    return next((what for text in texts if (what := secret_in(text))), "")


def has_address(text: str) -> bool:
    """Whether an e-mail address or a telephone number with its country stands in a text."""
    return ("@" in text and _ADDRESS.search(text) is not None) or ("+" in text and _PHONE.search(text) is not None)


def _adds_up(digits: list[int]) -> bool:
    """Luhn's check, which one of ten numbers passes by chance: with a bank's leading digit that is little."""
    if digits[0] not in (2, 3, 4, 5, 6):
        return False
    doubled = [digit * 2 if place % 2 else digit for place, digit in enumerate(reversed(digits))]
    return sum(digit - 9 if digit > 9 else digit for digit in doubled) % 10 == 0
