"""The site for a WSGI server: ``granian --interface wsgi config.wsgi:application``."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
application = get_wsgi_application()

from config.checks import refuse_forgetful_databases  # noqa: E402  needs the apps to be loaded

refuse_forgetful_databases()
