"""The API of announcements: made and withdrawn by those who lead, with who has read them; read and confirmed at the desk."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.api.base import Given, InProject, ProjectApi, call, key_of
from accounts.tokens import Scope
from annotation import announcements as services
from annotation.api.desk import DeskApi
from annotation.home import campaigns_for
from annotation.models import Announcement, Campaign
from annotation.people import shown_name
from core.api import StrictSerializer


class AnnouncementSerializer(serializers.ModelSerializer[Announcement]):
    campaign = key_of(allow_null=True, help_text="null: everybody who annotates in the project")

    class Meta:
        model = Announcement
        fields = ("key", "campaign", "text", "must_confirm", "created_at", "withdrawn_at")


class ReaderSerializer(serializers.Serializer[Any]):
    """One person whom an announcement is for."""

    person = serializers.SerializerMethodField(help_text="null: has not judged in this project yet")
    read_at = serializers.DateTimeField(allow_null=True)

    def get_person(self, reader: services.Reader) -> str | None:
        return shown_name(reader.annotator, self.context["membership"]) if reader.annotator else None


class AnnouncementReadersSerializer(AnnouncementSerializer):
    readers = serializers.SerializerMethodField(help_text="those who have yet to read it first")

    class Meta(AnnouncementSerializer.Meta):
        fields = (*AnnouncementSerializer.Meta.fields, "readers")  # type: ignore[assignment]  # one more than in the class above it

    @extend_schema_field(ReaderSerializer(many=True))
    def get_readers(self, announcement: Announcement) -> Any:
        return ReaderSerializer(services.readers_of(announcement), many=True, context=self.context).data


class NewAnnouncementSerializer(StrictSerializer):
    text = serializers.CharField(max_length=services.MAX_CHARS, help_text="Markdown")
    campaign = InProject(
        lambda project: Campaign.objects.filter(project=project),
        required=False,
        help_text="only to those who judge in it",
    )
    must_confirm = serializers.BooleanField(default=True, help_text="each person confirms to have read it")


class MyAnnouncementsSerializer(serializers.Serializer[Any]):
    announcements = AnnouncementSerializer(many=True)


# ---- those who lead ----------------------------------------------------------------------------------------------------


class Announcements(ProjectApi):
    @call(Scope.REVIEW, lists=AnnouncementSerializer)
    def get(self, given: Given) -> Any:
        """Announcements, withdrawn ones too, newest first."""
        return services.announcements_of(self.project)

    @call(Scope.REVIEW, asks=NewAnnouncementSerializer, tells=AnnouncementSerializer, status=201, once=True)
    def post(self, given: Given) -> Any:
        """Tell all annotators of the project, or those of one campaign."""
        return services.announce(project=self.project, by=self.by, **given)


class OneAnnouncement(ProjectApi):
    @call(Scope.REVIEW, tells=AnnouncementReadersSerializer)
    def get(self, given: Given, key: str) -> Any:
        """One announcement, and who has read it."""
        return self.found(services.announcements_of(self.project), key=key)


class WithdrawAnnouncement(ProjectApi):
    @call(Scope.REVIEW, tells=AnnouncementSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Show it to nobody any more; who had read it stays on record."""
        found = self.found(services.announcements_of(self.project), key=key)
        services.withdraw(announcement=found, by=self.by)
        return found


# ---- at the desk -------------------------------------------------------------------------------------------------------


class MyAnnouncements(DeskApi):
    @call(Scope.ANNOTATE, tells=MyAnnouncementsSerializer)
    def get(self, given: Given) -> Any:
        """What one has not confirmed yet, oldest first."""
        return {"announcements": services.unread(self.project, self.me, campaigns_for(self.membership))}


class ConfirmAnnouncement(DeskApi):
    @call(Scope.ANNOTATE)
    def post(self, given: Given, key: str) -> None:
        """Say that one has read it. Sent again, nothing changes."""
        rows = services.standing_announcements(self.project, campaigns_for(self.membership))
        services.confirm(announcement=self.found(rows, key=key), annotator=self.made)
