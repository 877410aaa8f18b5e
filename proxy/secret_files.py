"""Files and folders that only their owner may read."""

import os
import stat
from pathlib import Path


class CaModesError(PermissionError):
    """A key or its folder is open to others. The message names the path, its mode and the remedy."""

    def __init__(self, path: Path, mode: int, remedy: str) -> None:
        super().__init__(
            f"Refusing to use {path}: its mode is {mode:04o}, so others could read the key of the certificate authority; run: {remedy}"
        )
        self.path = path
        self.mode = mode
        self.remedy = remedy


def make_folder(path: Path) -> None:
    """Create a 0700 folder whatever the umask, or leave the one that is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        return
    path.chmod(0o700)


def write(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace a file at once and durably; at no moment is it readable by others (unless `mode` says so)."""
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        os.fchmod(descriptor, mode)
        file.flush()
        os.fsync(descriptor)
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def check(path: Path) -> None:
    """Raise CaModesError when others may read `path`, or when it is somebody else's."""
    status = path.lstat()
    mode = stat.S_IMODE(status.st_mode)
    wanted = "0700" if stat.S_ISDIR(status.st_mode) else "0600"
    if stat.S_ISLNK(status.st_mode):
        raise CaModesError(path, mode, f"rm {path}   (it is a link; the key must be a file)")
    if status.st_uid != os.geteuid():
        raise CaModesError(path, mode, f"chown {os.geteuid()} {path} && chmod {wanted} {path}   (its owner is {status.st_uid})")
    if mode & 0o077:
        raise CaModesError(path, mode, f"chmod {wanted} {path}")
