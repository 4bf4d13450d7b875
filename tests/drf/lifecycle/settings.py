"""Settings of a small production-like deployment; where the data lives comes from the environment."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

DATA = Path(os.environ["LIFECYCLE_DATA"])

SECRET_KEY = secrets.token_hex()
DEBUG = False
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = ["rest_framework", "lifecycle"]
MIDDLEWARE = ["lifecycle.request_log.RequestLogMiddleware", "django.middleware.common.CommonMiddleware"]
ROOT_URLCONF = "lifecycle.urls"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
MIGRATION_MODULES = {"lifecycle": None}  # the tables are made from the models: the data lives for one run

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATA / "lifecycle.sqlite3",
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;",
        },
    }
}
# Shared by all workers: the default cache of each process would multiply the rate limits.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "cache",
        "OPTIONS": {"MAX_ENTRIES": 10_000},
    }
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["lifecycle.access.ApiKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["lifecycle.access.HasScope"],
    "DEFAULT_THROTTLE_CLASSES": ["lifecycle.access.MinuteThrottle", "lifecycle.access.HourThrottle"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "UNAUTHENTICATED_USER": None,
}
LOGGING = {"version": 1, "disable_existing_loggers": True}
