"""The settings of the test suite: the app's own, in a home directory that is thrown away.

``WHETSTONE_TEST_DATABASE`` is ``sqlite`` (a file, so that threads meet as they do in life) or ``postgres`` (a server
that the suite starts; ``tests/conftest.py`` fills in its address).
"""

import os
import tempfile
from pathlib import Path

for name in [name for name in os.environ if name.startswith("WHETSTONE_")]:
    if name != "WHETSTONE_REQUIRE_ALL" and not name.startswith("WHETSTONE_TEST_"):
        del os.environ[name]

TEST_HOME = Path(tempfile.mkdtemp(prefix="whetstone-tests-"))
TEST_DATABASE = os.environ.get("WHETSTONE_TEST_DATABASE", "sqlite")
os.environ |= {"WHETSTONE_HOME": str(TEST_HOME), "WHETSTONE_ENV_FILE": "", "WHETSTONE_LOG_LEVEL": "WARNING"}

from config.settings import *  # noqa: E402, F403
from config.settings import DATABASES, sqlite_database  # noqa: E402

WHITENOISE_AUTOREFRESH = True  # else each test client, having middleware of its own, lists all static files first
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

if TEST_DATABASE == "postgres":
    DATABASES["default"] = {
        "ENGINE": "core.postgres",
        "NAME": "postgres",
        "USER": "whetstone",
        "HOST": "127.0.0.1",
        "PORT": "0",  # filled in when the server has started
        "TEST": {"NAME": "whetstone_test"},
        "OPTIONS": {"prepare_threshold": 1},
    }
elif TEST_DATABASE == "sqlite":
    DATABASES["default"] = {
        **sqlite_database(TEST_HOME / "db.sqlite3"),
        "TEST": {"NAME": str(TEST_HOME / "test.sqlite3")},
    }
else:
    raise SystemExit(f"WHETSTONE_TEST_DATABASE is {TEST_DATABASE!r}; it must be sqlite or postgres.")
