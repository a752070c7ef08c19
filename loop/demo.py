"""The demo's project: a person with every role, prompts, guidelines, the starter model and an engine for it.

Everything is made through the services that the pages use, and made once: run again, the demo goes on where it was.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.db import transaction

from accounts.models import Membership, Project, Role, User
from core.ids import new_token
from generation.deploy import live_deployment, request_deployment
from generation.models import Deployment, Endpoint, ModelVersion, PromptSet
from generation.prompt_importing import import_now
from generation.registry import register_base
from loop.models import Round
from loop.rounds import ALIAS, Plan, latest_round, start_round

STARTER = Path(settings.BASE_DIR) / "starter"
SLUG = "demo"
USERNAME = "demo"
AUTOPILOT = "autopilot"
PLAN = Plan(n_prompts=60, n_answers=4, n_judgements=60)
# Some 480 of these judgements train, the others are held out (docs/log.md, entry 19: with half as many a round wins too little to show).
AUTO_PLAN = Plan(n_prompts=300, n_answers=3, n_judgements=560, with_simulated=True)


@dataclass(frozen=True)
class Demo:
    project: Project
    user: User
    autopilot: User
    endpoint: Endpoint
    base: ModelVersion
    prompt_set: PromptSet
    is_new: bool


def engine_kind() -> Endpoint.Engine:
    """vLLM where it is installed (or chosen), else the in-process engine."""
    choice = settings.WHETSTONE.engine
    if choice == "auto":
        return Endpoint.Engine.VLLM if importlib.util.find_spec("vllm") else Endpoint.Engine.LOCAL
    return Endpoint.Engine.VLLM if choice == "vllm" else Endpoint.Engine.LOCAL


def ensure_demo() -> Demo:
    """Make what is missing of the demo's project; what is there already stays as it is."""
    with transaction.atomic():
        user, is_new = User.objects.get_or_create(
            username=USERNAME,
            defaults={"name": "You", "is_staff": True, "is_superuser": True, "must_set_password": True},
        )
        if is_new:
            user.set_unusable_password()
            user.save(update_fields=["password"])
        project, _ = Project.objects.get_or_create(
            slug=SLUG,
            defaults={
                "name": "Starter project",
                "description": "A small world that a small model can learn: see the whole loop at work.",
                "guidelines": (STARTER / "guidelines.md").read_text(encoding="utf-8"),
                "is_demo": True,
            },
        )
        Membership.objects.get_or_create(project=project, user=user, defaults=Membership.flags(set(Role)))
        autopilot = _ensure_autopilot(project)
    base = project.model_versions.filter(kind="base", purpose="policy").order_by("id").first()
    if base is None:
        base = register_base(project=project, source=str(STARTER / "model"), slug="starter", is_toy=True, by=user)
    prompt_set = project.prompt_sets.order_by("id").first()
    if prompt_set is None:
        prompt_set = import_now(
            project=project,
            name="Starter prompts",
            path=STARTER / "prompts.jsonl",
            source="starter/world.py",
            licence="Apache-2.0",
            by=user,
        )
    endpoint = _ensure_endpoint(base)
    if live_deployment(project, ALIAS) is None and not _is_on_its_way(project):
        request_deployment(version=base, endpoint=endpoint, alias=ALIAS, project=project, by=user)
    return Demo(
        project=project,
        user=user,
        autopilot=autopilot,
        endpoint=endpoint,
        base=base,
        prompt_set=prompt_set,
        is_new=is_new,
    )


def _ensure_autopilot(project: Project) -> User:
    """The researcher that presses the demo's first buttons. Nobody knows its password: only this program signs it in."""
    user, is_new = User.objects.get_or_create(username=AUTOPILOT, defaults={"name": "Autopilot"})
    if is_new:
        user.set_password(new_token())
        user.save(update_fields=["password"])
    Membership.objects.get_or_create(project=project, user=user, defaults=Membership.flags({Role.RESEARCHER}))
    return user


def _is_on_its_way(project: Project) -> bool:
    return project.deployments.filter(alias=ALIAS, stage__in=["pending", "loading", "checking"]).exists()


def _ensure_endpoint(base: ModelVersion) -> Endpoint:
    env = settings.WHETSTONE
    endpoint, _ = Endpoint.objects.get_or_create(
        name="This machine",
        defaults={
            "engine": engine_kind(),
            "base_url": "",
            "base_model": str(STARTER / "model"),
            "base_served_name": base.slug,
            "is_managed": True,
            "max_loras": env.vllm_max_loras,
            "max_lora_rank": env.vllm_max_lora_rank,
        },
    )
    kind = engine_kind()
    if endpoint.engine != kind:  # vLLM was installed, or is gone, since the last start
        endpoint.engine = kind
        endpoint.save(update_fields=["engine"])
    return endpoint


def ensure_first_round(demo: Demo, plan: Plan = PLAN) -> Round:
    """The round that the demo opens with; a person starts the later ones."""
    return latest_round(demo.project) or start_round(
        project=demo.project, prompt_set=demo.prompt_set, plan=plan, by=demo.autopilot
    )


def failed_deployment(demo: Demo) -> Deployment | None:
    """The policy's latest deployment, if that is the one that failed: an older failure was tried again since."""
    latest = demo.project.deployments.filter(alias=ALIAS).order_by("-id").first()
    return latest if latest is not None and latest.stage == Deployment.Stage.FAILED else None
