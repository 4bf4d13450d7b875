"""The bodies of requests and responses."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers
from rest_framework.validators import UniqueTogetherValidator

from lifecycle.models import Contact, Enrollment, Sequence, Tag

MOST_EMAILS = 500
SOURCES = ("api", "import", "manual", "signup", "initial_sync")


class EnrollRequest(serializers.Serializer):
    """One contact."""

    email = serializers.EmailField()
    sequence_slug = serializers.CharField()
    metadata = serializers.DictField(required=False, default=dict)
    trigger_source = serializers.CharField(required=False, default="api", max_length=80)
    override_unsubscribe = serializers.BooleanField(required=False, default=False)


class BulkEnrollRequest(serializers.Serializer):
    """Up to 500 contacts."""

    sequence_slug = serializers.CharField()
    emails = serializers.ListField(child=serializers.EmailField(), min_length=1, max_length=MOST_EMAILS)
    override_unsubscribe = serializers.BooleanField(required=False, default=False)


class EnrollmentSerializer(serializers.ModelSerializer):
    """An enrollment."""

    email = serializers.EmailField(source="contact.email")
    sequence_slug = serializers.CharField(source="sequence.slug")
    sequence_name = serializers.CharField(source="sequence.name")

    class Meta:
        model = Enrollment
        fields = (
            "id",
            "email",
            "sequence_slug",
            "sequence_name",
            "status",
            "metadata",
            "trigger_source",
            "enrolled_at",
        )


class UniqueEnrollment(serializers.ModelSerializer):
    """A contact and a sequence, which must make a unique set."""

    class Meta:
        model = Enrollment
        fields = ("contact", "sequence")
        validators = (
            UniqueTogetherValidator(
                queryset=Enrollment.objects.filter(status__in=Enrollment.OPEN), fields=("contact", "sequence")
            ),
        )


class SequenceSerializer(serializers.ModelSerializer):
    """A sequence in the list."""

    total_enrolled = serializers.IntegerField()

    class Meta:
        model = Sequence
        fields = ("slug", "name", "status", "total_enrolled")


class TagSerializer(serializers.ModelSerializer):
    """A tag of a contact."""

    class Meta:
        model = Tag
        fields = ("id", "name")


class ContactSerializer(serializers.ModelSerializer):
    """The full contact."""

    tags = TagSerializer(many=True)

    class Meta:
        model = Contact
        fields = (
            "id",
            "email",
            "external_id",
            "first_name",
            "last_name",
            "display_name",
            "source",
            "custom_fields",
            "tags",
            "status",
            "created_at",
            "updated_at",
        )


class UpsertRequest(serializers.Serializer):
    """A contact as a client knows it."""

    email = serializers.EmailField()
    external_id = serializers.CharField(required=False, max_length=120)
    first_name = serializers.CharField(required=False, allow_blank=True, max_length=120)
    last_name = serializers.CharField(required=False, allow_blank=True, max_length=120)
    display_name = serializers.CharField(required=False, allow_blank=True, max_length=240)
    source = serializers.ChoiceField(choices=SOURCES, required=False)
    custom_fields = serializers.DictField(required=False)
    tag_names = serializers.ListField(child=serializers.CharField(max_length=80), required=False)


class TagRequest(serializers.Serializer):
    """A tag by name or by number."""

    tag_name = serializers.CharField(required=False, max_length=80)
    tag_id = serializers.IntegerField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not attrs:
            raise serializers.ValidationError("Give tag_name or tag_id.")
        return attrs
