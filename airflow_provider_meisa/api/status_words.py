"""The words of a response for the outcome of a contact, for single and bulk enrollment.

Meisa documents that contacts already in a sequence are rejected, and that the bulk response details each outcome,
but not the words for it. This module reads two forms:

- *codes*: a status, a flag or the name of a list. The tables have only codes with a clear meaning. Case, spaces,
  hyphens and underscores do not matter.
- *sentences*: a reason. `read_text` reads them.

*Already enrolled* and *suppressed* need proof: the words must describe the contact, not a sequence, a request
or another sequence, and must not be negated.
"""

from __future__ import annotations

import functools
import re
from enum import IntFlag

from airflow_provider_meisa.api.outcomes import OutcomeStatus


class StatusFlag(IntFlag):
    """The statuses that a response gives to an address; it may give several.

    Ordered from good to bad: the last one counts, but a plain *no* or *skipped* gives way to a reason.
    """

    LISTED = 1
    """Listed under a name without a meaning."""
    YES = 2
    """Success, of an unnamed action."""
    CONTACT = 4
    """The contact was created or existed; the enrollment is not mentioned."""
    ENROLLED = 8
    PENDING = 16
    """Accepted for later: queued, accepted, scheduled."""
    UNCLEAR = 32
    """A word outside the tables."""
    ALREADY = 64
    SKIPPED = 128
    """Skipped, without a reason."""
    SUPPRESSED = 256
    INVALID = 512
    NO = 1024
    """Refused, without a reason that has a status of its own."""


REASONED = StatusFlag.ALREADY | StatusFlag.SUPPRESSED | StatusFlag.INVALID
HAPPY = StatusFlag.YES | StatusFlag.ENROLLED
REFUSED = StatusFlag.SKIPPED | StatusFlag.NO
UNPROVEN = StatusFlag.CONTACT | StatusFlag.PENDING

_STATUSES = {
    StatusFlag.LISTED: OutcomeStatus.UNREPORTED,
    StatusFlag.YES: OutcomeStatus.ENROLLED,
    StatusFlag.CONTACT: OutcomeStatus.UNREPORTED,
    StatusFlag.ENROLLED: OutcomeStatus.ENROLLED,
    StatusFlag.PENDING: OutcomeStatus.UNREPORTED,
    StatusFlag.UNCLEAR: OutcomeStatus.UNREPORTED,
    StatusFlag.ALREADY: OutcomeStatus.ALREADY_ENROLLED,
    StatusFlag.SKIPPED: OutcomeStatus.SUPPRESSED,
    StatusFlag.SUPPRESSED: OutcomeStatus.SUPPRESSED,
    StatusFlag.INVALID: OutcomeStatus.INVALID,
    StatusFlag.NO: OutcomeStatus.FAILED,
}


@functools.cache
def resolve(flag: StatusFlag) -> StatusFlag:
    """Reduce all flags of an address to the one that counts.

    In a contradiction the worse one counts, so that *enrolled* is never reported against the response.
    """
    worst = max(one for one in StatusFlag if one & flag)
    if worst in (StatusFlag.SKIPPED, StatusFlag.NO) and flag & REASONED:
        return max(one for one in StatusFlag if one & flag & REASONED)
    return worst


def status_of(counted: StatusFlag) -> OutcomeStatus:
    """Return the status of a flag.

    A plain *skipped* has two documented causes: already enrolled and suppressed. It becomes *suppressed*, which does
    not claim that the contact is in the sequence.
    """
    return _STATUSES[counted]


_NO_LETTERS = re.compile(r"[\W_]+")


def normalize(word: str) -> str:
    """Reduce a word to its letters and digits, in lower case."""
    return _NO_LETTERS.sub("", word).lower()


def normalize_all(words: str) -> frozenset[str]:
    """Normalize each of several words, for a table."""
    return frozenset(map(normalize, words.split()))


# Codes.

