"""The owner of a connection on this machine: Linux tells in /proc which user and which program hold its other end."""

import os
import pwd
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

PROC = Path("/proc")
_DELETED = " (deleted)"
_MAPPED = IPv6Address("::ffff:0:0")

type Address = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Who holds a socket; unknown is None. `process` is the file name of the program."""

    user: str | None = None
    process: str | None = None
    pid: int | None = None


def is_supported() -> bool:
    """Whether this system has what `owner_of` reads."""
    return sys.platform == "linux" and (PROC / "net" / "tcp").exists()


def owner_of(client: Address, server: Address, *, program: bool = True, proc: Path = PROC) -> Owner:
    """Return who holds the client's end of a connection between two addresses of this machine.

    The user is the kernel's word. The program is looked for among the processes that this one may look into (its own user's; root: all),
    which takes some ms with many of them; `program` says whether to.
    """
    row = _row(client, server, proc)
    if row is None:
        return Owner()
    uid, inode = row
    pid = _holder(inode, proc) if program else None
    return Owner(user=_user(uid), process=None if pid is None else _program(pid, proc), pid=pid)


def _row(client: Address, server: Address, proc: Path) -> tuple[int, int] | None:
    """Return the uid and the inode of the client's socket."""
    for table, wanted in wanted_rows(client, server):
        with suppress(OSError), (proc / "net" / table).open("rb") as lines:
            for line in lines:
                if wanted not in line:
                    continue
                fields = line.split()
                if fields[1] + b" " + fields[2] == wanted and (inode := int(fields[9])):
                    return int(fields[7]), inode
    return None


def wanted_rows(client: Address, server: Address) -> Iterator[tuple[str, bytes]]:
    """Yield each table that may hold the client's socket, and the two addresses as it writes them."""
    here, there = ip_address(client[0]), ip_address(server[0])
    if isinstance(here, IPv4Address) and isinstance(there, IPv4Address):
        yield "tcp", b"%b %b" % (_written(here, client[1]), _written(there, server[1]))
        here, there = (IPv6Address(int(_MAPPED) | int(address)) for address in (here, there))
    yield "tcp6", b"%b %b" % (_written(here, client[1]), _written(there, server[1]))


def _written(address: IPv4Address | IPv6Address, port: int) -> bytes:
    """Return an address as /proc/net writes it: each 32 bits of it as a number of this machine."""
    words = struct.unpack(f"={len(address.packed) // 4}I", address.packed)
    return b"".join(b"%08X" % word for word in words) + b":%04X" % port


def _holder(inode: int, proc: Path) -> int | None:
    """Return the lowest id of the processes that hold a socket; a socket is inherited by forks."""
    target = f"socket:[{inode}]"
    pids = sorted(int(entry.name) for entry in os.scandir(proc) if entry.name.isdecimal())
    return next((pid for pid in pids if _holds(proc / str(pid) / "fd", target)), None)


def _holds(folder: Path, target: str) -> bool:
    with suppress(OSError), os.scandir(folder) as files:
        for file in files:
            with suppress(OSError):
                if os.readlink(file.path) == target:  # noqa: PTH115  # some thousand of them
                    return True
    return False


def _program(pid: int, proc: Path) -> str | None:
    try:
        path = os.readlink(proc / str(pid) / "exe")  # noqa: PTH115  # as text: it may end with what is no part of a path
    except OSError:
        return None
    return Path(path.removesuffix(_DELETED)).name or None


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid:{uid}"
