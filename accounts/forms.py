"""Forms of the account, member, token and project pages. What they check is shape; the rules are in the services."""

from datetime import datetime
from typing import Any, ClassVar

from django import forms
from django.contrib.auth import password_validation
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.utils import timezone

from accounts.invitations import MAX_DAYS as MAX_INVITATION_DAYS
from accounts.invitations import MAX_USES
from accounts.invite_many import MAX_BYTES as MAX_LIST
from accounts.members import LEVEL
from accounts.models import Membership, Project, Role, User
from accounts.preferences import FONT_SIZES, LAYOUTS, MAX_REMINDER_MINUTES, TEXT_WIDTHS
from accounts.terms import Terms, end_of, words
from accounts.tokens import MAX_DAYS as MAX_TOKEN_DAYS
from accounts.tokens import Scope, scopes_for
from core.errors import DomainError

EXAMPLE_LIST = """name,roles,groups,languages,until
Maria Santos,annotator,health;night shift,en;pt-br,2027-03-31
kofi@example.org,annotator;reviewer,law,en,"""

ROLE_HELP = {
    Role.ANNOTATOR: "Annotator – judges answers, without seeing which model wrote them",
    Role.REVIEWER: "Reviewer – settles disagreements and watches quality",
    Role.RESEARCHER: "Researcher – imports, generates, trains and deploys",
    Role.ADMIN: "Admin – members, settings and audit",
}


class SignInForm(forms.Form):
    username = forms.CharField(
        label="User name", max_length=150, widget=forms.TextInput(attrs={"autocomplete": "username", "autofocus": True})
    )
    password = forms.CharField(
        max_length=1000, strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "current-password"})
    )