_STATUS_WORDS = {
    StatusFlag.YES: "ok okay yes true success successful successfully successes succeeded 200 201",
    StatusFlag.CONTACT: "created new existing exists existed already_exists already_existing updated upserted",
    StatusFlag.ENROLLED: "enrolled enroll newly_enrolled enrolled_now enrolled_new successfully_enrolled "
    "enrolled_successfully enrollment_created enrollments_created created_enrollment created_enrollments "
    "new_enrollment new_enrollments enrolment_created added_to_sequence added_to_the_sequence added inserted",
    StatusFlag.PENDING: "queued enqueued in_queue accepted accept pending scheduled deferred delayed waiting submitted "
    "received processing in_progress in_process being_processed started running background async initiated ongoing "
    "awaiting not_started not_yet_started not_yet_enrolled pending_review asynchronous "
    "to_be_enrolled will_be_enrolled enrolling waitlisted on_hold held 202",
    StatusFlag.ALREADY: "already already_enrolled already_active already_paused already_active_or_paused "
    "already_in_sequence already_in_the_sequence previously_enrolled currently_enrolled still_enrolled "
    "active_enrollment paused_enrollment existing_enrollment existing_enrollments duplicate_enrollment "
    "duplicate_enrollments enrollment_exists enrollment_already_exists already_has_enrollment",
    StatusFlag.SKIPPED: "skipped skip skips ignored omitted excluded noop unchanged",
    StatusFlag.SUPPRESSED: "suppressed suppression unsubscribed unsubscribe bounced bounce bounces hard_bounce "
    "hard_bounced complained complaint complaints complainer spam_complaint opted_out opt_out do_not_contact "
    "do_not_email blocked blocklisted blacklisted on_suppression_list in_suppression_list already_unsubscribed "
    "already_suppressed",
    StatusFlag.INVALID: "invalid invalid_email invalid_emails invalid_address invalid_addresses email_invalid "
    "not_valid bad bad_email bad_address malformed malformed_email invalid_format invalid_email_format "
    "invalid_email_address",
    StatusFlag.NO: "failed fail fails failure failures error errors errored rejected refused denied declined forbidden "
    "not_enrolled never_enrolled unenrolled unsuccessful no false not_found unknown missing nonexistent not_existing "
    "does_not_exist no_such deleted conflict conflicts 400 401 403 404 409 422 429 500 502 503 504",
}
_SAYS_NOTHING = normalize_all("active processed done complete completed finished handled")
# As the reason of a skip or a refusal these are clear; as a status they are not.
_REASON_WORDS = normalize_all("enrolled active_or_paused in_sequence")
# Clear as the status of an address or the name of a list; as a reason they may describe the sequence.
_NO_REASONS = normalize_all("already already_active already_paused")
_WORDS = {word: flag for flag, words in _STATUS_WORDS.items() for word in normalize_all(words)}
_PLAIN_NO = normalize_all(
    "failed fail fails failure failures error errors errored rejected refused denied declined no false not_enrolled"
)
# As flags these are numbers or have no meaning.
_NO_FLAGS = normalize_all("200 201 202 yes true no false")
# Fillers around the code in the name of a list, a count or a flag: `suppressed_emails`, `num_enrolled`, `is_bounced`.
_FILLERS = normalize_all(
    "email emails contact contacts address addresses recipient recipients subscriber subscribers user users person "
    "people member members enrollment enrollments enrolment enrolments item items record records row rows entry "
    "entries result results detail details list lists count counts number num nr of the is are was were has have been "
    "be due to because reason reasons as for"
)
_HUMPS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_LONGEST_CODE = 60
_LONGEST_TEXT = 500


def flag_name(flag: StatusFlag) -> str:
    """Return the name of a flag, for a message."""
    special = {StatusFlag.SKIPPED: "skipped", StatusFlag.PENDING: "pending", StatusFlag.CONTACT: "contacts"}
    return special.get(flag) or status_of(flag).value


def core_of(name: str) -> str:
    """Return the core of a code, without fillers and *skipped*: ``not found`` of ``skippedNotFoundEmails``."""
    words = _core(name)
    part = _refused_part(words)
    return " ".join(part or words) or name


@functools.lru_cache(maxsize=1024)
def read_code(name: str) -> StatusFlag | None:
    """Read a status, or the name of a list, a count or a flag; ``None`` if it is not known."""
    known = _WORDS.get(normalize(name))
    if known is not None or len(name) > _LONGEST_CODE:
        return known
    words = _words(name)
    core = [word for word in words if word not in _FILLERS]
    if len(core) == len(words) and len(words) == 1:
        return None
    while words and words[-1] in _FILLERS:
        words.pop()
        if known := _WORDS.get("".join(words)):
            return known
    if known := _WORDS.get("".join(core)):
        return known
    part = _refused_part(core)
    return (StatusFlag.SKIPPED if "skipped" in core else StatusFlag.NO) | _reason_code(part) if part else None


