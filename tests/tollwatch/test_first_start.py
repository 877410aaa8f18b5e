"""What a fresh machine gets once."""

import os
import stat
from pathlib import Path
from uuid import uuid4

import pytest

from tollwatch.first_start import FirstStartError, SetupCodeFile, first_start


@pytest.fixture(autouse=True)
def _loose_umask() -> object:
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_everything_is_private_whatever_the_umask(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "data"

    made = first_start(folder)

    assert mode(folder) == 0o700
    assert {mode(path) for path in folder.iterdir()} == {0o600}
    assert made.fresh
    assert len(made.key) == 32


def test_a_second_start_changes_nothing(tmp_path: Path) -> None:
    first = first_start(tmp_path / "data")
    again = first_start(tmp_path / "data")

    assert (again.key, again.org_id, again.setup_code) == (first.key, first.org_id, first.setup_code)
    assert not again.fresh


def test_a_used_setup_code_does_not_come_back(tmp_path: Path) -> None:
    code = SetupCodeFile(tmp_path / "data")
    first = first_start(tmp_path / "data")
    assert code.read() == first.setup_code

    code.consume()

    assert first_start(tmp_path / "data").setup_code is None


def test_a_key_made_anew_brings_no_setup_code_back(tmp_path: Path) -> None:
    first = first_start(tmp_path / "data")
    SetupCodeFile(tmp_path / "data").consume()
    (tmp_path / "data" / "fingerprint.key").unlink()

    again = first_start(tmp_path / "data")

    assert again.key != first.key
    assert (again.setup_code, again.fresh) == (None, False)


def test_the_configs_organisation_counts(tmp_path: Path) -> None:
    wanted = uuid4()

    assert first_start(tmp_path / "data", org_id=wanted).org_id == wanted


def test_a_loose_folder_is_closed(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o755)

    first_start(folder)

    assert mode(folder) == 0o700


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    first_start(tmp_path / "data")
    (tmp_path / "data" / "fingerprint.key").chmod(0o644)

    with pytest.raises(FirstStartError, match="chmod 600"):
        first_start(tmp_path / "data")


def test_an_empty_key_is_refused(tmp_path: Path) -> None:
    first_start(tmp_path / "data")
    (tmp_path / "data" / "fingerprint.key").write_text("")

    with pytest.raises(FirstStartError, match="is empty"):
        first_start(tmp_path / "data")


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")

    with pytest.raises(FirstStartError, match=r"Cannot use the data directory .*data: File exists"):
        first_start(tmp_path / "data")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_another_users_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    os.chown(folder, 12345, -1)

    with pytest.raises(FirstStartError, match="belongs to user 12345"):
        first_start(folder)
