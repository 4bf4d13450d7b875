"""What gunicorn serves; loaded once, before the workers are forked."""

from __future__ import annotations

import os
from importlib import import_module

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "lifecycle.settings")
django.setup()

from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.db import connections  # noqa: E402

import_module("lifecycle.urls")  # a fault in there shows at the start, not at the first request
call_command("migrate", run_syncdb=True, verbosity=0)
call_command("createcachetable", verbosity=0)
connections.close_all()
application = get_wsgi_application()
