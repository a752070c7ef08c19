"""What looks like a secret, and what only resembles one. Every secret here is made up."""

import pytest

from core.confidential import has_address, secret_in

SECRETS = {
    "an AWS access key": "AKIA" + "Q3EXAMPLE7ABCDEF",
    "a private key": "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIE",
    "a JSON Web Token": "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlLW9mLW5vdGhpbmc",
    "a GitHub token": "ghp_" + "a1B2" * 9,
    "an API key": "sk-" + "a1b2c3d4" * 5,
    "a Hugging Face token": "hf_" + "abcdefGHIJ" * 4,
    "a Slack token": "xoxb-" + "123456789012-abcdefABCDEF",
    "a card number": "4111 1111 1111 1111",
}


@pytest.mark.parametrize(("what", "text"), SECRETS.items())
def test_secrets_are_found_within_text(what: str, text: str) -> None:
    # T083
    assert secret_in(f"Here it is: {text}, keep it.") == what


@pytest.mark.parametrize(
    "text", ["ASIA" + "Q3EXAMPLE7ABCDEF", "٤١١١ ١١١١ ١١١١ ١١١١", "Grüße: github_pat_" + "a1_" * 20], ids=["session", "arabic", "umlaut"]
)  # fmt: skip
def test_rare_forms_of_secrets_are_found_too(text: str) -> None:
    assert secret_in(text)


@pytest.mark.parametrize(
    "text",
    ["", "AKIA", "sk-learn is a library", "eyJust", "4111 1111 1111 1112", "0000000000000000", "1700000000000", "3.1415926535897932",
     "x" * 10_000, "ghp_short", "BEGIN PUBLIC KEY", "id 12345678-1234-1234-1234-123456789012"],
)  # fmt: skip
def test_what_only_resembles_one_is_not(text: str) -> None:
    assert secret_in(text) == ""


@pytest.mark.parametrize(
    ("text", "has"),
    [
        ("write to ana@example.org", True),
        ("+41 44 668 18 00", True),
        ("a @ b", False),
        ("1 + 1 = 2", False),
        ("@mention", False),
    ],
)
def test_addresses(text: str, has: bool) -> None:
    assert has_address(text) is has
