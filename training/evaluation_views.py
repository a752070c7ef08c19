"""Pages of evaluations: list, new, and one with its interval, its judge and what stands against it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.access import person, project_view
from accounts.models import Project, Role, User
from annotation.winrate import ENOUGH_PROMPTS
from core.counting import counted
from core.errors import DomainError
from core.htmx import render_page, see_other
from generation.models import Candidate
from generation.sampling import may_see_models, reveal_models
from training import evaluate
from training.dataset_views import PAGE_SIZE
from training.forms import EvaluationForm, default_base
from training.models import Evaluation, TrainingRun

Judge = Evaluation.Judge
HELP: Mapping[str, str] = {
    Judge.REWARD_ACCURACY: "How often a reward model prefers the answer that people chose, on held-out pairs.",
    Judge.REWARD_MODEL: (
        "Both versions answer held-out prompts, and a reward model scores them. It learnt from the same people's pairs, so this is "
        "never called a win."
    ),
    Judge.SIMULATED: "Both versions answer held-out prompts, judged by the demo's simulated people without their noise.",
    Judge.PEOPLE: "Judgements that people have given, blind, of pairs of answers by these two versions to held-out prompts.",
}
TRAITS = {
    "acceptable": "Right content",
    "polite": "Polite",
    "rude": "Rude",
    "rambling": "Rambling",
    "refusal": "Refuses",
}


@dataclass(frozen=True)
class EvaluationsPage:
    project: Project
    evaluations: Any
    enough: int = ENOUGH_PROMPTS


@require_GET
@project_view(Role.RESEARCHER)
def evaluations(request: HttpRequest, project: Project) -> HttpResponse:
    rows = project.evaluations.select_related("model_version", "against", "reward_model").order_by("-id")
    ctx = EvaluationsPage(project=project, evaluations=Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page")))
    return render_page(request, "training/evaluations.html", "training/_evaluations.html", ctx)


@dataclass(frozen=True)
class NewEvaluationPage:
    project: Project
    form: EvaluationForm
    judge: str
    fields: list[Any]
    expert_fields: list[Any]
    judges: list[tuple[str, str, str]]  # value, label, help


@require_http_methods(["GET", "POST"])
@project_view(Role.RESEARCHER)
def new_evaluation(request: HttpRequest, project: Project) -> HttpResponse:
    """Which fields are shown depends on the judge; choosing another one draws the form anew."""
    is_sent = request.method == "POST" and "preview" not in request.POST
    initial = _initial(request.POST if "preview" in request.POST else request.GET, project)
    form = EvaluationForm(request.POST if is_sent else None, project=project, initial=initial)
    status = 200
    if is_sent:
        status = 422
        if form.is_valid():
            try:
                made = evaluate.start_evaluation(project=project, by=person(request), **form.options())
                return see_other(request, reverse("training:evaluation", args=[project.slug, made.key]))
            except DomainError as trouble:
                form.add_error(None, forms.ValidationError(trouble.words))
    judges = [(value, label, HELP[value]) for value, label in form.fields["judge"].choices]  # type: ignore[attr-defined]
    judge = form.judge_now
    samples = judge in (Judge.REWARD_MODEL, Judge.SIMULATED)
    ctx = NewEvaluationPage(
        project=project,
        form=form,
        judge=judge,
        fields=[form[name] for name in EvaluationForm.NEEDS[Judge(judge)]],
        expert_fields=[form["n_prompts"], form["n_answers"]] if samples else [],
        judges=judges,
    )
    return render_page(request, "training/evaluation_new.html", "training/_evaluation_new.html", ctx, status=status)


def _initial(asked: Mapping[str, str], project: Project) -> dict[str, Any]:
    """The newest version against the one it came from, by the best judge there is."""
    policies = project.model_versions.filter(purpose="policy").exclude(kind="outside").order_by("-id")
    version = policies.filter(key=asked.get("model_version", "")).first() or policies.first()
    base = default_base(project)
    against = version.parent if version and version.parent else base
    reward = project.model_versions.filter(purpose="reward").order_by("-id").first()
    prompts = project.prompt_sets.filter(prompts__split="holdout").order_by("-id").first()
    data = project.snapshots.filter(status="succeeded").order_by("-id").first()
    judge = Judge.SIMULATED if project.is_demo else Judge.REWARD_MODEL if reward else Judge.PEOPLE
    initial = {
        "judge": str(judge),
        "model_version": version.key if version else "",
        "against": against.key if against else "",
        "reward_model": reward.key if reward else "",
        "prompt_set": prompts.key if prompts else "",
        "snapshot": data.key if data else "",
        "n_prompts": evaluate.N_PROMPTS,
        "n_answers": evaluate.N_ANSWERS,
    }
    return initial | {name: asked[name] for name in initial if asked.get(name)}


# --- one evaluation ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Interval:
    """Where value and interval lie on a line from 0 to 100, for the drawing."""

    low: float
    high: float
    value: float
    ceiling: float | None

    @property
    def width(self) -> float:
        return max(0.5, self.high - self.low)


@dataclass(frozen=True)
class Trait:
    name: str
    new: float | None
    old: float | None
    is_share: bool = True


@dataclass(frozen=True)
class Example:
    prompt: str
    new: str
    old: str
    gap: float


@dataclass(frozen=True)
class EvaluationPage:
    project: Project
    evaluation: Evaluation
    help: str
    sentence: str
    tone: str
    interval: Interval | None
    traits: list[Trait]
    examples: list[Example]
    may_see: bool
    run: TrainingRun | None
    train_accuracy: float | None
    enough: int = ENOUGH_PROMPTS

    @property
    def details(self) -> Mapping[str, Any]:
        return self.evaluation.details

    @property
    def is_accuracy(self) -> bool:
        return self.evaluation.judge == Judge.REWARD_ACCURACY

    @property
    def has_examples(self) -> bool:
        return bool(self.evaluation.details.get("examples"))


@require_GET
@project_view(Role.RESEARCHER)
def evaluation(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    found = _evaluation_or_404(project, key)
    job = found.job
    may_see = job is None or may_see_models(job, person(request))
    sentence, tone = in_words(found)
    measured = found.reward_model if found.judge == Judge.REWARD_ACCURACY else found.model_version
    run = TrainingRun.objects.filter(produced=measured).first() if measured else None
    ctx = EvaluationPage(
        project=project,
        evaluation=found,
        help=HELP[found.judge],
        sentence=sentence,
        tone=tone,
        interval=_interval(found),
        traits=_traits(found.details),
        examples=_examples(found) if may_see else [],
        may_see=may_see,
        run=run,
        train_accuracy=_train_accuracy(run),
    )
    return render_page(request, "training/evaluation.html", "training/_evaluation.html", ctx)


def in_words(found: Evaluation) -> tuple[str, str]:
    """The outcome in one sentence, and its tone."""
    if found.status != "succeeded":
        return "", ""
    if found.value is None:
        return "There was nothing to compare.", "is-warn"
    if found.judge == Judge.REWARD_ACCURACY:
        people = f" People agree with each other on {found.ceiling:.0%} of theirs." if found.ceiling is not None else ""
        return (
            f"The reward model prefers the answer that people chose in {found.value:.0%} of the held-out pairs.{people}",
            "is-info",
        )
    if found.judge == Judge.REWARD_MODEL:
        said = f"By the reward model that was trained on the same people's pairs: {found.value:.0%}."
        return f"{said} That is not a win: a policy can please a reward model without pleasing people.", "is-info"
    if found.n_prompts < ENOUGH_PROMPTS:
        compared = counted(found.n_prompts, "prompt was", "prompts were")
        return f"Only {compared} compared. Under {ENOUGH_PROMPTS} there is no verdict.", "is-warn"
    words = {
        "better": (
            f"{found.model_version} is better than {found.against}: the whole interval lies above one half.",
            "is-good",
        ),
        "worse": (
            f"{found.model_version} is worse than {found.against}: the whole interval lies below one half.",
            "is-bad",
        ),
    }
    return words.get(found.outcome, ("Neither is shown to be better: the interval holds one half.", "is-warn"))


def _interval(found: Evaluation) -> Interval | None:
    if found.value is None or found.low is None or found.high is None:
        return None
    ceiling = None if found.ceiling is None else 100 * found.ceiling
    return Interval(100 * found.low, 100 * found.high, 100 * found.value, ceiling)


def _traits(details: Mapping[str, Any]) -> list[Trait]:
    found = [
        Trait(TRAITS[name], both["new"], both["old"])
        for name, both in details.get("traits", {}).items()
        if name in TRAITS
    ]
    if words := details.get("words"):
        found.append(Trait("Words an answer", words["new"], words["old"], is_share=False))
    for name, label in (("cut_off", "Cut off at the limit"), ("distinct", "Distinct answers")):
        if both := details.get(name):
            found.append(Trait(label, both["new"], both["old"]))
    return found


def _examples(found: Evaluation) -> list[Example]:
    shown = found.details.get("examples", [])
    keys = [entry[side] for entry in shown for side in ("new", "old")]
    answers = {c.key: c for c in Candidate.objects.filter(key__in=keys).select_related("prompt")}
    return [
        Example(answers[e["new"]].prompt.last_turn, answers[e["new"]].text, answers[e["old"]].text, e["gap"])
        for e in shown
        if e["new"] in answers and e["old"] in answers
    ]


def _train_accuracy(run: TrainingRun | None) -> float | None:
    """The mean of the last ten batches: what a page must never show alone."""
    if run is None:
        return None
    values = list(run.metrics.filter(name="train_accuracy").order_by("-step").values_list("value", flat=True)[:10])
    return sum(values) / len(values) if values else None


def _evaluation_or_404(project: Project, key: str) -> Evaluation:
    rows = Evaluation.objects.select_related(
        "model_version", "against", "prompt_set", "snapshot", "reward_model", "campaign", "job", "requested_by"
    )
    return get_object_or_404(rows, project=project, key=key)


def _back(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    return see_other(request, reverse("training:evaluation", args=[project.slug, key]))


@require_POST
@project_view(Role.RESEARCHER)
def cancel(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    evaluate.cancel_evaluation(_evaluation_or_404(project, key), by=person(request))
    return _back(request, project, key)


@require_POST
@project_view(Role.RESEARCHER)
def again(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    evaluate.evaluate_again(_evaluation_or_404(project, key), by=person(request))
    return _back(request, project, key)


@require_POST
@project_view(Role.RESEARCHER)
def reveal(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    """Which version wrote which answer: recorded, since what this person judges of them afterwards is not blind."""
    found = _evaluation_or_404(project, key)
    user: User = person(request)
    if found.job is not None:
        reveal_models(found.job, user=user, page="evaluation")
    return _back(request, project, key)
