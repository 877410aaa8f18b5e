"""What a fresh machine needs once: the data directory, the key for fingerprints, the organisation's id, the setup code."""

import os
import secrets
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

KEY_FILE: Final = "fingerprint.key"
ORGANIZATION_FILE: Final = "organization"
SETUP_CODE_FILE: Final = "setup-code"


class FirstStartError(Exception):
    """The data directory cannot serve; the message says what was attempted and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """What belongs to this machine. `setup_code` is None once a password was set."""

    data_dir: Path
    key: bytes
    org_id: UUID
    setup_code: str | None
    fresh: bool
    """Whether this was the first start."""


class SetupCodeFile:
    """The one-time code that sets the first password of the API."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / SETUP_CODE_FILE

    def read(self) -> str | None:
        """Return the code, None when it is used up."""
        return _private_text(self._path) if self._path.exists() else None

    def consume(self) -> None:
        """Make the code useless."""
        self._path.unlink(missing_ok=True)

    def renew(self) -> str:
        """Make a new code, which lets a password be set once more."""
        self.consume()
        return _kept(self._path, _new_code)


def first_start(data_dir: Path, *, org_id: UUID | None = None) -> Installation:
    """Make what is missing and return the whole; what is there stays as it is, so that running it again changes nothing."""
    prepare_folder(data_dir)
    fresh = not any((data_dir / name).exists() for name in (KEY_FILE, ORGANIZATION_FILE))  # a key that was deleted is made anew, no more
    key = bytes.fromhex(_kept(data_dir / KEY_FILE, lambda: secrets.token_hex(32)))
    kept_id = _kept(data_dir / ORGANIZATION_FILE, lambda: str(uuid4()))
    if fresh:
        _kept(data_dir / SETUP_CODE_FILE, _new_code)
    return Installation(
        data_dir=data_dir,
        key=key,
        org_id=org_id or UUID(kept_id),
        setup_code=SetupCodeFile(data_dir).read(),
        fresh=fresh,
    )


def _new_code() -> str:
    return secrets.token_urlsafe(12)


def prepare_folder(data_dir: Path) -> None:
    """Make the data directory, 0700, or raise with the remedy."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = data_dir.stat()
        if found.st_uid != os.getuid():
            raise FirstStartError(
                f"The data directory {data_dir} belongs to user {found.st_uid}, not to {os.getuid()}: run as its owner, or set another"
            )
        if stat.S_IMODE(found.st_mode) & 0o077:
            data_dir.chmod(0o700)
        probe = data_dir / f".writable-{os.getpid()}"
        probe.touch(mode=0o600)
        probe.unlink()
    except OSError as error:
        raise FirstStartError(
            f"Cannot use the data directory {data_dir}: {error.strerror}. Make it a writable folder, or set data_dir to another"
        ) from error


def _kept(path: Path, make: Callable[[], str]) -> str:
    if not path.exists():
        _create(path, make())
    return _private_text(path)


def _create(path: Path, text: str) -> None:
    """Write a 0600 file that is never seen half-written; when another start was quicker, what it wrote counts."""
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(f"{text}\n")
        file.flush()
        os.fsync(descriptor)
    with suppress(FileExistsError):
        os.link(temporary, path)
    temporary.unlink()


def _private_text(path: Path) -> str:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise FirstStartError(
            f"{path} can be read by others (mode {mode:04o}): run `chmod 600 {path}`, or delete it if others may have read it"
        )
    text = path.read_text(encoding="ascii").strip()
    if not text:
        raise FirstStartError(f"{path} is empty: delete it, and the next start makes it anew")
    return text