def read_status(word: str) -> StatusFlag:
    """Read a status; a word outside the tables is *unclear* unless it is a refusal in plain words."""
    known = read_code(word)
    if known is None:
        known = (
            StatusFlag.LISTED if normalize(word) in _SAYS_NOTHING else read_text(word) or StatusFlag.UNCLEAR
        )
    return known


def read_reason(text: str, flag: StatusFlag) -> StatusFlag:
    """Read what a reason adds to a flag: nothing, unless it is a known code or a clear sentence."""
    if flag & REFUSED and normalize(text) in _REASON_WORDS:
        return StatusFlag.ALREADY
    known = _WORDS.get(normalize(text)) if " " in text.strip() else read_code(text)
    if known is not None and normalize(text) not in _NO_REASONS:
        return known
    # "previously suppressed, overridden" with *enrolled* is a remark, not a contradiction.
    if flag & StatusFlag.ENROLLED:
        return StatusFlag(0)
    return read_text(text, refused=bool(flag & REFUSED)) or (
        StatusFlag.NO if is_denial(text) else StatusFlag(0)
    )


def read_flag(name: str, *, value: bool) -> StatusFlag | None:
    """Read a field such as ``enrolled: true`` or ``success: false``; ``None`` if it is not a flag."""
    flag = read_code(name)
    if flag is None or normalize(name) in _NO_FLAGS:
        return None
    if value:
        return flag
    return StatusFlag.NO if flag & HAPPY else StatusFlag(0)


def is_plain_no(word: str) -> bool:
    """Return whether a code is a plain *no* without a reason."""
    return normalize(word) in _PLAIN_NO or "".join(_core(word)) in _PLAIN_NO


def _words(name: str) -> list[str]:
    return _NO_LETTERS.sub(" ", _HUMPS.sub(" ", name)).lower().split()


def _core(name: str) -> list[str]:
    return [word for word in _words(name) if word not in _FILLERS]


def _refused_part(words: list[str]) -> list[str]:
    """Return the reason in a code such as ``skipped already enrolled`` or ``bounced skipped``."""
    for sign in ("skipped", "failed", "rejected", "refused", "error"):
        for part in (words[1:], words[:-1]):
            if sign in words and sign not in part and _reason_code(part):
                return part
    return []


def _reason_code(words: list[str]) -> StatusFlag:
    code = "".join(words)
    return (
        StatusFlag.ALREADY
        if code in _REASON_WORDS
        else _WORDS.get(code, StatusFlag(0)) & (REASONED | StatusFlag.NO)
    )


# Sentences. A text is split into sentences and clauses. A clause is proof if it has words of proof, they are not
# negated, the last noun before them is the contact, and no word in the clause refers to something else.

_CONTACT = "contact|recipient|subscriber|user|person|customer|lead|member|email|address|enrollment|it|they"
_OTHER = (
    "sequence|campaign|workflow|automation|flow|journey|request|job|task|batch|import|operation|limit|quota|key|token|"
    "account|workspace|domain|product|environment|slug|step|template|trigger|endpoint|server|service|message|error"
)
_SUBJECT = re.compile(rf"\b(?:({_CONTACT})|({_OTHER}))(?:s|es)?\b")
_SEQUENCE = "(?:sequence|campaign|workflow|automation|flow|journey)"
_THE = rf"(?:(?:(?:this|that|the|a|your|its) )?(?:\w+ )?{_SEQUENCE}|it)"
_ADVERB = "(?:already|currently|still|presently|previously)"
_IN = "(?:in|to|on|into|part of|a member of|inside|within)"
_STATE = "(?:active|paused)(?: (?:or|and) (?:active|paused))?"

