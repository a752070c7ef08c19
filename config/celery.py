"""The Celery application: ``celery -A config worker -Q default`` (or ``gpu``), and ``-B -Q tick`` for the clock.

Messages carry ids only and are hints: a row in the database decides whether there is anything to do.
"""

import os

from celery import Celery
from kombu.transport import TRANSPORT_ALIASES

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

TRANSPORT_ALIASES["filesystem"] = "config.broker:Transport"

app = Celery("whetstone")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
