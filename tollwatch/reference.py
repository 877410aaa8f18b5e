"""What each key means, as the commented example says it: the one place where the keys are explained."""

import re
from pathlib import Path
from typing import Final

_KEY: Final = re.compile(r"^(?P<indent> *)(?P<item>- )?(?P<key>[a-z_][a-z0-9_]*):")
_PLACES: Final = (Path(__file__).with_name("config.example.yaml"), Path(__file__).parents[1] / "config.example.yaml")


def example() -> str:
    """Return the commented example: beside this module when installed, at the root of a work tree."""
    return next(place for place in _PLACES if place.is_file()).read_text(encoding="utf-8")


def explanations() -> dict[tuple[str, ...], str]:
    """Return the comment above each key of the example, by the key's path (list positions left out)."""
    found: dict[tuple[str, ...], str] = {}
    stack: list[tuple[int, str]] = []
    comment: list[str] = []
    for text in example().splitlines():
        if text.lstrip().startswith("#"):
            comment.append(text.lstrip()[1:].strip())
            continue
        if match := _KEY.match(text):
            indent = len(match["indent"]) + (2 if match["item"] else 0)
            stack = [(depth, key) for depth, key in stack if depth < indent]
            stack.append((indent, match["key"]))
            found.setdefault(tuple(key for _, key in stack), " ".join(comment))
        comment = []
    return found


def explanation(path: tuple[str, ...]) -> str:
    """Return what a key means; the fields of a scope or a match are explained at the scope or match."""
    known = explanations()
    return next((known[path[:length]] for length in range(len(path), 0, -1) if known.get(path[:length])), "")
