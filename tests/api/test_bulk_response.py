from __future__ import annotations

import json
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_meisa.api.bulk_enroll_response.reader import read_bulk_response
from airflow_provider_meisa.api.outcomes import OutcomeStatus

ENROLLED, ALREADY, SUPPRESSED = (
    OutcomeStatus.ENROLLED,
    OutcomeStatus.ALREADY_ENROLLED,
    OutcomeStatus.SUPPRESSED,
)
INVALID, FAILED, UNREPORTED = OutcomeStatus.INVALID, OutcomeStatus.FAILED, OutcomeStatus.UNREPORTED
A, B, C, D = SENT = ["ann@a.example", "Bob@b.example", "cat@c.example", "dan@d.example"]

WORDS = {
    ENROLLED: ["enrolled", "Enrolled", "success", "OK", "added", "newly-enrolled"],
    ALREADY: [
        "already_enrolled",
        "Already Enrolled",
        "already-in-sequence",
        "currently enrolled",
        "enrollment_exists",
        "ALREADYENROLLED",
    ],
    SUPPRESSED: ["suppressed", "unsubscribed", "Bounced", "complained", "opted-out", "opt_out"],
    INVALID: ["invalid", "invalid_email", "Invalid Email", "bad_email", "malformed"],
    FAILED: ["failed", "error", "rejected", "Not Enrolled"],
}
STATUSES = list(WORDS)
HAPPY_WORDS = {*WORDS[ENROLLED], "yes", "true", "200"}
SAD_WORDS = [word for status in STATUSES[1:] for word in WORDS[status]]

FIELDS = (
    "email contact status result reason error results data skipped count foo enrolled success created failed"
)
names = st.sampled_from([*SENT, *FIELDS.split(), "errors", "already_enrolled", "suppressed", "invalid"])
strings = st.sampled_from(
    [*SENT, "stranger@x.example", "ANN@A.EXAMPLE ", *HAPPY_WORDS, *SAD_WORDS, "skipped", "weird"]
)
leaves = st.none() | st.booleans() | st.integers(-2, 5) | st.floats() | strings | st.text(max_size=8)
plausible = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(names | st.text(max_size=5), inner, max_size=5)
    ),
    max_leaves=25,
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=6)
        | st.dictionaries(st.text(st.characters(codec=None), max_size=10), inner, max_size=6)
    ),
    max_leaves=40,
)
truths = st.lists(st.sampled_from(STATUSES), min_size=1, max_size=8).map(
    lambda statuses: {f"Person.{i}@example.com": status for i, status in enumerate(statuses)}
)


def statuses(response: object, sent: list[str] = SENT) -> list[OutcomeStatus]:
    return [outcome.status for outcome in read_bulk_response(sent, response).outcomes]


def reasons(response: object, sent: list[str] = SENT) -> list[str]:
    return [outcome.reason for outcome in read_bulk_response(sent, response).outcomes]


def words_in(node: object) -> set[str]:
    """Gather every text of a response, names and values, normalized."""
    if isinstance(node, dict):
        return set().union(*(words_in(key) | words_in(value) for key, value in node.items()))
    if isinstance(node, list):
        return set().union(*map(words_in, node))
    return {"".join(filter(str.isalnum, str(node).lower()))}


# Whatever comes.


@given(sent=st.lists(st.text(max_size=12) | st.sampled_from(SENT), max_size=8), response=anything | plausible)
def test_whatever_the_response_each_address_sent_has_one_outcome(sent, response):
    read = read_bulk_response(sent, response)
    assert [outcome.address for outcome in read.outcomes] == sent
    assert len(read.unread) <= 20
    for text in (*read.unread, *(outcome.reason for outcome in read.outcomes)):
        assert len(text) <= 300
        assert text.isprintable()
        assert "@" not in text


@given(plausible)
def test_no_contact_is_enrolled_unless_a_word_or_a_flag_says_so(response):
    happy = {"".join(filter(str.isalnum, word.lower())) for word in HAPPY_WORDS} | {"succeeded", "201"}
    if not words_in(response) & happy:
        assert ENROLLED not in statuses(response)


