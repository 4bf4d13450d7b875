"""The endpoints."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.db.models import Count, QuerySet
from django.shortcuts import get_object_or_404
from rest_framework.decorators import action
from rest_framework.generics import ListAPIView
from rest_framework.pagination import LimitOffsetPagination
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import GenericViewSet

from lifecycle import bulk_responses, enrolling, refusals
from lifecycle.faults import reach
from lifecycle.models import BulkJob, Contact, RequestLog, Sequence, Tag
from lifecycle.serializers import (
    BulkEnrollRequest,
    ContactSerializer,
    EnrollmentSerializer,
    EnrollRequest,
    SequenceSerializer,
    TagRequest,
    UpsertRequest,
)
from lifecycle.switches import switch

if TYPE_CHECKING:
    from rest_framework.request import Request


class PingView(APIView):
    """What the key is."""

    def get(self, request: Request) -> Response:
        key = request.user
        return Response({"scopes": key.scopes, "environment": key.environment, "product": key.product})


class EnrollView(APIView):
    """Enroll one contact; it is created if absent."""

    scope = "sequences:enroll"

    def post(self, request: Request) -> Response:
        asked = EnrollRequest(data=request.data)
        asked.is_valid(raise_exception=True)
        wanted = asked.validated_data
        sequence = get_object_or_404(Sequence, slug=wanted["sequence_slug"])
        refusal = refusals.not_enrollable(sequence)
        if refusal is not None:
            return refusal
        reach(request, "enroll", "before")
        contact, _created = Contact.objects.get_or_create(email=wanted["email"].lower())
        if contact.status == "deleted":
            return Response({"detail": "This contact has been deleted."}, 409)
        if contact.status in Contact.SUPPRESSED and not wanted["override_unsubscribe"]:
            return Response({"detail": f"Contact is {contact.status}."}, 400)
        enrollment = enrolling.enroll_one(
            contact,
            sequence,
            lambda: reach(request, "enroll", "between"),
            metadata=wanted["metadata"],
            trigger_source=wanted["trigger_source"],
        )
        response = (
            refusals.already(contact, sequence)
            if enrollment is None
            else Response({**EnrollmentSerializer(enrollment).data, "status": switch("single_status")}, 201)
        )
        reach(request, "enroll", "after")
        return response


class BulkEnrollView(APIView):
    """Enroll up to 500 contacts."""

    scope = "sequences:enroll"

    def post(self, request: Request) -> Response:
        asked = BulkEnrollRequest(data=request.data)
        asked.is_valid(raise_exception=True)
        wanted = asked.validated_data
        sequence = get_object_or_404(Sequence, slug=wanted["sequence_slug"])
        refusal = refusals.not_enrollable(sequence) or self._busy(request)
        if refusal is not None:
            return refusal
        reach(request, "bulk-enroll", "before")
        shape = switch("bulk_shape")
        if shape in bulk_responses.ACCEPTED:
            BulkJob.objects.create(sequence=sequence, emails=wanted["emails"])
            return bulk_responses.accepted(shape, wanted["emails"])
        outcome = enrolling.enroll_many(
            wanted["emails"],
            sequence,
            lambda: reach(request, "bulk-enroll", "between"),
            override=wanted["override_unsubscribe"],
        )
        reach(request, "bulk-enroll", "after")
        return bulk_responses.carried_out(shape, outcome)

    def _busy(self, request: Request) -> Response | None:
        at_work = RequestLog.objects.filter(path=request.path, status=None).count()
        if at_work <= 1 or not switch("bulk_one_at_a_time"):
            return None
        return Response({"detail": "A bulk enrollment is already running for this sequence."}, 409)


class SequencePages(LimitOffsetPagination):
    """20 a page."""

    default_limit = 20
    max_limit = 100


class SequenceListView(ListAPIView):
    """The sequences; the active ones unless all are asked for."""

    scope = "sequences:read"
    serializer_class = SequenceSerializer
    pagination_class = SequencePages

    def get_queryset(self) -> QuerySet[Sequence]:
        asked = self.request.query_params
        found = Sequence.objects.annotate(total_enrolled=Count("enrollments"))
        if asked.get("status") != "all":
            found = found.filter(status=asked.get("status", "active"))
        return found.filter(name__icontains=asked["search"]) if asked.get("search") else found


class ContactEnrollmentsView(APIView):
    """The sequences of a contact."""

    scope = "sequences:read"

    def get(self, request: Request) -> Response:
        email = request.query_params.get("email", "")
        contact = Contact.objects.filter(email=email.lower()).first()
        if contact is None:
            return Response({"email": email, "contact_exists": False, "enrollments": []})
        found = EnrollmentSerializer(contact.enrollments.select_related("sequence"), many=True).data
        return Response({"email": contact.email, "contact_exists": True, "enrollments": found})


class UnsubscribedEmailsView(APIView):
    """The addresses that must not be mailed."""

    scope = "contacts:read"

    def get(self, request: Request) -> Response:
        emails = list(
            Contact.objects.filter(status__in=Contact.SUPPRESSED)
            .order_by("email")
            .values_list("email", flat=True)
        )
        return Response({"as_of": datetime.now(UTC).isoformat(), "count": len(emails), "emails": emails})


class ContactViewSet(GenericViewSet):
    """Contacts and their tags."""

    scope = "contacts:write"
    queryset = Contact.objects.all()
    serializer_class = ContactSerializer

    @action(detail=False, methods=["post"])
    def upsert(self, request: Request) -> Response:
        asked = UpsertRequest(data=request.data)
        asked.is_valid(raise_exception=True)
        wanted: dict[str, Any] = dict(asked.validated_data)
        tags = wanted.pop("tag_names", [])
        wanted["email"] = wanted["email"].lower()
        contact = self._find(wanted)
        if contact is None:
            contact, code = Contact(), 201
        else:
            wanted.pop("source", None)
            code = 200
        if Contact.objects.filter(email=wanted["email"]).exclude(pk=contact.pk).exists():
            return Response({"email": ["contact with this email already exists."]}, 400)
        wanted["custom_fields"] = contact.custom_fields | wanted.get("custom_fields", {})
        for name, value in wanted.items():
            setattr(contact, name, value)
        contact.save()
        contact.tags.add(*(Tag.objects.get_or_create(name=name)[0] for name in tags))
        return Response(ContactSerializer(contact).data, code)

    @staticmethod
    def _find(wanted: dict[str, Any]) -> Contact | None:
        known = None
        if "external_id" in wanted:
            known = Contact.objects.filter(external_id=wanted["external_id"]).first()
        return known or Contact.objects.filter(email=wanted["email"]).first()

    @action(detail=True, methods=["post"])
    def add_tag(self, request: Request, pk: str) -> Response:
        contact = self.get_object()
        asked = self._tag(request)
        if "tag_id" in asked:
            tag = get_object_or_404(Tag, pk=asked["tag_id"])
        else:
            tag, _created = Tag.objects.get_or_create(name=asked["tag_name"])
        contact.tags.add(tag)
        return Response(ContactSerializer(contact).data)

    @action(detail=True, methods=["post"])
    def remove_tag(self, request: Request, pk: str) -> Response:
        contact = self.get_object()
        asked = self._tag(request)
        by = {"pk": asked["tag_id"]} if "tag_id" in asked else {"name": asked["tag_name"]}
        contact.tags.remove(get_object_or_404(Tag, **by))
        return Response(ContactSerializer(contact).data)

    @staticmethod
    def _tag(request: Request) -> dict[str, Any]:
        asked = TagRequest(data=request.data)
        asked.is_valid(raise_exception=True)
        return dict(asked.validated_data)
