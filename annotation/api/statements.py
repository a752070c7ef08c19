"""The API of working time: one's own statement at the desk, everybody's for those who pay. Days are in UTC."""

from typing import Any

from rest_framework import serializers

from accounts import preferences
from accounts.api.base import Given, ProjectApi, call
from accounts.audit import record
from accounts.tokens import Scope
from annotation.api.desk import DeskApi
from annotation.models import Annotator
from annotation.people import shown_name
from annotation.statements import Period, Statement, statement_of, statements_of, this_month
from core.errors import DomainError


class PeriodSerializer(serializers.Serializer[Any]):
    first = serializers.DateField(required=False, help_text="the first day; without both, this month so far")
    last = serializers.DateField(required=False, help_text="the last day, included")


class PersonPeriodSerializer(PeriodSerializer):
    person = serializers.CharField(required=False, max_length=100, help_text="pseudonym: this person alone")


class WorkSerializer(serializers.Serializer[Any]):
    n_judged = serializers.IntegerField()
    n_practice = serializers.IntegerField()
    n_skipped = serializers.IntegerField()
    n_parked = serializers.IntegerField()
    n_returned = serializers.IntegerField(help_text="judgements that a reviewer set aside")
    active_seconds = serializers.FloatField(help_text="coarse; 0 for those who switched it off")
    open_seconds = serializers.FloatField()


class LineSerializer(serializers.Serializer[Any]):
    """One person's day in one campaign."""

    day = serializers.DateField()
    campaign = serializers.CharField(source="campaign_key")
    campaign_name = serializers.CharField()
    work = WorkSerializer()
    rate_per_hour = serializers.FloatField(source="rate", allow_null=True)
    pay = serializers.FloatField(allow_null=True, help_text="active time at the campaign's rate; null: it has none")


class StatementSerializer(serializers.Serializer[Any]):
    """One person's work in a period."""

    person = serializers.SerializerMethodField(help_text="pseudonym; for admins with the name")
    counts_time = serializers.SerializerMethodField(help_text="whether this person's active time is kept")
    total = WorkSerializer()
    pay = serializers.FloatField(allow_null=True)
    lines = LineSerializer(many=True)

    def get_person(self, statement: Statement) -> str:
        return shown_name(statement.annotator, self.context["membership"])

    def get_counts_time(self, statement: Statement) -> bool:
        user = statement.annotator.user
        return user is None or bool(preferences.read(user).is_active_time_on)


class StatementsSerializer(serializers.Serializer[Any]):
    first = serializers.DateField()
    last = serializers.DateField()
    statements = StatementSerializer(many=True)


def period_of(given: Given) -> Period:
    if ("first" in given) != ("last" in given):
        raise DomainError("A period has a first and a last day.", how="Send both, or neither for this month.")
    period = Period(given["first"], given["last"]) if "first" in given else this_month()
    period.check()
    return period


class MyWork(DeskApi):
    @call(Scope.ANNOTATE, query=PeriodSerializer, tells=StatementsSerializer)
    def get(self, given: Given) -> Any:
        """One's own work by day and campaign."""
        period, me = period_of(given), self.me
        return {"first": period.first, "last": period.last, "statements": [statement_of(me, period)] if me else []}


class Work(ProjectApi):
    @call(Scope.READ, query=PersonPeriodSerializer, tells=StatementsSerializer)
    def get(self, given: Given) -> Any:
        """Everybody's work by day and campaign, or one person's, for those who pay. Recorded."""
        period = period_of(given)
        if "person" in given:
            rows = Annotator.objects.filter(project=self.project).select_related("user", "project")
            found = [statement_of(self.found(rows, pseudonym=given["person"]), period)]
        else:
            found = statements_of(self.project, period)
        detail = {"rows": sum(len(each.lines) for each in found), "names": self.membership.is_admin}
        record("work.export", user=self.by, project=self.project, detail=detail)
        return {"first": period.first, "last": period.last, "statements": found}