@given(plausible)
def test_no_contact_is_enrolled_who_is_neither_named_nor_counted(response):
    named = words_in(response)
    counted = any(word.isdecimal() for word in named)
    for address, status in zip(SENT, statuses(response), strict=True):
        if not counted and "".join(filter(str.isalnum, address.lower())) not in named:
            assert status is UNREPORTED


@given(response=plausible, sad=st.sampled_from(SAD_WORDS), first=st.booleans())
def test_no_contact_is_enrolled_against_the_responses_own_word(response, sad, first):
    against = {"email": A.upper(), "status": sad}
    contradiction = [against, response] if first else {"data": response, "results": [against]}
    assert statuses(contradiction)[0] is not ENROLLED


@pytest.mark.parametrize(
    "response",
    [
        None,
        True,
        0,
        1.5,
        float("nan"),
        "",
        "enrolled",
        A,
        [],
        {},
        [[]],
        {"": {}},
        object(),
        {1: 2, None: [3]},
        {"a"},
    ],
)
def test_what_is_no_account_leaves_everything_unreported(response):
    assert statuses(response) == [UNREPORTED] * 4


def test_deep_responses_are_read_to_a_depth_and_no_further():
    response: object = [A]
    for _ in range(5_000):
        response = {"enrolled": response}
    read = read_bulk_response(SENT, response)
    assert [outcome.status for outcome in read.outcomes] == [UNREPORTED] * 4
    assert read.unread == ("more than 8 levels",)


def test_wide_responses_are_read_in_time_and_noted_in_part():
    wide = {f"field {i}": [i] for i in range(100_000)}
    read = read_bulk_response(SENT, {**wide, "enrolled": [A, *(f"x{i}@x.example" for i in range(100_000))]})
    assert read.outcomes[0].status is ENROLLED
    assert len(read.unread) == 20
    assert read.unread[0] == "mentions 100000 addresses not sent"


@pytest.mark.parametrize("number", [10**5_000, -(10**5_000), -1], ids=["huge", "tiny", "negative"])
def test_absurd_numbers_are_no_counts_and_no_statuses(number):
    assert statuses({"enrolled": number, "failed": number}) == [UNREPORTED] * 4
    assert statuses([{"email": A, "status": number}])[0] is UNREPORTED


# The truth in every plausible shape.


def per_address(truth, word):
    return [{"email": address, "status": word(status)} for address, status in truth.items()]


def by_status(truth, word, entry=lambda address: address):
    ordered = sorted(truth, key=lambda address: truth[address])
    return {
        word(status): [entry(address) for address in group]
        for status, group in groupby(ordered, key=lambda address: truth[address])
    }


SHAPES = {
    "bare list": per_address,
    "results": lambda truth, word: {"success": True, "results": per_address(truth, word)},
    "nested": lambda truth, word: {"data": {"details": per_address(truth, word)}, "message": "done"},
    "other names": lambda truth, word: {
        "outcomes": [{"address": a, "outcome": word(v), "id": i} for i, (a, v) in enumerate(truth.items())]
    },
    "contact object": lambda truth, word: [
        {"contact": {"id": 7, "email": a}, "result": {"status": word(v)}} for a, v in truth.items()
    ],
    "skipped or failed with a reason": lambda truth, word: {
        "results": [
            {"email": a, "status": "enrolled"}
            if v is ENROLLED
            else {"email": a, "status": "failed" if v in (FAILED, INVALID) else "skipped", "reason": word(v)}
            for a, v in truth.items()
        ]
    },
    "flag with a message": lambda truth, word: [
        {"email": a, "enrolled": v is ENROLLED, "message": word(v)} for a, v in truth.items()
    ],
    "error": lambda truth, word: [
        {"email": a, "error": None if v is ENROLLED else word(v), "success": v is ENROLLED}
        for a, v in truth.items()
    ],
    "mapping to words": lambda truth, word: {a: word(v) for a, v in truth.items()},
    "mapping to objects": lambda truth, word: {"results": {a: {"status": word(v)} for a, v in truth.items()}},
    "pairs": lambda truth, word: {"results": [[a, word(v)] for a, v in truth.items()]},
    "lists": by_status,
    "lists below a name": lambda truth, word: {"data": by_status(truth, word)},
    "lists of objects": lambda truth, word: by_status(truth, word, lambda a: {"email": a}),
    "lists of all, with counts": lambda truth, word: {
        **by_status(truth, word),
        "summary": {f"{v}_count": list(truth.values()).count(v) for v in STATUSES},
        "total": len(truth),
    },
    "enrolled counted, others listed": lambda truth, word: {
        **by_status({a: v for a, v in truth.items() if v is not ENROLLED}, word),
        "enrolled_count": list(truth.values()).count(ENROLLED),
    },
    "enrolled counted, others detailed": lambda truth, word: {
        "enrolled": list(truth.values()).count(ENROLLED),
        "skipped": sum(v in (ALREADY, SUPPRESSED) for v in truth.values()),
        "details": [{"email": a, "status": word(v)} for a, v in truth.items() if v is not ENROLLED],
    },
    "skipped by reason": lambda truth, word: {
        "enrolled": [a for a, v in truth.items() if v is ENROLLED],
        "skipped": by_status({a: v for a, v in truth.items() if v in (ALREADY, SUPPRESSED)}, word),
        "errors": {a: [word(v)] for a, v in truth.items() if v in (INVALID, FAILED)},
    },
    "status codes": lambda truth, word: [
        {"email": a, "status": 201} if v is ENROLLED else {"email": a, "status_code": 422, "detail": word(v)}
        for a, v in truth.items()
    ],
}


