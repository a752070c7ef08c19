"""The registry of model versions: take a base model in, list them, show where one comes from.

Nothing is registered that the content check (``artifacts.inspect_model_dir``) has not seen; no loader runs here.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils.text import slugify

from accounts.audit import record
from accounts.models import Project, User
from core.beating import Keeper, attempt
from core.errors import DomainError, require
from core.ids import new_key
from core.jobs import enqueue_on_commit
from core.uploads import require_same
from generation.artifacts import ModelFacts, fetch_from_hub, inspect_model_dir
from generation.models import ModelFetch, ModelVersion

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}(@[\w./-]{1,100})?")
LEASE_SECONDS = 60.0


# ---- taking a model in -----------------------------------------------------------------------------------------------


def is_hub_id(source: str) -> bool:
    """Whether ``source`` names a model of a hub (``owner/name`` or ``owner/name@revision``) and not a directory."""
    return bool(HUB_ID.fullmatch(source)) and not Path(source).expanduser().is_dir()


def register_base(
    *,
    project: Project,
    source: str,
    by: User | None,
    slug: str = "",
    licence: str = "",
    note: str = "",
    is_toy: bool = False,
) -> ModelVersion:
    """Check a model and register it as a base policy.

    source  a directory on this machine, or a hub id with or without ``@revision`` (fetched now, and pinned to its commit)
    Raises DomainError with what is wrong: not there, a pickle, code of its own, no chat template, no hub, a taken name.
    """
    checked, facts = check_source(source)
    return _create(project, checked, facts, slug=slug, licence=licence, note=note, is_toy=is_toy, by=by)


def check_source(source: str) -> tuple[str, ModelFacts]:
    """Bring a model here if it is a hub's, and check its content; its source as it is kept, and what was found."""
    source = source.strip()
    require(source, "Say which model: the path of a directory, or a hub id such as owner/name.")
    require("\x00" not in source and len(source) <= 500, "That is neither a path nor a hub id.")
    if is_hub_id(source):
        refuse_hub_where_offline(source)
        folder = Path(fetch_from_hub(source))
        source = f"{source.partition('@')[0]}@{folder.name}"
    else:
        folder = _allowed_directory(source)
        source = str(folder)
    facts = inspect_model_dir(folder)
    require(
        facts.kind == "full",
        "This is an adapter, not a whole model.",
        how="Register the base model that it was trained on, or merge it first.",
    )
    return source, facts


def refuse_hub_where_offline(source: str) -> None:
    require(
        not settings.WHETSTONE.hub_offline,
        f"{source.partition('@')[0]} would have to be fetched from a hub, and this installation never asks one.",
        how="Set WHETSTONE_HUB_OFFLINE=false and restart, or download the model by hand and give its directory.",
    )


def _allowed_directory(source: str) -> Path:
    path = Path(source).expanduser()
    require(path.is_absolute(), f"“{source}” is neither a hub id nor an absolute path.", how="Begin the path with /.")
    folder = path.resolve()
    allowed = [Path(name).expanduser().resolve() for name in settings.WHETSTONE.model_dirs]
    # The starter model is part of the code, and always allowed.
    require(
        not allowed
        or any(folder.is_relative_to(root) for root in [*allowed, (Path(settings.BASE_DIR) / "starter").resolve()]),
        "Models may be registered only from certain directories on this machine, and this is not one of them.",
        how="Whoever runs this site adds the directory to WHETSTONE_MODEL_DIRS.",
    )
    return folder


@transaction.atomic
def _create(
    project: Project,
    source: str,
    facts: ModelFacts,
    *,
    slug: str,
    licence: str,
    note: str,
    is_toy: bool,
    by: User | None,
) -> ModelVersion:
    slug = slug or slug_for(project, source)
    try:
        with transaction.atomic():
            version = ModelVersion.objects.create(
                project=project,
                slug=slug,
                kind=ModelVersion.Kind.BASE,
                purpose=facts.purpose,
                source=source,
                chat_template_sha256=facts.chat_template_sha256,
                licence=licence,
                note=note,
                is_toy=is_toy,
                facts=facts.as_json(),
                created_by=by,
            )
    except IntegrityError:
        raise DomainError(f"There is a model “{slug}” in this project already.", how="Choose another name.") from None
    record("model.register", project=project, user=by, subject=version, detail={"source": source})
    return version


def slug_for(project: Project, source: str) -> str:
    """A free short name made of the last part of a path or hub id."""
    stem = slugify(Path(source.partition("@")[0]).name.replace(".", "-").replace("_", "-"))[:50] or "model"
    taken = set(project.model_versions.filter(slug__startswith=stem).values_list("slug", flat=True))
    return next(name for name in (stem, *(f"{stem}-{n}" for n in range(2, 10_000))) if name not in taken)


