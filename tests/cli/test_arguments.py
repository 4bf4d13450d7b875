"""The arguments of the commands follow the rules of the operators' parameters, in the same words."""

import pytest

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.cli.__main__ import parser
from airflow_provider_meisa.operators.parameters import PARAMETERS
from tests.support.commands import named_commands

# Any text is accepted; the command reports what is wrong with it when it uses it.
FREE = {"email", "--search", "--resume-file", "--run"}
FILE = ["enroll-file", "a.csv", "--sequence", "onboarding"]


def test_every_argument_follows_a_rule_or_takes_any_text():
    for name, command in named_commands():
        if name == "sandbox":  # its own program reads them
            continue
        for argument in command.arguments:
            if argument.options.get("action") == "store_true" or argument.flags[-1] in FREE:
                continue
            rule = argument.options["type"]
            assert getattr(rule, "parameter", None) in {*PARAMETERS, None}
            assert "choices" not in argument.options


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([*FILE, "--format", "cvs"], "format must be one of: csv, tsv, jsonl, lines, parquet; not the text 'cvs'."),
        ([*FILE, "--max-failed", "1%"], "max_failed must be a number of addresses"),
        ([*FILE, "--max-failed", "inf"], "not inf."),
        ([*FILE, "--encoding", "utf-9"], "encoding must be one that Python knows, not the text 'utf-9'."),
        ([*FILE, "--column", " "], "email_column must be a column's name or its number from 0"),
        ([*FILE, "--conn-id", ""], "meisa_conn_id is empty: give a text."),
        ([*FILE, "-o", "jsn"], "table, json, yaml, plain; not the text 'jsn'. Did you mean 'json'?"),
        (["preview", "a.csv", "--sequence", ""], "sequence_slug is empty"),
        (["preview", "a.csv", "--sequence", "onboarding "], "sequence_slug has white space around it"),
        (["sequences", "--status", "al"], "status must be one of: active, all; not the text 'al'. Did you mean 'all'?"),
    ],
)  # fmt: skip
def test_an_argument_is_refused_in_the_words_of_its_rule(capsys, words, message):
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(words)
    assert ended.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("text", "value"), [("some", "some"), ("1.5", 1.5), ("-1", -1), ("nan", float("nan"))]
)
def test_a_command_and_an_operator_refuse_in_the_same_words(capsys, text, value):
    with pytest.raises(MeisaInputError) as refused:
        PARAMETERS["max_failed"]("max_failed", value)
    with pytest.raises(SystemExit):
        parser().parse_args([*FILE, f"--max-failed={text}"])
    words = str(refused.value).replace("-1.", "-1.0.") if value == -1 else str(refused.value)
    assert words in " ".join(capsys.readouterr().err.split())


def test_nothing_is_read_or_sent_for_a_wrong_argument(meisa, meisa_sandbox, people):
    ended = meisa("enroll-file", people(3), "--sequence", "onboarding", "--yes", "--max-failed", "-0.5")
    assert ended.status == 2
    assert meisa_sandbox.requests() == []
