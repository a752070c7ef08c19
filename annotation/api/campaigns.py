"""The API of campaigns: plan, start, change, pause and close them, and see how far they have come. Models stay behind a Reveal."""

from dataclasses import asdict
from typing import Any

from django.db import transaction
from django.db.models import Count
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.api.base import JOB_FIELDS, Given, ProjectApi, call, key_of
from accounts.tokens import Scope
from annotation import campaigns as services
from annotation.agreement import of_campaign
from annotation.api.campaign_fields import CampaignChangesSerializer, NewCampaignSerializer, PlanSerializer, pairing_of
from annotation.campaign_options import checked, read_pairing
from annotation.judge import live_judgements
from annotation.models import Assignment, Campaign, Judgement, Place, VoteImport
from annotation.planning import estimate
from annotation.regression import with_versions
from annotation.standings import standings_of
from annotation.votes.job import cancel_import
from core.errors import Conflict
from generation.models import ModelReveal
from generation.sampling import reveal_models

READERS = (Scope.READ, Scope.REVIEW)
TELLING = ("baseline", "new", "old")  # of a pairing: they name models


class CampaignSerializer(serializers.ModelSerializer[Campaign]):
    jobs = key_of(many=True)
    pairing = serializers.SerializerMethodField(help_text="without the models that it names")

    class Meta:
        model = Campaign
        fields = (
            "key", "name", "kind", "stage", *JOB_FIELDS, "jobs", "pairing", "overlap", "question", "guidelines",
            "guidelines_version", "protocol", "protocol_version", "allow_tie", "allow_both_good", "allow_both_bad",
            "strength_levels", "lease_minutes", "is_live", "is_sensitive", "support_text", "cap_per_person", "cap_per_day",
            "audience", "onboarding", "regression_share", "chosen_is_worse", "pay_per_hour", "left_out", "n_tasks", "closes_at",
            "closed_at",
        )  # fmt: skip

    @extend_schema_field(serializers.JSONField())
    def get_pairing(self, campaign: Campaign) -> dict[str, Any]:
        return {name: value for name, value in campaign.pairing.items() if name not in TELLING}


class CampaignFilterSerializer(serializers.Serializer[Any]):
    stage = serializers.ChoiceField(required=False, choices=Campaign.Stage.choices)
    kind = serializers.ChoiceField(required=False, choices=Campaign.Kind.choices)


class EstimateSerializer(serializers.Serializer[Any]):
    """What a campaign would be. ``half_width``: of the 95 % interval of a win rate over all its prompts."""

    n_tasks = serializers.IntegerField()
    n_judgements = serializers.IntegerField()
    n_prompts = serializers.IntegerField()
    hours = serializers.FloatField()
    cost = serializers.FloatField(allow_null=True)
    seconds_a_judgement = serializers.FloatField(source="pace.seconds")
    is_pace_measured = serializers.BooleanField(source="pace.is_measured")
    agreement = serializers.FloatField()
    is_agreement_measured = serializers.BooleanField()
    half_width = serializers.FloatField(allow_null=True)
    n_regression = serializers.IntegerField()
    regression_width = serializers.FloatField(allow_null=True)
    left_out = serializers.SerializerMethodField()
    is_sampled = serializers.BooleanField()

    @extend_schema_field(serializers.DictField(child=serializers.IntegerField()))
    def get_left_out(self, found: Any) -> dict[str, int]:
        return dict(found.left_out)


class _Campaigns(ProjectApi):
    @property
    def rows(self) -> Any:
        return Campaign.objects.filter(project=self.project).select_related("project")


