"""The control API under ``/_sandbox/``, for tests to set up and inspect the sandbox. Meisa has no such API."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Body
from pydantic import BaseModel, ConfigDict

from airflow_provider_meisa import __version__
from airflow_provider_meisa.sandbox.faults import KINDS, fault_from
from airflow_provider_meisa.sandbox.grades import BEHAVIOURS
from airflow_provider_meisa.sandbox.store import SCOPES, Enrolling
from airflow_provider_meisa.sandbox.world import World, summary


class _Sent(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewKey(_Sent):
    """A key, its scopes and its environment."""

    key: str
    scopes: list[str] = list(SCOPES)
    environment: str = "live"


class NewSequence(_Sent):
    """A sequence; without a name, an existing one keeps its name."""

    slug: str
    name: str | None = None
    status: str = "active"


class NewContact(_Sent):
    """A contact and its status."""

    email: str
    status: str = "subscribed"
    environment: str = "live"


class NewEnrollments(_Sent):
    """Contacts, and the status to give them in a sequence."""

    sequence_slug: str
    emails: list[str]
    status: str = "active"
    environment: str = "live"


def control_api(world: World) -> APIRouter:
    """Return the routes of the control API."""
    router = APIRouter(prefix="/_sandbox")
    for add_routes in (_add_about, _add_faults, _add_state, _add_enrollments, _add_requests):
        add_routes(router, world)
    return router


def _add_about(router: APIRouter, world: World) -> None:
    @router.get("/")
    async def about() -> dict[str, Any]:
        return {
            "what": "A sandbox of Meisa's API for tests. It sends no e-mail and holds no real contacts.",
            "version": __version__,
            "rate_limits": world.rate_limits,
            "latency_ms": world.latency * 1000,
            "faults": {kind: dict(defaults) for kind, defaults in KINDS.items()},
            "grades": [asdict(behaviour) for behaviour in BEHAVIOURS],
        }

    @router.get("/summary")
    async def get_summary() -> dict[str, Any]:
        return summary(world)


def _add_faults(router: APIRouter, world: World) -> None:
    @router.post("/faults", status_code=201)
    async def arm_fault(sent: Annotated[dict[str, Any], Body()]) -> dict[str, Any]:
        params = dict(sent)
        return world.faults.arm(fault_from(str(params.pop("kind", "")), params))

    @router.get("/faults")
    async def list_faults() -> list[dict[str, Any]]:
        return world.faults.listed()

    @router.delete("/faults", status_code=204)
    async def clear_faults() -> None:
        world.faults.clear()


def _add_state(router: APIRouter, world: World) -> None:
    @router.post("/keys", status_code=201)
    async def put_key(sent: NewKey) -> dict[str, Any]:
        world.store.put_key(sent.key, sent.scopes, sent.environment)
        return {"scopes": sent.scopes, "environment": sent.environment}

    @router.post("/sequences", status_code=201)
    async def put_sequence(sent: NewSequence) -> dict[str, Any]:
        world.store.put_sequence(sent.slug, sent.name, sent.status)
        return world.store.sequence(sent.slug) or {}

    @router.get("/contacts")
    async def list_contacts(environment: str = "live") -> list[dict[str, Any]]:
        return world.store.contacts(environment)

    @router.get("/automation-events")
    async def list_automation_events(environment: str = "live") -> list[dict[str, Any]]:
        return world.store.automation_events(environment)

    @router.post("/contacts", status_code=201)
    async def put_contacts(sent: list[NewContact]) -> dict[str, int]:
        for environment in dict.fromkeys(contact.environment for contact in sent):
            world.store.put_contacts(_statuses(sent, environment), environment)
        return {"contacts": len(sent)}


def _statuses(contacts: Iterable[NewContact], environment: str) -> dict[str, str]:
    return {contact.email: contact.status for contact in contacts if contact.environment == environment}


def _add_enrollments(router: APIRouter, world: World) -> None:
    @router.post("/enrollments", status_code=201)
    async def seed_enrollments(sent: NewEnrollments) -> dict[str, int]:
        wish = Enrolling(sent.environment, sent.sequence_slug, trigger_source="sandbox")
        world.store.seed_enrollments(sent.emails, wish, sent.status)
        return {"enrollments": len(sent.emails)}

    @router.get("/enrollments")
    async def list_enrollments(sequence_slug: str, environment: str = "live") -> list[dict[str, Any]]:
        return world.store.enrollments(sequence_slug, environment)


def _add_requests(router: APIRouter, world: World) -> None:
    @router.get("/requests")
    async def list_requests() -> list[dict[str, Any]]:
        return world.journal.entries()

    @router.delete("/requests", status_code=204)
    async def forget_requests() -> None:
        world.journal.clear()
