"""The lead's inbox: questions with the task as its asker sees it, answers, rulings out of them. No page names a model."""

from dataclasses import dataclass

from django import forms
from django.contrib import messages
from django.core.paginator import Page, Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.access import person, project_view
from accounts.models import Project
from annotation import questions, rulings
from annotation.examples import Example, example_of
from annotation.lead_desk import LEADS, ROWS_A_PAGE, Desk, desk_of, name_for, one_of
from annotation.models import Assignment, Question, Ruling
from core.htmx import posted, render_page, see_other

MAX_TITLE = 80


@dataclass(frozen=True)
class Asked:
    question: Question
    who: str
    prompt: str


@dataclass(frozen=True)
class InboxPage:
    project: Project
    desk: Desk
    status: str
    statuses: list[tuple[str, str]]
    page_obj: Page
    rows: list[Asked]


class AnswerForm(forms.Form):
    answer = forms.CharField(
        label="Answer",
        max_length=questions.MAX_CHARS,
        widget=forms.Textarea(attrs={"rows": 5}),
        help_text="Markdown. The person who asked reads it with the task, and goes on.",
    )


class RulingForm(forms.Form):
    title = forms.CharField(max_length=rulings.MAX_TITLE, help_text="People find it by its words.")
    text = forms.CharField(
        label="What is decided",
        max_length=rulings.MAX_TEXT,
        widget=forms.Textarea(attrs={"rows": 6}),
        help_text="Markdown.",
    )
    has_example = forms.BooleanField(
        label="Show this task as the example",
        required=False,
        help_text="Prompt and answers as they were shown, under the same letters.",
    )


@dataclass(frozen=True)
class QuestionPage:
    project: Project
    desk: Desk
    question: Question
    who: str
    example: Example
    form: AnswerForm
    ruling: Ruling | None
    ruling_form: RulingForm
    may_reopen: bool


@require_GET
@project_view(*LEADS)
def inbox(request: HttpRequest, project: Project) -> HttpResponse:
    status = one_of(request.GET.get("status"), Question.Status.values, Question.Status.OPEN)
    page_obj = Paginator(questions.inbox(project, status=status), ROWS_A_PAGE).get_page(request.GET.get("page"))
    page = InboxPage(
        project=project,
        desk=desk_of(request, project, "questions"),
        status=status,
        statuses=[("open", "Open"), ("answered", "Answered"), ("withdrawn", "Withdrawn")],
        page_obj=page_obj,
        rows=[
            Asked(row, name_for(request, row.assignment.annotator), row.assignment.task.prompt.last_turn)
            for row in page_obj
        ],
    )
    return render_page(request, "annotation/desk.html", "annotation/_inbox.html", page, no_store=True)


@require_http_methods(["GET", "HEAD", "POST"])
@project_view(*LEADS)
def question(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    """GET: the question with the task as its asker sees it. POST: the answer."""
    found = _question(project, key)
    form = AnswerForm(posted(request), initial={"answer": found.answer})
    if request.method == "POST" and form.is_valid():
        questions.answer(question=found, text=form.cleaned_data["answer"], by=person(request))
        messages.success(request, "Answered. The person who asked has it now.")
        return see_other(request, reverse("annotation:question", args=[project.slug, found.key]))
    return _question_response(request, project, found, form, None)


@require_POST
@project_view(*LEADS)
def reopen_question(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    found = _question(project, key)
    questions.reopen(question=found, by=person(request))
    messages.success(request, "The answer is taken back. The question is open again.")
    return see_other(request, reverse("annotation:question", args=[project.slug, found.key]))


@require_POST
@project_view(*LEADS)
def rule(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    """Turn an answered question into a ruling; without any field, with one click, out of its own words."""
    found = _question(project, key)
    given = request.POST if "title" in request.POST else None
    form = RulingForm(given or ruling_from(found))
    if form.is_valid():
        rulings.rule(campaign=found.campaign, by=person(request), question=found, **form.cleaned_data)
        messages.success(request, "It is a ruling now, and in the guidelines of everybody in the campaign.")
        return see_other(request, reverse("annotation:question", args=[project.slug, found.key]))
    return _question_response(request, project, found, AnswerForm(initial={"answer": found.answer}), form)


def ruling_from(found: Question) -> dict[str, object]:
    """A question's own words as a ruling: its first line for the title, the answer for the text."""
    first = (found.text.strip().splitlines() or [""])[0]
    title = first if len(first) <= MAX_TITLE else f"{first[: MAX_TITLE - 1].rstrip()}…"
    return {"title": title, "text": found.answer, "has_example": True}


def _question_response(
    request: HttpRequest, project: Project, found: Question, form: AnswerForm, ruling_form: RulingForm | None
) -> HttpResponse:
    is_parked = found.assignment.status == Assignment.Status.PARKED
    page = QuestionPage(
        project=project,
        desk=desk_of(request, project, "questions"),
        question=found,
        who=name_for(request, found.assignment.annotator),
        example=example_of(found.assignment),
        form=form,
        ruling=Ruling.objects.filter(question=found).first(),
        ruling_form=ruling_form or RulingForm(initial=ruling_from(found)),
        may_reopen=found.status == Question.Status.ANSWERED and is_parked,
    )
    bad = form.errors or (ruling_form is not None and ruling_form.errors)
    return render_page(
        request,
        "annotation/question.html",
        "annotation/_question_desk.html",
        page,
        status=422 if bad else 200,
        no_store=True,
    )


def _question(project: Project, key: str) -> Question:
    rows = Question.objects.select_related(
        "campaign__project", "assignment__annotator__user", "assignment__task__prompt", "answered_by"
    )
    return get_object_or_404(rows, campaign__project=project, key=key)
