"""Every setting that a person may change, read once from the environment and checked.

A value that cannot work stops the start with one sentence. Any setting may be given as ``WHETSTONE_<NAME>`` or, for
secrets kept in files, as ``WHETSTONE_<NAME>_FILE``. ``.env.example`` and ``docs/reference/settings.md`` are generated
from this file by ``scripts/settings_reference.py``; code elsewhere reads ``django.conf.settings.WHETSTONE``.
"""

import os
import re
import secrets
import shlex
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

ROOT = Path(__file__).resolve().parent.parent
PREFIX = "WHETSTONE_"
SECRET_KEY_LENGTH = 50
# Read by the test suite or by this module itself, so not fields of Env.
OTHER_NAMES = frozenset(
    {"WHETSTONE_ENV_FILE", "WHETSTONE_REQUIRE_ALL", "WHETSTONE_TEST_DATABASE", "WHETSTONE_TEST_STEPS"}
)


class EnvError(Exception):
    """The environment cannot be used; the message is made for the person who starts the app."""


def _split(value: object) -> object:
    if isinstance(value, str):
        return [part for part in re.split(r"[,\s]+", value) if part]
    return value


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
EngineChoice = Literal["auto", "vllm", "transformers"]


class FileSource(PydanticBaseSettingsSource):
    """Read ``WHETSTONE_X_FILE`` for any setting ``X``: how Docker and systemd hand over secrets."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        variable = f"{PREFIX}{field_name.upper()}_FILE"
        path = os.environ.get(variable)
        if not path:
            return None, field_name, False
        try:
            return Path(path).read_text(encoding="utf-8").strip(), field_name, False
        except (OSError, UnicodeDecodeError) as problem:
            raise EnvError(f"{variable} names {path}, which cannot be read: {problem}.") from problem

    def __call__(self) -> dict[str, Any]:
        found = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in found.items() if value is not None}


def _setting(default: Any, group: str, description: str, **bounds: Any) -> Any:
    return Field(default=default, description=description, json_schema_extra={"group": group}, **bounds)


PLACES, WEB, STORES, ENGINES, TRAINING = "Places", "Web", "Database and queue", "Engines", "Training"
PUSHING = "Pushing datasets"


class Env(BaseSettings):
    """The settings, typed. Groups and descriptions become the reference page."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True, env_ignore_empty=True)

    home: Path = _setting(ROOT / "var", PLACES, "Directory for everything that this installation writes.")
    model_dirs: Names = _setting(
        (), PLACES, "Directories from which models may be registered, separated by commas; none means any directory."
    )
    upload_max_mib: int = _setting(512, PLACES, "Largest file that may be uploaded, in MiB.", ge=1)

    export_keep_days: int = _setting(7, PLACES, "Days that the file of an export is kept.", ge=1)
    export_link_minutes: int = _setting(60, PLACES, "Minutes that a link to the file of an export is good for.", ge=1)

    secret_key: SecretStr | None = _setting(
        None,
        WEB,
        "Signs sessions and links; at least 50 characters. Unset: made once and kept in `secret_key` in the home.",
    )
    debug: bool = _setting(
        False, WEB, "Show errors with their source in the browser. Never on a machine that others reach."
    )
    host: str = _setting("127.0.0.1", WEB, "Address that the web server binds to.")
    port: int = _setting(8000, WEB, "Port of the web server.", ge=0, le=65535)
    site_url: str = _setting("", WEB, "Address under which people reach the site, for links; unset: host and port.")
    allowed_hosts: Names = _setting(
        ("localhost", "127.0.0.1", "[::1]"), WEB, "Host names that the site answers to, separated by commas."
    )
    api_requests_per_minute: int = Field(
        default=1200,
        ge=0,
        description="Requests a minute that one API token may make: to the site where Redis is the broker, else to one web process; "
        "0: any number.",
        json_schema_extra={"group": WEB},
    )
    csrf_trusted_origins: Names = _setting(
        (), WEB, "Origins (with scheme) that may post forms when a proxy changes the host, separated by commas."
    )
    https: bool = _setting(False, WEB, "The site is reached by HTTPS: secure cookies, HSTS, redirect from HTTP.")
    behind_proxy: bool = _setting(
        False, WEB, "Believe X-Forwarded-Proto. Only if a proxy in front sets it and nothing else reaches this server."
    )
    time_zone: str = _setting("UTC", WEB, "Time zone in which pages show times, for example Europe/London.")
    log_level: LogLevel = _setting("INFO", WEB, "Least severe messages to log.")

    database_url: SecretStr | None = _setting(
        None, STORES, "postgresql://user:password@host:5432/name. Unset: SQLite in the home directory."
    )
    broker_url: SecretStr | None = _setting(
        None,
        STORES,
        "redis://host:6379/0 or another Celery broker. Unset: files in the home directory, no server needed.",
    )

    engine: EngineChoice = _setting(
        "auto",
        ENGINES,
        "What writes answers on this machine: vllm, transformers (in-process), or auto: vLLM where installed.",
    )
    endpoint_hosts: Names = _setting(
        ("127.0.0.1", "localhost", "::1"),
        ENGINES,
        "Hosts (or host:port) that inference endpoints may live on, separated by commas.",
    )
    vllm_command: str = _setting(
        "", ENGINES, "How vLLM is started; unset: the vllm beside this Python, else on the PATH."
    )
    vllm_kv_cache_gib: float = _setting(0.5, ENGINES, "Memory for vLLM's key-value cache on a CPU.", gt=0)
    vllm_gpu_memory_utilization: float = _setting(
        0.6, ENGINES, "Share of a GPU's memory that vLLM may take.", gt=0, le=0.98
    )
    vllm_max_model_len: int = _setting(0, ENGINES, "Longest context in tokens; 0: what the model allows.", ge=0)
    vllm_start_timeout_seconds: int = _setting(600, ENGINES, "Longest wait for vLLM to become healthy.", ge=10)
    vllm_max_loras: int = _setting(4, ENGINES, "Adapters that one batch may mix.", ge=1)
    vllm_max_cpu_loras: int = _setting(16, ENGINES, "Adapters that vLLM keeps in memory.", ge=1)
    vllm_max_lora_rank: Literal[8, 16, 32, 64, 128, 256] = _setting(32, ENGINES, "Largest rank of an adapter.")
    vllm_threads: int = _setting(0, ENGINES, "CPU threads for vLLM; 0: all but one core.", ge=0)
    vllm_extra_args: str = _setting("", ENGINES, "Further arguments for `vllm serve`, as typed in a shell.")
    hub_offline: bool = _setting(
        True,
        ENGINES,
        "Never ask a hub for anything. Switch off to register models by their hub id, or to push datasets.",
    )

    training_threads: int = _setting(1, TRAINING, "CPU threads of a training run; 1 repeats bit for bit.", ge=1)
    training_launcher: str = _setting(
        "", TRAINING, "Command before the recipe, for example `accelerate launch`; unset: this Python."
    )
    keep_checkpoints: int = _setting(2, TRAINING, "Checkpoints kept for each run.", ge=1)

    hub_token: SecretStr | None = _setting(
        None,
        PUSHING,
        "Token of a hub that may write there: researchers may then push datasets to it. Needs WHETSTONE_HUB_OFFLINE=false.",
    )
    hub_endpoint: str = _setting("", PUSHING, "Address of the hub; unset: the one that huggingface_hub knows.")
    s3_url: str = _setting(
        "", PUSHING, "Where researchers may push datasets on S3-compatible storage: s3://bucket or s3://bucket/folder."
    )
    s3_endpoint: str = _setting("", PUSHING, "Address of that storage, for example http://minio:9000; unset: AWS.")
    s3_region: str = _setting("", PUSHING, "Region of the bucket; unset: us-east-1.")
    s3_access_key_id: str = _setting("", PUSHING, "Access key that may list, write and delete there.")
    s3_secret_access_key: SecretStr | None = _setting(None, PUSHING, "The secret of that key.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, FileSource(settings_cls), dotenv_settings

    @field_validator("home")
    @classmethod
    def _absolute_home(cls, home: Path) -> Path:
        return home.expanduser().absolute()

    @field_validator("secret_key")
    @classmethod
    def _long_enough(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and len(key.get_secret_value()) < SECRET_KEY_LENGTH:
            raise ValueError(f"must have at least {SECRET_KEY_LENGTH} characters; leave it unset to have one made")
        if key is not None and len(set(key.get_secret_value())) < 5:
            raise ValueError("repeats too few characters to be a secret; leave it unset to have one made")
        return key

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and urlsplit(url.get_secret_value()).scheme not in {"postgresql", "postgres", "sqlite"}:
            raise ValueError("must start with postgresql:// (or sqlite:///), for example postgresql://user@host/name")
        return url

    @field_validator("broker_url")
    @classmethod
    def _known_broker(cls, url: SecretStr | None) -> SecretStr | None:
        schemes = {"redis", "rediss", "amqp", "amqps", "filesystem", "sentinel", "unix"}
        if url is not None and urlsplit(url.get_secret_value()).scheme not in schemes:
            raise ValueError("must be a broker's address, for example redis://127.0.0.1:6379/0")
        return url

    @field_validator("s3_url")
    @classmethod
    def _names_a_bucket(cls, url: str) -> str:
        if url and not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._/-]*)?", url):
            raise ValueError("must be s3://bucket or s3://bucket/folder")
        return url.rstrip("/")

    @field_validator("site_url", "hub_endpoint", "s3_endpoint")
    @classmethod
    def _whole_address(cls, url: str) -> str:
        parts = urlsplit(url)
        if url and (parts.scheme not in {"http", "https"} or not parts.netloc):
            raise ValueError("must be a whole address, for example https://whetstone.example.org")
        return url.rstrip("/")

    @field_validator("csrf_trusted_origins")
    @classmethod
    def _with_scheme(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if not origin.startswith(("http://", "https://")):
                raise ValueError(f"{origin!r} has no scheme; write https://{origin}")
        return origins

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, zone: str) -> str:
        from zoneinfo import ZoneInfo

        try:
            ZoneInfo(zone)
        except (KeyError, ValueError, OSError) as problem:
            raise ValueError(f"{zone!r} is no time zone; for example Europe/London") from problem
        return zone

    @field_validator("vllm_command", "vllm_extra_args", "training_launcher")
    @classmethod
    def _splits_like_a_shell(cls, command: str) -> str:
        try:
            shlex.split(command)
        except ValueError as problem:
            raise ValueError(f"cannot be read as a command: {problem}") from problem
        return command

    def path(self, *parts: str) -> Path:
        """A path below the home directory."""
        return self.home.joinpath(*parts)

    @property
    def url(self) -> str:
        """The site's own address, without a slash at the end."""
        return self.site_url or f"http://{self.host}:{self.port}"

    def endpoint_secret(self, name: str) -> str | None:
        """See the function of this name; here for apps, which import nothing from config."""
        return endpoint_secret(name)

    @property
    def uses_redis(self) -> bool:
        return self.broker_url is not None and self.broker_url.get_secret_value().startswith(("redis://", "rediss://"))

    @property
    def uses_embedded_broker(self) -> bool:
        return self.broker_url is None or self.broker_url.get_secret_value().startswith("filesystem")

    @cached_property
    def signing_key(self) -> str:
        """The secret key as given, else the one in the home directory, made on first use."""
        if self.secret_key is not None:
            return self.secret_key.get_secret_value()
        return _kept_secret(self.home / "secret_key")

    def make_directories(self) -> None:
        """Create the home directory and its parts, closed to other users of the machine."""
        parts = (
            "artifacts",
            "broker/queue",
            "broker/control",
            "broker/processed",
            "logs",
            "runs",
            "static",
            "uploads",
            "vllm",
        )
        try:
            self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
            for part in parts:
                self.path(part).mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as problem:
            raise EnvError(f"WHETSTONE_HOME is {self.home}, which cannot be written: {problem}.") from problem