class Campaigns(_Campaigns):
    @call(*READERS, query=CampaignFilterSerializer, lists=CampaignSerializer)
    def get(self, given: Given) -> Any:
        """Campaigns, newest first."""
        wanted = {name: given[name] for name in ("stage", "kind") if name in given}
        return self.rows.filter(**wanted).prefetch_related("jobs")

    @call(Scope.CAMPAIGN, asks=NewCampaignSerializer, tells=CampaignSerializer, status=201, once=True)
    def post(self, given: Given) -> Any:
        """Start a campaign: a job builds its tasks, then it is open."""
        return services.start_campaign(
            project=self.project,
            name=given["name"],
            jobs=given["jobs"],
            kind=given["kind"],
            pairing=pairing_of(given["pairing"]),
            overlap=given["overlap"],
            options=given["options"],
            by=self.by,
        )


class CampaignPlan(_Campaigns):
    @call(Scope.CAMPAIGN, asks=PlanSerializer, tells=EstimateSerializer)
    def post(self, given: Given) -> Any:
        """What a campaign would be: tasks, hours, cost, what it can show. Writes nothing."""
        options = checked(given["options"], project=self.project, kind=given["kind"])
        share, pairing = options.get("regression_share", 0.0), read_pairing(pairing_of(given["pairing"]))
        return estimate(
            self.project,
            given["jobs"],
            with_versions(pairing, given["jobs"]) if share else pairing,
            kind=given["kind"],
            overlap=given["overlap"],
            regression_share=share,
            n_criteria=len(options.get("protocol", {}).get("criteria", ())),
            pay_per_hour=options.get("pay_per_hour"),
        )


class OneCampaign(_Campaigns):
    @call(*READERS, tells=CampaignSerializer)
    def get(self, given: Given, key: str) -> Any:
        """One campaign with what it asks."""
        return self.found(self.rows, key=key)

    @call(Scope.CAMPAIGN, asks=CampaignChangesSerializer, tells=CampaignSerializer)
    def patch(self, given: Given, key: str) -> Any:
        """Change what may change after the start. What changes the meaning makes a new protocol version."""
        changes = dict(given)
        note = changes.pop("guidelines_note")
        with transaction.atomic():
            found = self.found(self.rows.select_for_update(of=("self",)), key=key)
            self.check_unchanged(CampaignSerializer, found)
            services.change_campaign(found, options=changes, guidelines_note=note, by=self.by)
        return found


