"""The site for a WSGI server: ``granian --interface wsgi config.wsgi:application``."""

import gc
import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
application = get_wsgi_application()

from django.urls import get_resolver  # noqa: E402  needs the apps to be loaded

from config.checks import refuse_forgetful_databases  # noqa: E402

refuse_forgetful_databases()

GARBAGE_AFTER = 10_000  # new objects; nearly all of a request's are freed with their last reference, long before

# Every view is loaded now, and stays: the collector needs not look through all of it again in the middle of requests.
_ = get_resolver().url_patterns
gc.collect()
gc.freeze()
gc.set_threshold(GARBAGE_AFTER, *gc.get_threshold()[1:])