def load_env(**given: Any) -> Env:
    """Read the environment (and ``.env``). Raises EnvError with one sentence for each value that cannot work."""
    env_file = os.environ.get("WHETSTONE_ENV_FILE", str(ROOT / ".env"))
    try:
        return Env(_env_file=env_file or None, **given)
    except ValidationError as problem:
        raise EnvError("\n".join(_sentence(dict(error)) for error in problem.errors())) from None


def endpoint_secret(name: str) -> str | None:
    """The secret that an endpoint names: ``WHETSTONE_SECRET_<NAME>``, else the file that ``..._FILE`` names."""
    if not re.fullmatch(r"[A-Z][A-Z0-9_]{0,62}", name):
        raise EnvError(f"{name!r} is no name of a secret: capital letters, digits and underscores only.")
    variable = f"{PREFIX}SECRET_{name}"
    if variable in os.environ:
        return os.environ[variable]
    path = os.environ.get(f"{variable}_FILE")
    return Path(path).read_text(encoding="utf-8").strip() if path else None


def unknown_names(environ: Mapping[str, str]) -> list[str]:
    """``WHETSTONE_*`` variables that mean nothing, in order: most often a slip of the pen."""
    known = {f"{PREFIX}{name.upper()}" for name in Env.model_fields} | OTHER_NAMES
    return sorted(
        name
        for name in environ
        if name.startswith(PREFIX)
        and name not in known
        and name.removesuffix("_FILE") not in known
        and not name.startswith(f"{PREFIX}SECRET_")
    )


def _sentence(error: dict[str, Any]) -> str:
    name = f"{PREFIX}{'_'.join(str(part) for part in error['loc'][:1]).upper()}"
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{name}: {message[:1].lower()}{message[1:]}."


def _kept_secret(path: Path) -> str:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _create_secret(path)
        key = path.read_text(encoding="utf-8").strip()
    except OSError as problem:
        raise EnvError(f"The secret key in {path} cannot be read or made: {problem}.") from problem
    if len(key) < SECRET_KEY_LENGTH:
        raise EnvError(f"The secret key in {path} is shorter than {SECRET_KEY_LENGTH} characters; delete the file.")
    return key


def _create_secret(path: Path) -> None:
    # Written whole beside its place, then linked: of two processes that start together one wins and both read the same.
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(secrets.token_urlsafe(64))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        draft.unlink(missing_ok=True)
