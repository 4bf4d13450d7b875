"""Files of another shape, given to `preview` and `enroll-file`: one sentence, and nothing is sent."""

import gzip
import json

import pytest

INTO = ("--sequence", "onboarding")
SWALLOWING = (
    "id,name,email\n"
    + "".join(f"{n},x,p{n}@example.com\n" for n in range(600))
    + '600,"x,p600@example.com\n601,x",p601@example.com\n'
)


@pytest.mark.parametrize("command", [("preview",), ("enroll-file", "--yes")], ids=lambda words: words[0])
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("people.csv", SWALLOWING, "line 602: the quote that opens here takes in what looks like other rows"),
        ("people.csv", 'id,email\n1,"p1@example.com\n', "line 2: the quote that opens here is not closed"),
        ("people.csv", "id,mail\n1,p1@example.com\n", "it has: id, mail."),
        ("people.tsv", "id;email\n1;p1@example.com\n", "set delimiter"),
        ("people.txt", "id,email\n1,p1@example.com\n", "set format to 'csv'"),
        (
            "people.txt",
            gzip.compress(gzip.compress(b"p1@example.com\n", mtime=0), mtime=0),
            "it is gzip within gzip. Decompress it once",
        ),
        ("people.csv", "<html><body>Sign in</body></html>", "an HTML or XML page"),
        ("people.jsonl", '{"email": 7}\n', "line 1: email_column holds a number, not a text"),
    ],
)
def test_file_of_another_shape_sends_nothing(meisa, meisa_sandbox, file, command, name, content, message):
    ended = meisa(*command, file(name, content), *INTO)
    assert ended.status == 2
    assert message in ended.err
    assert "@example.com" not in ended.err
    assert ended.err.count("\n") == 1
    assert not [one for one in meisa_sandbox.requests() if "bulk-enroll" in one["path"]]


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("people.csv", "id;email\n1;p1@example.com\n", ()),
        ("people.csv", "sep=;\nid;email\n1;p1@example.com\n", ()),
        ("people.csv", "contact\np1@example.com\n", ()),
        ("people.data", "id\temail\n1\tp1@example.com\n", ("--format", "csv", "--delimiter", r"\t")),
        ("people.csv", "id~email\n1~p1@example.com\n", ("--delimiter", "~")),
        ("people.tsv", 'id\temail\n1\t"p1@example.com"\n', ("--quoting", "standard")),
        ("people.csv", 'note,email\n"x,p1@example.com\n', ("--quoting", "none")),
        ("people.jsonl", json.dumps([{"id": 1, "email": "p1@example.com"}], indent=1), ()),
    ],
)
def test_file_is_read_as_it_is_described(meisa, meisa_sandbox, file, name, content, options):
    ended = meisa("enroll-file", file(name, content), *INTO, "--yes", *options)
    assert ended.status == 0
    assert [row["email"] for row in meisa_sandbox.enrollments("onboarding")] == ["p1@example.com"]


@pytest.mark.parametrize("options", [("--delimiter", "||"), ("--delimiter", "x"), ("--quoting", "all")])
def test_option_that_cannot_be_used_is_refused(meisa, meisa_sandbox, file, options):
    ended = meisa("enroll-file", file("people.csv", "email\np1@example.com\n"), *INTO, "--yes", *options)
    assert ended.status == 2
    assert meisa_sandbox.requests() == []
