"""The examples of the vendor's page, run unchanged except for host, key and addresses."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")

# The page hides the addresses of its examples; these are the placeholders it shows instead.
HIDDEN = "[email protected]"

ENROLL = """curl -X POST "https://api.meisa.io/api/v1/sequences/enroll/" \\
  -H "X-API-Key: meisa_live_your_key" \\
  -H "Content-Type: application/json" \\
  -d '{
    "email": "[email protected]",
    "sequence_slug": "onboarding",
    "metadata": { "signup_source": "website" }
  }'"""

BULK = """curl -X POST "https://api.meisa.io/api/v1/sequences/api/bulk-enroll/" \\
  -H "X-API-Key: meisa_live_your_key" \\
  -H "Content-Type: application/json" \\
  -d '{
    "sequence_slug": "reactivation",
    "emails": ["[email protected]", "[email protected]"]
  }'"""

LIST = """curl "https://api.meisa.io/api/v1/sequences/api/list/" \\
  -H "X-API-Key: meisa_live_your_key\""""

# Here the page hides the address together with the query that carries it.
CONTACT = """curl "https://api.meisa.io/api/v1/sequences/api/contact-enrollments/[email protected]" \\
  -H "X-API-Key: meisa_live_your_key\""""


def run(command, sandbox, *addresses):
    command = command.replace("https://api.meisa.io", sandbox.url).replace("meisa_live_your_key", sandbox.key)
    for address in addresses:
        command = command.replace(HIDDEN, address, 1)
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=30, check=True)
    return json.loads(done.stdout)


def test_the_pages_commands_work_as_written(sandbox):
    assert run(ENROLL, sandbox, "ada@example.org")["metadata"] == {"signup_source": "website"}
    assert run(BULK, sandbox, "ada@example.org", "bob@example.org")["enrolled"] == 2
    listed = run(LIST, sandbox)["results"]
    assert listed[0] == {"slug": "onboarding", "name": "Onboarding", "status": "active", "total_enrolled": 1}
    shown = run(CONTACT, sandbox, "?email=ada@example.org")
    assert shown["contact_exists"] is True
    assert len(shown["enrollments"]) == 2
