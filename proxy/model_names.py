"""Names of models that can be taken for one model only, and the plain form of those that can be written in two ways."""

import re
import unicodedata
from functools import lru_cache
from typing import Final

from metering.providers.provider import Provider

LONGEST: Final = 256
"""Characters of a model's name: it stands in every row and alert, and no provider has a longer one."""

_LOOK_ALIKE_SCRIPTS: Final = ("CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC", "LISU", "DESERET")
_GOOGLE: Final = frozenset({"gcp.gemini", "gcp.vertex_ai"})
_GOOGLE_PREFIX: Final = re.compile(r"(?:projects/[^/]+/locations/[^/]+/)?(?:publishers/[^/]+/)?models/")
_OLLAMA_PREFIX: Final = re.compile(r"(?:https?://)?(?:registry\.ollama\.ai/)?(?:library/)?", re.IGNORECASE)


def plain(provider: Provider, model: str) -> str:
    """Return the name without what its provider takes off it, so that no rule is dodged by a longer way to write it."""
    if provider.id in _GOOGLE:
        return model[found.end() :] or model if (found := _GOOGLE_PREFIX.match(model)) else model
    if provider.id == "ollama":
        found = _OLLAMA_PREFIX.match(model)
        return (model[found.end() :] if found else model) or model
    return model


@lru_cache(maxsize=1024)
def oddity(model: str) -> str | None:
    """Return why a model's name is not taken, or None."""
    if len(model) > LONGEST:
        return f"The model name {model[:60]!a}… has {len(model):,} characters; at most {LONGEST} are read"
    if not model.isprintable() or model.strip() != model or unicodedata.normalize("NFKC", model) != model:
        return f"The model name {model[:60]!a} has signs that look like others or like none; write it plainly"
    if model[0] == "." or model[-1] == "." or "\\" in model or "/../" in model or "/./" in model:
        return f"The model name {model[:60]!a} has dots or a backslash that some servers take off; write it plainly"
    if not model.isascii() and _mixes_scripts(model):
        return f"The model name {model[:60]!a} mixes letters of two scripts that look alike; write it in one"
    return None


def _mixes_scripts(model: str) -> bool:
    letters = [sign for sign in model if sign.isalpha()]
    return any(sign.isascii() for sign in letters) and any(
        not sign.isascii() and unicodedata.name(sign, "").startswith(_LOOK_ALIKE_SCRIPTS) for sign in letters
    )