@pytest.mark.parametrize("shape", SHAPES)
@given(
    truth=truths, which=st.integers(0, 100), echo=st.sampled_from([str, str.lower, str.upper, " {} ".format])
)
def test_the_truth_is_read_in_every_plausible_shape(shape, truth, which, echo):
    echoed = {echo(address): status for address, status in truth.items()}
    response = SHAPES[shape](echoed, lambda status: WORDS[status][which % len(WORDS[status])])
    read = read_bulk_response(list(truth), json.loads(json.dumps(response)))
    assert {outcome.address: outcome.status for outcome in read.outcomes} == truth
    assert read.unread == ()


@pytest.mark.parametrize("shape", SHAPES)
@given(truth=truths, extra=st.integers(1, 3))
def test_what_the_response_leaves_out_is_unreported_in_every_plausible_shape(shape, truth, extra):
    response = SHAPES[shape](truth, lambda status: WORDS[status][0])
    left_out = [f"left.out.{i}@example.com" for i in range(extra)]
    read = read_bulk_response([*left_out, *truth], response)
    assert all(outcome.status is UNREPORTED for outcome in read.outcomes[:extra])
    assert all(outcome.reason for outcome in read.outcomes[:extra])


@pytest.mark.parametrize("shape", SHAPES)
@given(truth=truths, which=st.integers(0, 100))
def test_the_order_of_the_response_changes_nothing(shape, truth, which):
    def read(order):
        response = SHAPES[shape](order, lambda status: WORDS[status][which % len(WORDS[status])])
        return read_bulk_response(list(truth), response).outcomes

    assert read(truth) == read(dict(reversed(truth.items())))


@pytest.mark.parametrize(
    ("second", "status"),
    [
        ({"email": B, "note": "enrolled"}, UNREPORTED),
        ({"email": B, "status": ["enrolled"]}, UNREPORTED),
        ({"email": B, "status": "failed", "reason": "unsubscribed"}, SUPPRESSED),
        ("no result", UNREPORTED),
    ],
)
def test_a_result_that_is_made_otherwise_than_the_one_before_is_read_for_itself(second, status):
    assert statuses([{"email": A, "status": "enrolled"}, second], [A, B]) == [ENROLLED, status]


# Words.