@transaction.atomic
def start_fetch(
    *, project: Project, source: str, slug: str = "", licence: str = "", note: str = "", by: User | None, key: str = ""
) -> ModelFetch:
    """Queue the fetching of a hub model; the page follows it. Raises DomainError where no hub may be asked."""
    source = source.strip()
    require(HUB_ID.fullmatch(source), "That is no hub id.", how="Write owner/name, or owner/name@revision.")
    refuse_hub_where_offline(source)
    if twin := _sent_before(project, key, source):
        return twin
    slug = slug or slug_for(project, source)
    require(
        not project.model_versions.filter(slug=slug).exists(),
        f"There is a model “{slug}” in this project already.",
        how="Choose another name.",
    )
    try:
        with transaction.atomic():
            fetch = ModelFetch.objects.create(
                key=key or new_key(),
                project=project,
                source=source,
                slug=slug,
                licence=licence,
                note=note,
                requested_by=by,
            )
    except IntegrityError:  # sent twice at once, and the other was faster
        twin = _sent_before(project, key, source)
        require_same(twin is not None)
        return cast(ModelFetch, twin)
    fetch.events.create(before="", after=fetch.status, by=by)
    enqueue_on_commit(fetch)
    return fetch


def _sent_before(project: Project, key: str, source: str) -> ModelFetch | None:
    twin = project.model_fetches.filter(key=key).first() if key else None
    require_same(twin is None or twin.source == source)
    return twin


def run_fetch(fetch_id: int) -> None:
    """Claim a fetch, bring the model here and register it. A fetch done twice registers it once."""
    fetch = ModelFetch.objects.select_related("project", "requested_by").filter(pk=fetch_id).first()
    attempt(fetch, _fetch, seconds=LEASE_SECONDS, what="The fetch")


def _fetch(fetch: ModelFetch, keeper: Keeper) -> None:
    # A download has no steps in between.
    keeper.beat(message="Fetching the files and checking them.")
    source, facts = keeper.while_beating(lambda: check_source(fetch.source))
    with transaction.atomic():
        version = _create(
            fetch.project, source, facts,
            slug=fetch.slug, licence=fetch.licence, note=fetch.note, is_toy=False, by=fetch.requested_by,
        )  # fmt: skip
        keeper.finish(message="Registered.", model_version=version)


# ---- where a model comes from ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LineageLink:
    """One step below a version, as a layer above tells it: the run that made it, its dataset, the judgements in that."""

    label: str
    text: str
    url: str = ""


# Runs, snapshots and judgements live above this layer, so it cannot ask for them: they add what they know here, when
# their apps are loaded.
LineageSource = Callable[[ModelVersion], list[LineageLink]]
_lineage_sources: list[LineageSource] = []


def add_lineage_source(source: LineageSource) -> None:
    """Let a layer above tell what made a version. Called from its ``AppConfig.ready``."""
    if source not in _lineage_sources:
        _lineage_sources.append(source)


@dataclass(frozen=True)
class Ancestor:
    version: ModelVersion
    links: tuple[LineageLink, ...]
    is_self: bool


def lineage_of(version: ModelVersion) -> list[Ancestor]:
    """The version and what it was trained from, newest first, each with what made it."""
    return [
        Ancestor(
            version=ancestor,
            links=tuple(link for source in _lineage_sources for link in source(ancestor)),
            is_self=ancestor.pk == version.pk,
        )
        for ancestor in version.lineage
    ]


def facts_in_words(version: ModelVersion) -> list[tuple[str, str]]:
    """What the content check found, for people."""
    facts: dict[str, Any] = version.facts
    words: list[tuple[str, str]] = []
    if n := facts.get("n_parameters"):
        words.append(("Parameters", _large(int(n))))
    if facts.get("architecture"):
        words.append(("Architecture", str(facts["architecture"])))
    if facts.get("dtype"):
        words.append(("Stored as", str(facts["dtype"])))
    if facts.get("context_length"):
        words.append(("Context", f"{int(facts['context_length']):,} tokens"))
    if facts.get("vocab_size"):
        words.append(("Vocabulary", f"{int(facts['vocab_size']):,} tokens"))
    if facts.get("rank"):
        words.append(("Adapter rank", str(facts["rank"])))
    if n_bytes := facts.get("n_bytes"):
        words.append(("Size", f"{int(n_bytes) / 1e6:,.1f} MB"))
    if "takes_system" in facts:
        words.append(("System message", "understood" if facts["takes_system"] else "not understood by its template"))
    return words


def _large(number: int) -> str:
    for size, name in ((1e9, "billion"), (1e6, "million"), (1e3, "thousand")):
        if number >= size:
            return f"{number / size:.3g} {name}"
    return str(number)
