"""Print a one-time sign-in link: how the first person gets in, and whoever lost the password of the last admin."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from accounts.invitations import LINK_HOURS, issue_sign_in_link
from accounts.models import User


class Command(BaseCommand):
    help = "Print a one-time sign-in link for a person."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--create", action="store_true", help="create the account if there is none of this name")
        parser.add_argument("--site-admin", action="store_true", help="with --create: an admin of the whole site")
        parser.add_argument("--base-url", default="", help="what people type to reach this site, put before the path")

    def handle(self, *args: Any, **options: Any) -> None:
        with transaction.atomic():
            user = User.objects.filter(username=options["username"]).first()
            if user is None and options["create"]:
                is_admin = options["site_admin"]
                user = User.objects.create_user(options["username"], is_superuser=is_admin, is_staff=is_admin)
            if user is None:
                raise CommandError(f"There is no account {options['username']}. With --create it is made.")
            if not user.is_active:
                raise CommandError(f"The account {user.username} is closed.")
            link = issue_sign_in_link(user)
        self.stderr.write(f"Works once, within {LINK_HOURS} hours:")
        self.stdout.write(options["base_url"].rstrip("/") + link)