@pytest.mark.parametrize(
    ("status", "word"), [(status, word) for status in STATUSES for word in WORDS[status]]
)
def test_a_word_is_read_as_a_status_and_as_the_name_of_a_list(status, word):
    assert statuses([{"email": A, "status": word}], [A]) == [status]
    assert statuses({word: [A]}, [A]) == [status]
    assert statuses({f"{word}_emails": [A]}, [A]) == [status]


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        ("Contact is already active or paused in this sequence", ALREADY),
        ("Already enrolled", ALREADY),
        ("enrolled", ALREADY),
        ("paused", FAILED),
        ("Contact has unsubscribed", SUPPRESSED),
        ("on the suppression list", SUPPRESSED),
        ("Enter a valid email address.", INVALID),
        ("email is invalid", INVALID),
        ("transaction already closed", FAILED),
        ("could not check whether unsubscribed", FAILED),
        ("invalid sequence state", FAILED),
        ("not already enrolled", FAILED),
        ("", FAILED),
    ],
)
def test_a_reason_tells_a_refusal_from_a_failure(reason, status):
    assert statuses([{"email": A, "status": "failed", "reason": reason}], [A]) == [status]


def test_a_remark_beside_enrolled_is_no_contradiction_but_a_code_is():
    remark = {"email": A, "status": "enrolled", "message": "was unsubscribed, overridden"}
    code = {"email": B, "status": "enrolled", "reason": "already_enrolled"}
    assert statuses([remark, code], [A, B]) == [ENROLLED, ALREADY]


def test_a_bare_skip_has_a_documented_cause_and_never_counts_as_enrolled():
    response = {
        "results": [{"email": A, "status": "skipped"}],
        "skipped": [B, {"email": C, "reason": "policy"}],
    }
    read = read_bulk_response([A, B, C], response)
    assert [outcome.status for outcome in read.outcomes] == [SUPPRESSED, SUPPRESSED, FAILED]
    assert [outcome.reason for outcome in read.outcomes] == [
        "skipped, reason not given",
        "skipped, reason not given",
        "skipped: policy",
    ]


def test_a_status_outside_the_tables_is_unreported_and_noted():
    read = read_bulk_response(
        [A, B], [{"email": A, "status": "Levitating"}, {"email": B, "status": "enrolled"}]
    )
    assert [outcome.status for outcome in read.outcomes] == [UNREPORTED, ENROLLED]
    assert read.outcomes[0].reason == "status not known: Levitating"
    assert read.unread == ("status not known: Levitating",)


def test_a_status_that_says_nothing_leaves_the_word_to_the_other_fields():
    assert statuses([{"email": A, "status": "active", "enrolled": True}], [A]) == [ENROLLED]
    assert statuses([{"email": A, "status": "active"}], [A]) == [UNREPORTED]


def test_a_flag_that_may_speak_of_the_contact_enrolls_no_contact():
    assert statuses([{"email": A, "created": True}, {"email": B, "new": 1}], [A, B]) == [UNREPORTED] * 2


def test_flags_of_a_refusal_count_only_when_they_are_up():
    up = {"email": A, "enrolled": False, "suppressed": True}
    down = {"email": B, "enrolled": True, "suppressed": False, "duplicate": 0}
    assert statuses([up, down], [A, B]) == [SUPPRESSED, ENROLLED]


def test_a_word_that_tells_more_than_the_status_is_kept_as_the_reason():
    assert reasons({"bounced": [A], "results": [{"email": B, "status": "complained"}]}, [A, B]) == [
        "bounced",
        "complained",
    ]
    assert reasons({"suppressed": [A]}, [A]) == [""]


def test_reasons_and_notes_show_no_address_and_no_key():
    response = {
        "failed": [{"email": A, "error": f"no room for {A} with meisa_live_abc123"}],
        "x meisa_live_abc123 y": 1,
    }
    read = read_bulk_response([A], response)
    assert read.outcomes[0].reason == "no room for <address> with <key>"
    assert read.unread == ("field x <key> y",)


# Contradictions.


