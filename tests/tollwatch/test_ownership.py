"""The six package names are common words: what happens when somebody else has one."""

from pathlib import Path

from tollwatch.ownership import PACKAGES, conflict

OURS = {package: ["tollwatch"] for package in PACKAGES}


def test_our_own_packages_are_no_conflict() -> None:
    assert conflict(OURS) is None
    assert conflict({}) is None


def test_another_distribution_is_named() -> None:
    sentence = conflict({**OURS, "proxy": ["tollwatch", "proxy.py"]})

    assert sentence
    assert "'proxy' is also installed by proxy.py" in sentence


def test_a_folder_that_is_found_first_is_named(tmp_path: Path) -> None:
    sentence = conflict(OURS, home=tmp_path)

    assert sentence
    assert f"not in {tmp_path}" in sentence


def test_this_installation_has_no_conflict() -> None:
    assert conflict() is None
