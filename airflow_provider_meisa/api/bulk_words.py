"""The words a bulk answer may use for what became of an address, and what each of them says.

Meisa documents that "the response details each outcome", not the words it uses. Case, spaces, hyphens and
underscores do not matter. A word is listed here only if it can hardly mean anything else.
"""

from __future__ import annotations

import functools
import re
from enum import IntFlag

from airflow_provider_meisa.api.outcomes import Verdict


class Said(IntFlag):
    """What an answer says about an address; several at once where it speaks more than once.

    In the order of happiness: of several the last wins, but a plain *no* or *skipped* gives way to a reason.
    """

    LISTED = 1
    """Mentioned under a name that says nothing."""
    YES = 2
    """It worked, whatever it was."""
    ENROLLED = 4
    UNCLEAR = 8
    """A word that is not in the tables."""
    ALREADY = 16
    SKIPPED = 32
    """Skipped, without a reason."""
    SUPPRESSED = 64
    INVALID = 128
    NO = 256
    """Refused, without a reason that has a verdict of its own."""


REASONED = Said.ALREADY | Said.SUPPRESSED | Said.INVALID
HAPPY = Said.YES | Said.ENROLLED

_VERDICTS = {
    Said.LISTED: Verdict.UNREPORTED,
    Said.YES: Verdict.ENROLLED,
    Said.ENROLLED: Verdict.ENROLLED,
    Said.UNCLEAR: Verdict.UNREPORTED,
    Said.ALREADY: Verdict.ALREADY_ENROLLED,
    Said.SKIPPED: Verdict.SUPPRESSED,
    Said.SUPPRESSED: Verdict.SUPPRESSED,
    Said.INVALID: Verdict.INVALID,
    Said.NO: Verdict.FAILED,
}


@functools.cache
def settle(said: Said) -> Said:
    """Weigh all that was said of an address and say what counts.

    A contradiction goes to the less happy side, so that *enrolled* is never claimed against the answer.
    """
    worst = max(one for one in Said if one & said)
    if worst in (Said.SKIPPED, Said.NO) and said & REASONED:
        return max(one for one in Said if one & said & REASONED)
    return worst


def verdict_of(counted: Said) -> Verdict:
    """Name the verdict for what counts.

    A bare *skipped* has two documented causes, already enrolled and suppressed, and neither is a failure. Of the
    two it is given the less happy, which does not claim that somebody is in the sequence who may not be.
    """
    return _VERDICTS[counted]


_NO_LETTERS = re.compile(r"[\W_]+")


def squash(word: str) -> str:
    """Strip a word to its letters and digits in lower case."""
    return _NO_LETTERS.sub("", word).lower()


def squashed(words: str) -> frozenset[str]:
    """Squash each of several words, for a table to look others up in."""
    return frozenset(map(squash, words.split()))


_STATUS_WORDS = {
    Said.YES: "ok okay yes true success successful successes succeeded accepted 200 201 202",
    Said.ENROLLED: "enrolled enroll newly_enrolled enrolled_now created added inserted new queued scheduled",
    Said.ALREADY: "already already_enrolled already_active already_paused already_exists already_in_sequence exists "
    "existing existed duplicate duplicates duplicated previously_enrolled currently_enrolled conflict",
    Said.SKIPPED: "skipped skip skips ignored omitted excluded noop unchanged",
    Said.SUPPRESSED: "suppressed suppression unsubscribed unsubscribe bounced bounce bounces hard_bounce hard_bounced "
    "complained complaint complaints complainer spam_complaint opted_out opt_out do_not_contact do_not_email blocked "
    "blocklisted blacklisted on_suppression_list in_suppression_list contact_unsubscribed contact_suppressed",
    Said.INVALID: "invalid invalid_email invalid_emails invalid_address invalid_addresses email_invalid not_valid "
    "bad_email bad_address malformed malformed_email invalid_format invalid_email_format invalid_email_address",
    Said.NO: "failed fail fails failure failures error errors errored rejected refused denied declined forbidden "
    "not_enrolled unenrolled unsuccessful no false 400 401 403 404 409 422 429 500 502 503 504",
}
_SAYS_NOTHING = squashed("active processed done complete completed finished handled")
# Why somebody was skipped or refused: here they tell what they do not as a status.
_REASON_WORDS = squashed("enrolled active paused active_or_paused in_sequence in_progress")
_WORDS = {word: said for said, words in _STATUS_WORDS.items() for word in squashed(words)}
# As flags, `created` and `exists` may speak of the contact, which Meisa creates where it is absent.
_NO_FLAGS = squashed("created new existing existed exists 200 201 202 yes true no false")
_AFFIXES = re.compile(r"(?:num|numberof|count|countof)?(.+?)(?:emails?|addresses|list|count)?")

_TELLING = (
    (
        Said.ALREADY,
        re.compile(
            r"(?<!not )(?<!whether )(?<!if )\b(?:already|currently|still)[\s_-]+(?:been[\s_-]+)?"
            r"(?:enrolled|active|paused|in\b)|\b(?:active|paused) in\b",
            re.IGNORECASE,
        ),
    ),
    (
        Said.SUPPRESSED,
        re.compile(
            r"(?<!not )(?<!whether )(?<!if )(?:\b(?:unsubscribed|suppressed|bounced|complained|opted[\s_-]?out)\b|"
            r"\bon (?:the |a |our )?suppression list)",
            re.IGNORECASE,
        ),
    ),
    (
        Said.INVALID,
        re.compile(
            r"\b(?:invalid|malformed|not a valid|enter a valid)[\s_-]+(?:e-?mail|address|recipient)|"
            r"\be-?mail(?: address)? (?:is |was )?(?:invalid|malformed|not valid)",
            re.IGNORECASE,
        ),
    ),
)


def in_words(said: Said) -> str:
    """Name what a figure counts."""
    return "skipped" if said is Said.SKIPPED else verdict_of(said).value


def read_status(word: str) -> Said:
    """Read a status; a word outside the tables is *unclear* unless it tells of a refusal in plain words."""
    known = _WORDS.get(squash(word))
    if known is None:
        known = Said.LISTED if squash(word) in _SAYS_NOTHING else _told(word) or Said.UNCLEAR
    return known


def read_reason(text: str, said: Said) -> Said:
    """Read what a reason adds to what was said: nothing, unless it is a known code or tells in plain words."""
    word = squash(text)
    if said & (Said.SKIPPED | Said.NO) and word in _REASON_WORDS:
        return Said.ALREADY
    if word in _WORDS:
        return _WORDS[word]
    # "previously suppressed, overridden" beside *enrolled* is a remark, not a contradiction.
    return Said(0) if said & Said.ENROLLED else _told(text)


def read_name(name: str) -> Said | None:
    """Read the name of a list or a count, such as ``enrolled``, ``skipped_emails`` or ``failed_count``."""
    word = squash(name)
    if word in _WORDS:
        return _WORDS[word]
    stem = _AFFIXES.fullmatch(word)
    return _WORDS.get(stem[1]) if stem else None


def read_flag(name: str, *, value: bool) -> Said | None:
    """Read a field such as ``enrolled: true`` or ``success: false``; ``None`` where it is no flag."""
    said = _WORDS.get(squash(name))
    if said is None or squash(name) in _NO_FLAGS:
        return None
    if value:
        return said
    return Said.NO if said & HAPPY else Said(0)


def _told(text: str) -> Said:
    return max((said for said, pattern in _TELLING if pattern.search(text)), default=Said(0))
