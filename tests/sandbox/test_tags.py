"""The sandbox's tags of a contact: added and removed one by one."""

import pytest


@pytest.fixture
def contact(live):
    def create(address, **fields):
        return live.post("/contacts/upsert/", {"email": address, **fields}).json()["id"]

    return create


def tags_of(sandbox, contact_id):
    (found,) = (each for each in sandbox.contacts() if each["id"] == contact_id)
    return [tag["name"] for tag in found["tags"]]


def test_a_tag_is_added_and_removed_by_name(live, sandbox, contact):
    found = contact("name@example.com", tag_names=["a"])
    assert live.post(f"/contacts/{found}/add_tag/", {"tag_name": "b"}).status_code == 200
    assert tags_of(sandbox, found) == ["a", "b"]
    response = live.post(f"/contacts/{found}/remove_tag/", {"tag_name": "a"})
    assert [tag["name"] for tag in response.json()["tags"]] == tags_of(sandbox, found) == ["b"]


def test_a_tag_is_found_by_its_id(live, sandbox, contact):
    found = contact("by-id@example.com", tag_names=["trial"])
    (tag,) = live.post("/contacts/upsert/", {"email": "by-id@example.com"}).json()["tags"]
    assert live.post(f"/contacts/{found}/remove_tag/", {"tag_id": tag["id"]}).status_code == 200
    assert tags_of(sandbox, found) == []


@pytest.mark.parametrize("change", ["add_tag", "remove_tag"])
def test_what_is_so_already_changes_nothing(live, sandbox, contact, change):
    found = contact(f"twice-{change}@example.com", tag_names=["trial"])
    for _ in range(2):
        assert live.post(f"/contacts/{found}/{change}/", {"tag_name": "trial"}).status_code == 200
    assert tags_of(sandbox, found) == (["trial"] if change == "add_tag" else [])
    events = [each["name"] for each in sandbox.automation_events() if each["contact_id"] == found]
    assert events == ["contact_created", "tag_added", *(["tag_removed"] if change == "remove_tag" else [])]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/contacts/unknown/add_tag/", {"tag_name": "trial"}, 404),
        ("/contacts/{id}/add_tag/", {}, 400),
        ("/contacts/{id}/add_tag/", {"tag_name": ""}, 400),
        ("/contacts/{id}/add_tag/", {"tag_name": 3}, 400),
        ("/contacts/{id}/remove_tag/", {"tag_id": "unknown"}, 404),
        ("/contacts/{id}/other_tag/", {"tag_name": "trial"}, 404),
        ("/contacts//add_tag/", {"tag_name": "trial"}, 404),
    ],
)
def test_a_wrong_request_is_refused(live, sandbox, contact, path, body, status):
    found = contact("wrong@example.com")
    assert live.post(path.format(id=found), body).status_code == status
    assert tags_of(sandbox, found) == []


def test_tags_need_contacts_write(live, sandbox, contact, caller_of):
    found = contact("scope@example.com")
    sandbox.add_key("meisa_live_tagless", ["contacts:read"])
    response = caller_of(sandbox, "meisa_live_tagless").post(f"/contacts/{found}/add_tag/", {"tag_name": "t"})
    assert response.status_code == 403
    assert "contacts:write" in response.text


def test_a_test_key_finds_no_live_contact(contact, test_caller):
    response = test_caller.post(f"/contacts/{contact('apart@example.com')}/add_tag/", {"tag_name": "trial"})
    assert response.status_code == 404


def test_a_fault_hits_the_tags_of_a_contact(live, sandbox, contact):
    found = contact("fault@example.com")
    sandbox.fault("status", status=502, path="add_tag", times=1)
    assert live.post(f"/contacts/{found}/add_tag/", {"tag_name": "trial"}).status_code == 502
    assert tags_of(sandbox, found) == []