@pytest.mark.parametrize(
    ("response", "status"),
    [
        ({"enrolled": [A], "failed": [A]}, FAILED),
        ({"failed": [A], "enrolled": [A]}, FAILED),
        ({"enrolled": [A], "suppressed": [A]}, SUPPRESSED),
        ({"suppressed": [A], "invalid": [A]}, INVALID),
        ({"already_enrolled": [A], "suppressed": [A]}, SUPPRESSED),
        ([{"email": A, "status": "enrolled"}, {"email": A.upper(), "status": "weird"}], UNREPORTED),
        ([{"email": A, "status": "enrolled", "success": False}], FAILED),
        ([{"email": A, "status": "enrolled", "error": "quota"}], FAILED),
        ([{"email": A, "error": "quota"}], FAILED),
        ({"enrolled": [{"email": A, "status": "failed"}]}, FAILED),
        ({"skipped": [A], "already_enrolled": [A]}, ALREADY),
        ({"failed": [A], "invalid": [A]}, INVALID),
        ({"success": {"already_enrolled": [A]}}, ALREADY),
        ({"enrolled": {"unheard_of": [A]}}, UNREPORTED),
        ({"skipped": {"enrolled": [A]}}, ALREADY),
    ],
)
def test_of_two_words_the_less_happy_counts_and_a_reason_explains_a_bare_no(response, status):
    assert statuses(response, [A]) == [status]


def test_a_contradiction_without_a_reason_says_so():
    assert reasons({"enrolled": [A], "failed": [A]}, [A]) == ["the response contradicts itself"]
    assert reasons({"failed": [A]}, [A]) == ["refused, reason not given"]


# Counts.


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ({"enrolled": 4}, ENROLLED),
        ({"enrolled": 4, "already_enrolled": 0, "failed": 0}, ENROLLED),
        ({"num_enrolled": 4, "created": 4}, ENROLLED),
        ({"success": 4, "enrolled": 4}, ENROLLED),
        ({"success": 4, "enrolled": 0, "already_enrolled": 4}, ALREADY),
        ({"enrolled": 0, "skipped": 4, "already_enrolled": 4}, ALREADY),
        ({"enrolled": 0, "unsubscribed": 3, "bounced": 1}, SUPPRESSED),
        ({"enrolled": 0, "skipped": 4}, SUPPRESSED),
        ({"skipped": {"count": 4}}, SUPPRESSED),
        ({"failed_count": 4}, FAILED),
        ({"enrolled": 3, "suppressed": 1}, UNREPORTED),
        ({"enrolled": 3}, UNREPORTED),
        ({"enrolled": 5}, UNREPORTED),
        ({"enrolled": 4, "failed": 1}, UNREPORTED),
        ({"enrolled": 4, "created": 3}, ENROLLED),
        ({"enrolled": 4.0}, UNREPORTED),
        ({"enrolled": True}, UNREPORTED),
        ({"total_enrolled": 4}, UNREPORTED),
        ({"count": 4, "total": 4}, UNREPORTED),
        ({"unheard_of": {"count": 4}}, UNREPORTED),
        ({"enrolled": 4, "failed": ["stranger@x.example"]}, UNREPORTED),
    ],
)
def test_a_count_settles_the_whole_batch_or_nothing(response, expected):
    assert statuses(response) == [expected] * 4


@pytest.mark.parametrize(
    ("response", "rest"),
    [
        ({"enrolled": 3, "suppressed": [A]}, ENROLLED),
        ({"enrolled": 3, "skipped": 1, "suppressed": [A]}, ENROLLED),
        (
            {"enrolled": 3, "failed": 1, "errors": [{"email": A, "error": "Enter a valid email address."}]},
            ENROLLED,
        ),
        ({"enrolled": [A], "already_enrolled": 3, "suppressed": 0}, ALREADY),
        ({"enrolled_count": 4, "enrolled": [A]}, ENROLLED),
        ({"enrolled": 2, "suppressed": [A]}, UNREPORTED),
        ({"enrolled": 4, "suppressed": [A]}, UNREPORTED),
        ({"enrolled": 3, "failed": 1, "skipped": [A]}, UNREPORTED),
        ({"enrolled": 3, "failed": 0, "errors": [A]}, UNREPORTED),
        ({"enrolled": 3, "unheard_of": [A]}, ENROLLED),
        ({"enrolled": [A], "already_enrolled": 2, "suppressed": 1}, UNREPORTED),
        ({"enrolled": 3, "already_enrolled": 1, "suppressed": 1, "skipped": [A]}, UNREPORTED),
    ],
)
def test_a_count_settles_the_unnamed_only_where_it_leaves_no_choice(response, rest):
    assert statuses(response)[1:] == [rest] * 3


