"""What to do when a service that a test needs is not here: skip, loudly; fail where everything is required."""

import os
from typing import NoReturn

import pytest


def everything_is_required() -> bool:
    """Whether a skip is a failure, as in CI."""
    return os.environ.get("WHETSTONE_REQUIRE_ALL", "") not in {"", "0"}


def missing(what: str, how: str) -> NoReturn:
    """Skip this test because ``what`` is missing; ``how`` says what to type."""
    reason = f"{what} is missing; {how}"
    if everything_is_required():
        pytest.fail(f"{reason} (WHETSTONE_REQUIRE_ALL is set)", pytrace=False)
    pytest.skip(reason)