_ALREADY = re.compile(
    "|".join(
        (
            rf"\b{_ADVERB} (?:been |be |actively |an? )?(?:re)?enrolled\b",
            rf"\b(?:enrolled|{_IN} (?:this|the) {_SEQUENCE}) (?:\w+ ){{0,4}}already\b",
            rf"\b{_ADVERB} (?:been )?(?:an? )?(?:(?:{_STATE}|present|exists|added|subscribed) )?{_IN} {_THE}\b",
            rf"\b{_ADVERB} {_STATE} {_IN}\b",
            rf"\b{_ADVERB} (?:active or paused|paused or active)\b",
            rf"\b(?:contact|recipient|subscriber|user|person|email|address|enrollment)\b[^.]*\b{_ADVERB} {_STATE}\b",
            rf"\b(?:{_STATE}|existing|duplicate|open|ongoing) enrollment\b",
            r"\benrollment\b[^.]*\b(?:already (?:exists?|active|paused|present)|exists)\b",
            r"\balready has (?:an? |the )?(?:\w+ )?enrollment\b",
        )
    )
)
_IN_IT = re.compile(rf"\b(?:is|are|was) (?:{_STATE}|enrolled) {_IN}\b")
"""Without an adverb it is proof only in a refusal."""
_UNIQUE = re.compile(
    r"(?=.*\b(?:unique|duplicate (?:key|entry))\b)(?=.*\b(?:contact|email|subscriber)\b)(?=.*\bsequence\b)"
    r"|(?=.*\b(?:contact|email|subscriber)\b.*\balready exists\b)(?=.*\bsequence\b.*\balready exists\b)"
)
_NOT_UNIQUE = re.compile(r"\b(?:request|idempotency|name|title|not|no|never|if|whether|unless)\b")
_SUPPRESSED = re.compile(
    r"\b(?:unsubscribed|suppressed|bounced|complained|blocklisted|blacklisted|opted out|hard bounce|spam complaint)\b"
    r"|\b(?:on|in) (?:\w+ ){0,2}(?:suppressions?|unsubscribed?|do not (?:contact|email|mail)|block|opt out) ?list"
)
_INVALID = re.compile(
    r"\b(?:invalid|malformed|not a valid|enter a valid) (?:email|address|recipient)\b"
    r"|\b(?:email|address)(?: address)? (?:is |was )?(?:invalid|malformed|not valid|not a valid)\b"
)
_PENDING = re.compile(
    r"\b(?:enrollment|enroll|job|task|request|import|batch|contact|they|it)s? "
    r"(?:(?:has|have|been|is|was|are|were|will|be|successfully|now|also|for|this|the|still|processing) ){0,3}"
    r"(?:queued|enqueued|scheduled|started|accepted|pending|submitted|in progress|being processed|being enrolled|"
    r"in the background)\b"
    r"|\bwill be (?:enrolled|processed|added)\b|\bqueued for\b"
    r"|^(?:queued|accepted|scheduled|pending|processing|submitted)$"
)
# Another sequence, a limit or a finished enrollment: anywhere in a clause, these prove nothing about this enrollment.
_VETO = re.compile(
    r"\b(?:another|other|others|different|limits?|maximum|max|quota|capacity|number|some|many|several|multiple|most|"
    r"required|requires|requests?|sequences|campaigns|workflows|a sequence|any sequence|past|"
    r"jobs?|task|import|operation|token|rate|domain|idempotency)\b"
    r"|(?<!not )(?<!not yet )(?<!never )(?<!nor )\b(?:completed?|finished|exited|removed|unenrolled|withdrawn|left|"
    r"ended|expired|deleted|cancell?ed|archived|processed|failed)\b"
)
_DENIED = re.compile(
    r"\b(?:not|no|never|neither|nor|without|whether|if|unless|until|must|should|shall|need|needs|have to|has to|only|"
    r"could|might|may|would|hardly|check|checking|unable)\b"
)
# After a negated request, the rest of the sentence is the reason: "cannot enroll a contact already in the sequence".
_CALL_FAILED = re.compile(
    r"\b(?:can|could|will|would|was|were|is|are|has|have|had|did|do|does|may|must|shall|should|unable|failed|refused|"
    r"refusing|impossible) (?:not|never|to) (?:to )?(?:be |been |get )?"
    r"(?:re)?(?:enroll|enrolled|add|added|process|processed)\b(?: again| twice)?"
)
_CLAUSES = re.compile(
    r"[.;:!?,()\[\]{}|\n\r\u2013\u2014/]+|\s-+\s"
    r"|\b(?:because|since|but|however|although|while|and so|so|due to|reason)\b"
    r"|\bas(?= (?:it|the|this|contact|they|already)\b)"
)
_SENTENCES = re.compile(r"[.;!?|\n\r]+(?:\s|$)")
_QUOTED = re.compile(r"\"[^\"]*\"|(?<!\w)'[^']*'|`[^`]*`|\u201c[^\u201d]*\u201d|<[^<>]*>")
_NOT = re.compile(
    r"\b(is|was|are|were|has|have|had|does|do|did|could|would|should|must|ca|wo)n(?:'|\u2019)?t\b"
)
_OVERRIDDEN = re.compile(r"\boverr(?:idden|iding|ode)\b|\boverride (?:is |was )?(?:applied|used|set|on)\b")
_DISCLAIMED = re.compile(r"[:=]\s*(?:false|no|0|none|null)\b")
_UNDONE = re.compile(
    r"\bnot (?:yet |been |currently )*(?:enrolled|added)\b|\bno (?:one|contacts?|emails?|enrollments?)\b"
    r"|\benrollment (?:has |was |is )?(?:failed|rejected|refused|skipped|not)\b"
    r"|\bsequence (?:is|was) (?:already )?(?:not|inactive|paused|archived|a draft|draft)\b"
)
_CUT = "\u2026"


