"""Contacts, sequences and enrollments, and what a test sets before it sends a request."""

from __future__ import annotations

import uuid

from django.db import models


class ApiKey(models.Model):
    """A key with its scopes."""

    key = models.CharField(max_length=80, unique=True)
    environment = models.CharField(max_length=10, default="live")
    product = models.CharField(max_length=80, default="Lifecycle")
    scopes = models.JSONField(default=list)
    is_authenticated = True

    class Meta:
        db_table = "api_key"


class Tag(models.Model):
    """A label of contacts."""

    name = models.CharField(max_length=80, unique=True)

    class Meta:
        db_table = "tag"


class Contact(models.Model):
    """A person with an address."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    email = models.EmailField(unique=True)
    external_id = models.CharField(max_length=120, unique=True, null=True)
    first_name = models.CharField(max_length=120, blank=True, default="")
    last_name = models.CharField(max_length=120, blank=True, default="")
    display_name = models.CharField(max_length=240, blank=True, default="")
    source = models.CharField(max_length=20, default="api")
    custom_fields = models.JSONField(default=dict)
    tags = models.ManyToManyField(Tag, related_name="contacts")
    status = models.CharField(max_length=20, default="active")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "contact"

    SUPPRESSED = ("unsubscribed", "bounced", "complained")


class Sequence(models.Model):
    """Mails that follow one another; with ``ends_at_once`` an enrollment is over after its first mail."""

    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=120)
    status = models.CharField(max_length=20, default="active")
    steps = models.PositiveIntegerField(default=3)
    ends_at_once = models.BooleanField(default=False)

    class Meta:
        db_table = "sequence"
        ordering = ("slug",)


class Enrollment(models.Model):
    """A contact in a sequence. No constraint keeps it single: the service has to look first."""

    contact = models.ForeignKey(Contact, models.CASCADE, related_name="enrollments")
    sequence = models.ForeignKey(Sequence, models.CASCADE, related_name="enrollments")
    status = models.CharField(max_length=20, default="active")
    metadata = models.JSONField(default=dict)
    trigger_source = models.CharField(max_length=80, default="api")
    enrolled_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "enrollment"

    OPEN = ("active", "paused")


class BulkJob(models.Model):
    """A bulk enrollment that was accepted and waits for a background worker, of which there is none."""

    sequence = models.ForeignKey(Sequence, models.CASCADE)
    emails = models.JSONField()

    class Meta:
        db_table = "bulk_job"


class RequestLog(models.Model):
    """Every request that reached Django; ``status`` is empty while the work is in progress."""

    method = models.CharField(max_length=10)
    path = models.CharField(max_length=200)
    status = models.PositiveIntegerField(null=True)
    received_at = models.FloatField()
    finished_at = models.FloatField(null=True)

    class Meta:
        db_table = "request_log"


class Switch(models.Model):
    """How the service behaves where the published API leaves it open; see `lifecycle.switches.DEFAULTS`."""

    name = models.CharField(max_length=40, primary_key=True)
    value = models.JSONField()

    class Meta:
        db_table = "switch"


class Fault(models.Model):
    """What befalls one request to an endpoint at a point of its work; see `lifecycle.faults.reach`."""

    endpoint = models.CharField(max_length=20)
    point = models.CharField(max_length=20)
    kind = models.CharField(max_length=20)
    seconds = models.FloatField(default=0)
    met = models.BooleanField(default=False)
    released = models.BooleanField(default=False)

    class Meta:
        db_table = "fault"
