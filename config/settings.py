"""Django's settings, derived from ``config.env``. Nothing here reads the environment by itself."""

from pathlib import Path
from typing import Any

import dj_database_url
import django_stubs_ext
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from config.env import ROOT, Env, EnvError, load_env

django_stubs_ext.monkeypatch()

try:
    WHETSTONE: Env = load_env()
    WHETSTONE.make_directories()
    SECRET_KEY = WHETSTONE.signing_key
except EnvError as problem:
    raise ImproperlyConfigured(str(problem)) from None

BASE_DIR: Path = ROOT
DEBUG = WHETSTONE.debug
ALLOWED_HOSTS = list(WHETSTONE.allowed_hosts)
CSRF_TRUSTED_ORIGINS = list(WHETSTONE.csrf_trusted_origins)

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django_htmx",
    "rest_framework",
    "drf_spectacular",
    "csp",
    "config",
    "core",
    "accounts",
    "generation",
    "annotation",
    "training",
    "loop",
]

MIDDLEWARE = [
    "core.middleware.RequestIdMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "config.headers.HeadersMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "core.middleware.SignedInPagesMiddleware",
    "core.middleware.DomainErrorMiddleware",
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [ROOT / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]

# ---- database --------------------------------------------------------------------------------------------------------


def sqlite_database(path: Path) -> dict[str, Any]:
    """SQLite as we promise it: acknowledged commits survive a power cut, and writers queue instead of failing."""
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": path,
        "OPTIONS": {
            "timeout": 20,
            # A transaction that reads first and writes later fails at once, without waiting, if another wrote between.
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-20000;",
        },
    }


def database(env: Env) -> dict[str, Any]:
    """Django's description of the database that the environment names."""
    if env.database_url is None:
        return sqlite_database(env.path("db.sqlite3"))
    url = env.database_url.get_secret_value()
    if url.startswith("sqlite"):
        return sqlite_database(Path(dj_database_url.parse(url)["NAME"]))
    found = dj_database_url.parse(url, engine="core.postgres", conn_max_age=60, conn_health_checks=True)
    # Only queries of core.prepared, which bind at the server, are prepared there, from their second use on.
    return {**found, "OPTIONS": {"prepare_threshold": 1, **found.get("OPTIONS", {})}}


DATABASES = {"default": database(WHETSTONE)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# ---- people ----------------------------------------------------------------------------------------------------------

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["accounts.sessions.AccountBackend"]
SESSION_ENGINE = "accounts.sessions"
LOGIN_URL = "/sign-in/"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/sign-in/"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]

# ---- what a browser is told ------------------------------------------------------------------------------------------

SESSION_COOKIE_NAME = "whetstone_session"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = WHETSTONE.https
CSRF_COOKIE_NAME = "whetstone_csrf"
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_FAILURE_VIEW = "core.problems.csrf_failure"
CSRF_COOKIE_SECURE = WHETSTONE.https
SECURE_SSL_REDIRECT = WHETSTONE.https
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if WHETSTONE.https else 0
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if WHETSTONE.behind_proxy else None
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "manifest-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
        "object-src": [NONE],
    }
}

# ---- files -----------------------------------------------------------------------------------------------------------

STATIC_URL = "/static/"
STATIC_ROOT = WHETSTONE.path("static")
STATICFILES_DIRS = [ROOT / "static"]
# Served straight from the sources: no collectstatic step stands between a clone and a running page.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG
MEDIA_ROOT = WHETSTONE.path("uploads")
FILE_UPLOAD_TEMP_DIR = WHETSTONE.path("uploads")
FILE_UPLOAD_PERMISSIONS = 0o600
DATA_UPLOAD_MAX_MEMORY_SIZE = 16 * 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 10_000

# ---- words and times -------------------------------------------------------------------------------------------------

LANGUAGE_CODE = "en-gb"
USE_I18N = True
USE_TZ = True
TIME_ZONE = WHETSTONE.time_zone

# ---- API -------------------------------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.tokens.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "EXCEPTION_HANDLER": "core.api.api_exception_handler",
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    # The browsable API lists other people's objects in its form fields; JSON only.
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": [
        "core.api.PlainJSONParser",
        "rest_framework.parsers.MultiPartParser",
    ],
    "DEFAULT_SCHEMA_CLASS": "accounts.api.schema.ApiSchema",
}
SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "Whetstone",
    "DESCRIPTION": "Everything that the pages do, by script. A token is made on the page of a project's tokens.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PUBLIC": True,
    "APPEND_COMPONENTS": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    # Enums stay where they are used: a status of one kind is not a status of another.
    "POSTPROCESSING_HOOKS": [],
    "SORT_OPERATIONS": False,
}

# ---- cache -----------------------------------------------------------------------------------------------------------


def caches(env: Env) -> dict[str, Any]:
    """What processes share for a while: in Redis where that is the broker, else each has its own memory."""
    if not env.uses_redis:
        return {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "whetstone"}}
    assert env.broker_url is not None
    return {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": env.broker_url.get_secret_value(),
            "KEY_PREFIX": "whetstone",
            "OPTIONS": {"socket_connect_timeout": 1, "socket_timeout": 1},
        }
    }


CACHES = caches(WHETSTONE)

# ---- queue -----------------------------------------------------------------------------------------------------------

CELERY_BROKER_URL = WHETSTONE.broker_url.get_secret_value() if WHETSTONE.broker_url else "filesystem://"
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, Any] = (
    {
        "data_folder_in": str(WHETSTONE.path("broker", "queue")),
        "data_folder_out": str(WHETSTONE.path("broker", "queue")),
        "processed_folder": str(WHETSTONE.path("broker", "processed")),
        "control_folder": str(WHETSTONE.path("broker", "control")),
        "polling_interval": 0.2,
    }
    if WHETSTONE.uses_embedded_broker
    else {"socket_connect_timeout": 5, "socket_timeout": 30}
)
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
# Publishing happens after a commit, in a request: if the broker is down it fails at once and the reaper sends again.
CELERY_TASK_PUBLISH_RETRY = False
CELERY_RESULT_BACKEND = None
CELERY_TASK_IGNORE_RESULT = True
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_SERIALIZER = "json"
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TASK_ACKS_LATE = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULE_FILENAME = str(WHETSTONE.path("broker", "beat"))
CELERY_BEAT_SCHEDULE = {
    # Late ticks are worthless: a worker that comes back after an hour must not work off twelve hundred of them.
    # On a queue of its own: behind long jobs that wait for what only the tick does, none of them would ever end.
    "tick": {"task": "loop.tasks.tick", "schedule": 3.0, "options": {"expires": 10, "queue": "tick"}},
}

# ---- log -------------------------------------------------------------------------------------------------------------

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        "request_id": {"()": "core.middleware.RequestIdFilter"},
        "refusals": {"()": "core.middleware.RefusalFilter"},
    },
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s"}},
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["request_id", "refusals"]}
    },
    "root": {"handlers": ["console"], "level": WHETSTONE.log_level},
    "loggers": {"django.utils.autoreload": {"level": "WARNING"}, "httpx": {"level": "WARNING"}},
}