class NewPasswordForm(forms.Form):
    """Choose a password. ``user`` may be unsaved: its name is compared with the password."""

    new_password = forms.CharField(
        label="New password",
        max_length=1000,
        strip=False,
        help_text="At least 10 characters. A sentence of your own is good.",
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    def __init__(self, *args: Any, user: User | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user

    def clean_new_password(self) -> str:
        password: str = self.cleaned_data["new_password"]
        password_validation.validate_password(password, self.user)
        return password


class ChangePasswordForm(NewPasswordForm):
    old_password = forms.CharField(
        label="Present password",
        max_length=1000,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )
    field_order = ("old_password", "new_password")

    def clean_old_password(self) -> str:
        password: str = self.cleaned_data["old_password"]
        if self.user is None or not self.user.check_password(password):
            raise forms.ValidationError("This is not your present password.")
        return password


class JoinForm(NewPasswordForm):
    """A new account, from an invitation."""

    name = forms.CharField(
        label="Your name",
        max_length=150,
        help_text="As the people of the project know you. Annotations show a pseudonym instead.",
        widget=forms.TextInput(attrs={"autocomplete": "name"}),
    )
    username = forms.CharField(
        label="User name",
        max_length=150,
        validators=[UnicodeUsernameValidator()],
        help_text="To sign in with. Letters, digits and @ . + - _",
        widget=forms.TextInput(attrs={"autocomplete": "username"}),
    )
    field_order = ("name", "username", "new_password")

    def clean_username(self) -> str:
        username: str = User.normalize_username(self.cleaned_data["username"])
        if User.objects.filter(username__iexact=username).exists():
            raise forms.ValidationError("This name is taken. If it is yours, sign in first and open the link again.")
        return username

    def clean_new_password(self) -> str:
        self.user = User(username=self.cleaned_data.get("username", ""), name=self.cleaned_data.get("name", ""))
        return super().clean_new_password()


class AccountForm(forms.ModelForm[User]):
    class Meta:
        model = User
        fields = ("name", "theme")
        labels = {"name": "Your name", "theme": "Colours"}
        widgets = {"name": forms.TextInput(attrs={"autocomplete": "name"}), "theme": forms.RadioSelect}


class PreferencesForm(forms.Form):
    """How a person works, see ``accounts.preferences``."""

    submit_on_choice = forms.BooleanField(
        label="Send a judgement with its choice",
        required=False,
        help_text="Where nothing else is required. Otherwise Enter sends it.",
    )
    layout = forms.ChoiceField(label="Answers", choices=list(LAYOUTS.items()), widget=forms.RadioSelect)
    font_size = forms.ChoiceField(label="Size of text", choices=list(FONT_SIZES.items()))
    text_width = forms.ChoiceField(label="Width of text", choices=list(TEXT_WIDTHS.items()))
    equal_scroll = forms.BooleanField(label="Scroll long answers together", required=False)
    show_diff = forms.BooleanField(
        label="Mark the words that differ", required=False, help_text="Where a campaign offers it."
    )
    reduced_blur = forms.BooleanField(
        label="Blur sensitive answers less",
        required=False,
        help_text="They stay unreadable until you reveal them, but keep their shape.",
    )
    break_reminder_minutes = forms.IntegerField(
        label="Remind me of a break after",
        min_value=0,
        max_value=MAX_REMINDER_MINUTES,
        help_text="Minutes of work; 0 for never. Nobody but you sees it.",
    )
    is_active_time_on = forms.BooleanField(
        label="Count my active time",
        required=False,
        help_text="Time in which a task was in view and you were not idle, in steps of 5 seconds. It is in your statement of "
        "work, for you and your lead. Switched off, none is stored from now on; what you did is counted all the same.",
    )


class ProjectForm(forms.ModelForm[Project]):
    class Meta:
        model = Project
        fields = ("name", "description")
        help_texts = {"description": "What this project wants its model to become, for the people who work in it."}
        widgets = {"description": forms.Textarea(attrs={"rows": 3})}


class ProjectSettingsForm(ProjectForm):
    class Meta(ProjectForm.Meta):
        fields = ("name", "description", "guidelines")  # type: ignore[assignment]
        help_texts = {
            **ProjectForm.Meta.help_texts,
            "guidelines": "Markdown. What a new campaign of this project begins with.",
        }
        widgets = {**ProjectForm.Meta.widgets, "guidelines": forms.Textarea(attrs={"rows": 10})}


def role_choices(membership: Membership) -> list[tuple[str, str]]:
    """The roles that a member may grant, each with what it is for."""
    own = max(LEVEL[role] for role in membership.roles)
    return [(role.value, ROLE_HELP[role]) for role in Role if LEVEL[role] <= own]


class RolesForm(forms.Form):
    roles = forms.MultipleChoiceField(widget=forms.CheckboxSelectMultiple)

    def __init__(self, *args: Any, by: Membership, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["roles"].choices = role_choices(by)  # type: ignore[attr-defined]

    def clean_roles(self) -> set[Role]:
        return {Role(role) for role in self.cleaned_data["roles"]}


class TermsForm(forms.Form):
    """Groups, languages and the end of a membership; what they may be is checked by ``accounts.terms``."""

    groups = forms.CharField(
        max_length=1000, required=False, help_text="Names between commas. A campaign can be for some groups only."
    )
    languages = forms.CharField(
        max_length=300, required=False, help_text="Codes between commas, such as en, de, pt-br."
    )
    until = forms.DateField(
        label="Member until",
        required=False,
        help_text="Through this day. Empty: without an end.",
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
    )

    def clean_until(self) -> datetime | None:
        day = self.cleaned_data["until"]
        return end_of(day) if day else None

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        for name, read in (("groups", words), ("languages", lambda text: words(text.replace(" ", ",")))):
            try:
                terms: dict[str, Any] = {name: read(cleaned.get(name, ""))}
                cleaned[name] = getattr(Terms.of(**terms), name)
            except DomainError as problem:
                self.add_error(name, problem.sentence)
        return cleaned

    def terms(self) -> Terms:
        given = self.cleaned_data
        return Terms(given["groups"], given["languages"], given["until"])


class FutureTermsForm(TermsForm):
    """Of an invitation: its membership must still have some time."""

    def clean_until(self) -> datetime | None:
        until = super().clean_until()
        if until is not None and until <= timezone.now():
            raise forms.ValidationError("This day has passed.")
        return until


class InvitationForm(RolesForm, FutureTermsForm):
    note = forms.CharField(
        label="For whom",
        max_length=100,
        required=False,
        help_text="A word for your own list, such as a name or a group.",
    )
    max_uses = forms.IntegerField(
        label="People it lets in",
        initial=1,
        min_value=1,
        max_value=MAX_USES,
        help_text="Above 1 it is a link for a group to share.",
    )
    days = forms.IntegerField(label="Days the link works", initial=7, min_value=1, max_value=MAX_INVITATION_DAYS)
    field_order = ("roles", "note", "max_uses", "days", "groups", "languages", "until")

    def invitation(self) -> dict[str, Any]:
        """Arguments for ``invite``."""
        given = self.cleaned_data
        return {name: given[name] for name in ("roles", "note", "max_uses", "days")} | {"terms": self.terms()}


class InviteManyForm(RolesForm, FutureTermsForm):
    """A pasted or uploaded list; roles and terms of the form hold where a line leaves them empty."""

    people = forms.CharField(
        label="Paste the list",
        required=False,
        max_length=MAX_LIST,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 8, "spellcheck": "false", "placeholder": EXAMPLE_LIST}),
        help_text="One person a line: name, roles, groups, languages, until. Only the name is needed.",
    )
    file = forms.FileField(label="Or choose a CSV file", required=False, help_text="UTF-8, up to 500 people.")
    days = forms.IntegerField(label="Days the links work", initial=14, min_value=1, max_value=MAX_INVITATION_DAYS)
    field_order = ("people", "file", "roles", "groups", "languages", "until", "days")

    def clean_file(self) -> str:
        upload = self.cleaned_data["file"]
        if upload is None:
            return ""
        if upload.size > MAX_LIST:
            raise forms.ValidationError("This file is larger than 500 kB.")
        try:
            return str(upload.read().decode("utf-8-sig"))
        except UnicodeDecodeError:
            raise forms.ValidationError("This file is no UTF-8 text. Save it as “CSV UTF-8”.") from None

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if cleaned.get("file") and cleaned.get("people", "").strip():
            self.add_error("people", "Paste a list or choose a file, not both.")
        cleaned["text"] = cleaned.get("file") or cleaned.get("people", "")
        if not self.errors and not cleaned["text"].strip():
            self.add_error("people", "Paste one person a line, or choose a file.")
        return cleaned


class MemberForm(RolesForm, TermsForm):
    """Everything that an admin may change of a member."""

    field_order = ("roles", "groups", "languages", "until")


class MemberFilter(forms.Form):
    """What the members page shows; what makes no sense shows everything."""

    STATES: ClassVar = [
        ("", "Any"),
        ("active", "Active"),
        ("ending", "Ends within 14 days"),
        ("expired", "Expired"),
        ("closed", "Account closed"),
    ]

    q = forms.CharField(label="Name", required=False, max_length=100)
    role = forms.ChoiceField(required=False, choices=[("", "Any"), *Role.choices])
    group = forms.ChoiceField(required=False)
    language = forms.ChoiceField(required=False)
    state = forms.ChoiceField(required=False, choices=STATES)

    def __init__(self, *args: Any, groups: list[str], languages: list[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, values in (("group", groups), ("language", languages)):
            self.fields[name].choices = [("", "Any"), *((value, value) for value in values)]  # type: ignore[attr-defined]

    def wanted(self) -> dict[str, str]:
        self.is_valid()
        return {name: value for name, value in self.cleaned_data.items() if value}


class TokenForm(forms.Form):
    name = forms.CharField(max_length=100, help_text="What will use it, such as “nightly export”.")
    scopes = forms.MultipleChoiceField(widget=forms.CheckboxSelectMultiple, label="It may")
    days = forms.IntegerField(label="Days it lasts", initial=90, min_value=1, max_value=MAX_TOKEN_DAYS)

    def __init__(self, *args: Any, membership: Membership, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        allowed = scopes_for(membership)
        self.fields["scopes"].choices = [(scope.value, scope.label) for scope in Scope if scope in allowed]  # type: ignore[attr-defined]