class PauseCampaign(_Campaigns):
    @call(Scope.CAMPAIGN, tells=CampaignSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Give out no more tasks. What people have open may still be submitted."""
        found = self.found(self.rows, key=key)
        services.pause_campaign(found, by=self.by)
        return found


class ResumeCampaign(_Campaigns):
    @call(Scope.CAMPAIGN, tells=CampaignSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Go on with a paused campaign."""
        found = self.found(self.rows, key=key)
        services.resume_campaign(found, by=self.by)
        return found


class CloseCampaign(_Campaigns):
    @call(Scope.CAMPAIGN, tells=CampaignSerializer)
    def post(self, given: Given, key: str) -> Any:
        """End a campaign: no judgement is taken or undone any more, until it is opened again."""
        found = self.found(self.rows, key=key)
        services.close_campaign(found, by=self.by)
        return found


class ReopenCampaign(_Campaigns):
    @call(Scope.CAMPAIGN, tells=CampaignSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Judge on in a closed campaign."""
        found = self.found(self.rows, key=key)
        services.reopen_campaign(found, by=self.by)
        return found


class CancelCampaign(_Campaigns):
    @call(Scope.CAMPAIGN, tells=CampaignSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Stop the building of its tasks, or the import that brings them."""
        found = self.found(self.rows, key=key)
        if (votes := VoteImport.objects.filter(campaign=found).first()) is not None:
            cancel_import(votes, by=self.by)
        else:
            services.cancel_building(found, by=self.by)
        return self.fresh(found)


class RetryCampaign(_Campaigns):
    @call(Scope.CAMPAIGN, tells=CampaignSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Build the tasks again, after it failed or was cancelled."""
        found = self.found(self.rows, key=key)
        services.build_again(found, by=self.by)
        return self.fresh(found)


# ---- how far it has come -----------------------------------------------------------------------------------------------


class RateSerializer(serializers.Serializer[Any]):
    """A share with its 95 % interval."""

    n = serializers.IntegerField()
    value = serializers.FloatField(allow_null=True)
    low = serializers.FloatField(allow_null=True)
    high = serializers.FloatField(allow_null=True)


class PersonSerializer(serializers.Serializer[Any]):
    pseudonym = serializers.CharField()
    kind = serializers.CharField()
    n_submitted = serializers.IntegerField()


class ProgressSerializer(serializers.Serializer[Any]):
    n_done = serializers.IntegerField(help_text="judgements that stand")
    n_wanted = serializers.IntegerField()
    tasks = serializers.JSONField(help_text="split -> how many, how many of them complete")
    verdicts = serializers.DictField(child=serializers.IntegerField())
    agreement = RateSerializer()
    first_position = RateSerializer(help_text="how often the answer shown first was preferred")
    people = PersonSerializer(many=True)
    n_open = serializers.IntegerField(help_text="tasks that people have open now")
    n_skipped = serializers.IntegerField()
    n_unblinded = serializers.IntegerField()
    n_simulated = serializers.IntegerField()


class CampaignProgress(_Campaigns):
    @call(*READERS, tells=ProgressSerializer)
    def get(self, given: Given, key: str) -> Any:
        """Judgements, agreement, and who judged, under pseudonyms. No figure depends on a model."""
        found = self.found(self.rows, key=key)
        live = live_judgements().filter(assignment__task__campaign=found)
        agreement, first_position = of_campaign(found)
        places = Place.objects.filter(campaign=found, n_submitted__gt=0).select_related("annotator").order_by("pk")
        turns = Assignment.objects.filter(task__campaign=found)
        done = services.progress_of(found)
        verdicts = live.values("verdict").annotate(n=Count("pk")).order_by("verdict")
        return {
            "n_done": done.n_done,
            "n_wanted": done.n_wanted,
            "tasks": {
                split: {"n": n, "n_complete": complete} for split, (n, complete) in services.split_counts(found).items()
            },
            "verdicts": {row["verdict"]: row["n"] for row in verdicts},
            "agreement": {**asdict(agreement), "n": agreement.n_pairs},
            "first_position": asdict(first_position),
            "people": [
                {"pseudonym": p.annotator.pseudonym, "kind": p.annotator.kind, "n_submitted": p.n_submitted}
                for p in places
            ],
            "n_open": turns.filter(status=Assignment.Status.OPEN).count(),
            "n_skipped": turns.filter(status=Assignment.Status.SKIPPED).count(),
            "n_unblinded": live.filter(is_unblinded=True).count(),
            "n_simulated": live.filter(source=Judgement.Source.SIMULATED).count(),
        }


class StandingSerializer(serializers.Serializer[Any]):
    model = serializers.CharField(source="model.key")
    model_name = serializers.CharField(source="model.slug")
    n_wins = serializers.IntegerField()
    n_ties = serializers.IntegerField()
    n_losses = serializers.IntegerField()
    rate = RateSerializer()


class StandingsSerializer(serializers.Serializer[Any]):
    models = StandingSerializer(many=True)


class Standings(_Campaigns):
    @call(*READERS, tells=StandingsSerializer)
    def get(self, given: Given, key: str) -> Any:
        """Which models wrote the answers, and how they fare: after a reveal."""
        found = self.found(self.rows, key=key)
        jobs = list(found.jobs.values_list("pk", flat=True))
        if ModelReveal.objects.filter(user=self.by, job__in=jobs).count() != len(jobs):
            raise Conflict(
                "The models of this campaign are hidden.", how="Ask for them with POST .../reveal: it is recorded."
            )
        return {"models": standings_of(found)}


class RevealCampaign(_Campaigns):
    @call(Scope.REVIEW, Scope.CAMPAIGN)
    def post(self, given: Given, key: str) -> None:
        """Ask which models wrote the answers. Recorded: what the token's owner judges of them from now on is not blind."""
        for job in self.found(self.rows, key=key).jobs.all():
            reveal_models(job, user=self.by, page="api")
