"""The site for an ASGI server: ``granian --interface asgi config.asgi:application``."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
application = get_asgi_application()

from config.checks import refuse_forgetful_databases  # noqa: E402  needs the apps to be loaded

refuse_forgetful_databases()