@given(
    enrolled=st.integers(0, 6),
    others=st.dictionaries(
        st.sampled_from(["skipped", "failed", "suppressed", "already_enrolled"]), st.integers(0, 4)
    ),
    listed=st.dictionaries(
        st.sampled_from(SAD_WORDS), st.lists(st.sampled_from(SENT), unique=True), max_size=3
    ),
)
def test_no_more_are_enrolled_than_are_counted(enrolled, others, listed):
    read = statuses({"enrolled": enrolled, "counts": others, "results": listed})
    assert read.count(ENROLLED) in (0, enrolled)


def test_the_reason_of_the_unreported_gives_the_counts_and_the_remark():
    assert reasons({"enrolled": 3, "suppressed": 1, "skipped": 1})[0] == (
        "the response only counts: 3 enrolled, 1 skipped, 1 suppressed"
    )
    assert (
        reasons({"enrolled": 2, "failed": [A]})[1] == "the response does not mention it; it counts 2 enrolled"
    )
    assert reasons({"detail": f"sequence paused by {A}"})[0] == (
        "the response does not mention it (sequence paused by <address>)"
    )
    assert reasons({"enrolled": 4})[0] == "by its count, not by name"
    assert reasons([])[0] == "the response does not mention it"


# Odds and ends of shapes.


def test_addresses_that_were_not_sent_are_noted_by_number():
    assert read_bulk_response([A], {"enrolled": [A, B]}).unread == ("mentions 1 address not sent",)
    assert read_bulk_response([A], [{"email": B}, {"email": C}]).unread == ("mentions 2 addresses not sent",)


def test_a_sentence_about_one_address_is_its_reason():
    read = read_bulk_response(
        [A, B], {"errors": [f"{A.upper()}: mailbox on fire.", "nobody at all", f"{A} and {B}"]}
    )
    assert [outcome.status for outcome in read.outcomes] == [FAILED, UNREPORTED]
    assert read.outcomes[0].reason == "<address>: mailbox on fire."
    assert read.unread == ("a text that names no address, or several",)


def test_a_list_under_an_unknown_name_is_noted_and_enrolls_no_contact():
    read = read_bulk_response([A, B], {"levitating": [A], "failed": {"quota": [B]}, "addresses": []})
    assert [outcome.status for outcome in read.outcomes] == [UNREPORTED, FAILED]
    assert [outcome.reason for outcome in read.outcomes] == ["listed as levitating", "quota"]
    assert read.unread == ("field levitating", "field quota")


def test_a_list_without_a_status_enrolls_no_contact():
    assert statuses([A, B, [C, D]]) == [UNREPORTED] * 4
    assert reasons([A])[0] == "listed without a status"


def test_a_list_of_lists_is_read_through():
    assert statuses({"enrolled": [[A, B], [C, D]]}) == [ENROLLED] * 4


def test_one_result_alone_is_read():
    assert statuses({"email": A, "status": "enrolled"}, [A]) == [ENROLLED]
    assert statuses({"email": "ops@x.example", "results": [{"email": A, "status": "enrolled"}]}, [A]) == [
        ENROLLED
    ]


@pytest.mark.parametrize(
    ("value", "status"),
    [
        (True, ENROLLED),
        (False, FAILED),
        (200, ENROLLED),
        (409, FAILED),
        (None, UNREPORTED),
        (["Enter a valid email address."], INVALID),
        ([{"message": "unsubscribed", "code": 7}], UNREPORTED),
        ({"enrolled": False, "errors": {"email": "unsubscribed"}}, SUPPRESSED),
        ({"status": {"state": "enrolled", 5: 6}}, ENROLLED),
    ],
)
def test_an_address_may_be_mapped_to_anything(value, status):
    assert statuses({"results": {A: value}}, [A]) == [status]


def test_several_spellings_of_one_address_that_were_sent_share_its_outcome():
    assert statuses({"enrolled": [A]}, [A, A.upper()]) == [ENROLLED] * 2


def test_nothing_sent_has_no_outcome():
    assert read_bulk_response([], {"enrolled": 0}).outcomes == ()