def read_text(text: str, *, refused: bool = True) -> StatusFlag:
    """Read what a sentence means for a contact: already enrolled, suppressed, invalid, or nothing known.

    :param refused: whether it is the reason of a refusal; there "is enrolled in" means an earlier enrollment.
    """
    flag = StatusFlag(0)
    for sentence in _SENTENCES.split(_plain(text)):
        if sentence.endswith(_CUT) or _OVERRIDDEN.search(sentence) or _DISCLAIMED.search(sentence):
            continue
        if _INVALID.search(sentence):
            flag |= StatusFlag.INVALID
        if _breaks_unique(sentence):
            flag |= StatusFlag.ALREADY
        for clause in _CLAUSES.split(_CALL_FAILED.sub(",", sentence)):
            flag |= _read_clause(" ".join(clause.split()), refused=refused)
    return max((one for one in REASONED if one & flag), default=StatusFlag(0))


def is_pending(text: str) -> bool:
    """Return whether a sentence means that the work is not done yet."""
    plain = _plain(text)
    return any(
        found and not _DENIED.search(found[0]) for found in map(_PENDING.search, _SENTENCES.split(plain))
    )


def is_denial(text: str) -> bool:
    """Return whether a sentence means that the contact was not enrolled."""
    plain = _plain(text)
    return bool(_UNDONE.search(plain) or _CALL_FAILED.search(plain))


def _plain(text: str) -> str:
    """Return a text in lower case, without quotations and with negations written out."""
    text = text.strip()
    text = text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + _CUT
    plain = text[1:-1] if _QUOTED.fullmatch(text) else _QUOTED.sub(_quoted, text)
    plain = (plain if " " in plain else _HUMPS.sub(" ", plain)).lower()
    plain = re.sub(r"\be-?mail", "email", plain)
    plain = re.sub(r"\b(re-?)?enrol(?=ed|ment)", r"\1enroll", plain)
    plain = _NOT.sub(r"\1 not", plain).replace("cannot", "can not").replace("ca not", "can not")
    return re.sub(r"(?<=\w)[-_]+(?=\w)", " ", plain)


def _quoted(found: re.Match[str]) -> str:
    return "contact" if found[0] == "<address>" else "quoted"


def _breaks_unique(sentence: str) -> bool:
    """Return whether a sentence is an error of Django or a database about a second enrollment in one sequence."""
    return bool(_UNIQUE.match(sentence)) and not _NOT_UNIQUE.search(sentence)


def _read_clause(clause: str, *, refused: bool) -> StatusFlag:
    flag = StatusFlag(0)
    found = _ALREADY.search(clause) or (_IN_IT.search(clause) if refused else None)
    if found and not _VETO.search(clause) and _is_about_contact(clause, found):
        flag |= StatusFlag.ALREADY
    found = _SUPPRESSED.search(clause)
    if found and _is_about_contact(clause, found):
        flag |= StatusFlag.SUPPRESSED
    return flag


def _is_about_contact(clause: str, found: re.Match[str]) -> bool:
    """Return whether the words describe the contact, and are not negated."""
    before = clause[: found.start()]
    if _DENIED.search(before) or _DENIED.search(found[0].replace("do not", "")):
        return False
    subjects = list(_SUBJECT.finditer(before))
    return not subjects or subjects[-1][1] is not None
