class error(Exception): ...  # noqa: N801, N818  # its name there

class Options:
    log_errors: bool
    max_mem: int

class Match:
    def start(self, group: int = ...) -> int: ...
    def group(self, group: int = ...) -> bytes: ...

class Pattern:
    groups: int
    def search(self, text: bytes, pos: int = ...) -> Match | None: ...
    def fullmatch(self, text: str) -> Match | None: ...

class Set:
    @classmethod
    def SearchSet(cls, options: Options | None = ...) -> Set: ...  # noqa: N802  # the same
    def Add(self, pattern: str) -> int: ...  # noqa: N802  # the same
    def Compile(self) -> None: ...  # noqa: N802  # the same
    def Match(self, text: bytes) -> list[int] | None: ...  # noqa: N802  # the same

def compile(pattern: str, options: Options | None = ...) -> Pattern: ...  # noqa: A001  # the same
