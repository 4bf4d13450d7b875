"""The grade of each behaviour: documented, inferred or unknown."""

from __future__ import annotations

from dataclasses import dataclass

DOCUMENTED = "documented"
INFERRED = "inferred"
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Behaviour:
    """One behaviour of the sandbox, and how certain it is that Meisa behaves the same."""

    what: str
    grade: str


BEHAVIOURS: tuple[Behaviour, ...] = (
    Behaviour("paths, methods and scopes of the endpoints under /api/v1", DOCUMENTED),
    Behaviour("X-API-Key on every request; 401 without a known key, 403 without the scope", DOCUMENTED),
    Behaviour("60 requests a minute and 1,000 an hour per key; 429 beyond", DOCUMENTED),
    Behaviour("Retry-After in whole seconds on a 429", INFERRED),
    Behaviour("each limit is a sliding log that does not count the requests it refuses itself", UNKNOWN),
    Behaviour("live and test keys; a test key touches no live contact", DOCUMENTED),
    Behaviour("sequences are shared by both environments, contacts and enrollments are not", UNKNOWN),
    Behaviour("ping returns scopes, environment and product under these names", INFERRED),
    Behaviour("enroll creates the contact and needs an active sequence", DOCUMENTED),
    Behaviour("enroll responds with 201 and the enrollment", UNKNOWN),
    Behaviour("enroll rejects a contact already active or paused in the sequence", DOCUMENTED),
    Behaviour("that rejection is a 409", INFERRED),
    Behaviour("enroll rejects a suppressed contact unless override_unsubscribe is true", DOCUMENTED),
    Behaviour("that rejection is a 400", INFERRED),
    Behaviour("an unknown slug is a 404, an inactive sequence a 400", INFERRED),
    Behaviour("a contact who completed or exited a sequence can be enrolled in it again", INFERRED),
    Behaviour("bulk enroll takes 1 to 500 emails and skips enrolled and suppressed ones", DOCUMENTED),
    Behaviour("the shape of the bulk response; how it reports malformed and repeated emails", UNKNOWN),
    Behaviour(
        "the list shows slug, name, status and total_enrolled; active ones unless status=all", DOCUMENTED
    ),
    Behaviour("a status other than all filters by that status", INFERRED),
    Behaviour(
        "the list has pages of 20, of up to 100 with limit; offset, count, next and previous", INFERRED
    ),
    Behaviour("statuses of a sequence other than active", INFERRED),
    Behaviour("an unknown email has contact_exists false, not a 404", DOCUMENTED),
    Behaviour("a contact's sequences are listed under enrollments", INFERRED),
    Behaviour("upsert looks for the contact by external_id, then by email; both may be new", DOCUMENTED),
    Behaviour("upsert merges custom_fields, only adds tags, and keeps source and status", DOCUMENTED),
    Behaviour("upsert returns the full contact: 201 if created, 200 if updated", INFERRED),
    Behaviour("upsert keeps the fields that were not sent; a name may be empty", INFERRED),
    Behaviour("an external_id of one contact with the address of another is a 409", UNKNOWN),
    Behaviour("a new external_id with a known address replaces the one the contact had", UNKNOWN),
    Behaviour("add_tag and remove_tag take tag_name or tag_id", DOCUMENTED),
    Behaviour("add_tag and remove_tag respond with 200 and the contact, also if nothing changes", UNKNOWN),
    Behaviour("add_tag creates a tag it does not know; an unknown contact or tag_id is a 404", INFERRED),
    Behaviour(
        "upserts set off contact_created, contact_updated and tag_added; remove_tag tag_removed", DOCUMENTED
    ),
    Behaviour("an upsert that changes nothing sets nothing off", INFERRED),
    Behaviour("engagement figures are left out of the contact", UNKNOWN),
    Behaviour(
        "unsubscribed-emails returns as_of, count and emails, bounced and complained included", DOCUMENTED
    ),
    Behaviour("error bodies as in Django REST Framework; addresses compared without case", INFERRED),
    Behaviour("a path without its trailing slash is redirected with a 301", INFERRED),
)
