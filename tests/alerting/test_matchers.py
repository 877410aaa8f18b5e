"""Matchers mean what Prometheus means by them."""

import pytest

from alerting.finding import AlertKind, Severity, Subject
from alerting.labels import label_hash, labels
from alerting.matchers import Matcher, MatchOperator, operator_of, parse_matcher

ANN = {"user": "ann", "kind": "prompt_size"}


@pytest.mark.parametrize(
    ("text", "meets"),
    [
        ("user=ann", True),
        ('user="ann"', True),
        ("user=an", False),
        ("user!=ann", False),
        ("user!=bob", True),
        ("user=~an.", True),
        ("user=~an", False),  # a pattern must match the whole
        ("user=~a|ann", True),
        ("user=~x|bob", False),
        ("user!~an.", False),
        ("user!~an", True),
        ("agent=", True),  # a missing label is empty
        ("agent!=", False),
        ("agent=~.*", True),
        ("agent=~.+", False),
        ("  kind  =  prompt_size  ", True),
    ],
)
def test_a_matcher_matches(text: str, *, meets: bool) -> None:
    assert parse_matcher(text).matches(ANN) is meets


@pytest.mark.parametrize("value", ['say "hi"', "back\\slash", "two\nlines", "", "plain", "ends with \\", " spaced ", "\\n"])
def test_what_a_matcher_prints_reads_back(value: str) -> None:
    matcher = Matcher(name="user", operator=MatchOperator.NOT_EQUAL, value=value)

    assert parse_matcher(str(matcher)) == matcher


def test_what_is_no_escape_stands_for_itself() -> None:
    assert parse_matcher(r"user=~\d+\.x").value == r"\d+\.x"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("user", "write name=value"),
        ("=ann", "write name=value"),
        ("us-er=ann", "write name=value"),
        ('user="ann', "not escaped"),
        ('user="', "not escaped"),
        ('user=an"n', "not escaped"),
        ('user="a"b"', "not escaped"),
        ('user="ann\\"', "no closing quote"),
        ("user=~(", "RE2"),
        ("user=~(?=a)", "RE2"),
        ("user=~(a)\\1", "RE2"),
        (f"user={'a' * 1001}", "1,000 at most"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_the_remedy(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_matcher(text)


def test_the_operator_of_two_flags_has_these_flags() -> None:
    for operator in MatchOperator:
        assert operator_of(is_equal=operator.is_equal, is_regex=operator.is_regex) is operator


def test_the_labels_are_those_that_the_alert_has() -> None:
    subject = Subject(service="openai", user="ann", agent="")

    shown = labels(kind=AlertKind.PROMPT_SIZE, severity=Severity.HIGH, subject=subject, fingerprint="f")

    assert shown == {
        "alertname": "prompt_size",
        "kind": "prompt_size",
        "severity": "high",
        "service": "openai",
        "user": "ann",
        "fingerprint": "f",
    }


def test_labels_are_named_as_alertmanager_names_them() -> None:
    # As Alertmanager 0.25 answered for these labels.
    assert label_hash({"user": "ann", "alertname": "foo", "service": "openai"}) == "7e781a066f73f0ab"
