"""The two encodings of OpenAI's models, loaded from rank files inside the package: nothing is ever downloaded."""

import base64
import gzip
from functools import cache
from importlib.resources import files
from typing import Literal

import tiktoken

type EncodingName = Literal["o200k_base", "cl100k_base"]

# The pre-tokenizers, as `tiktoken_ext.openai_public` has them.
_PATTERNS: dict[EncodingName, str] = {
    "o200k_base": (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
        r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
    "cl100k_base": (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
    ),
}

_CL100K_MODELS = ("gpt-4-", "gpt-3.5", "gpt-35", "text-embedding-", "davinci-002", "babbage-002")
_EMBEDDING_DEPLOYMENTS = frozenset({"embedding", "embeddings"})
"""Names that people give to an embedding model on Azure; OpenAI's embedding models all have the older encoding."""


def encoding_name(model: str | None) -> EncodingName:
    """Return the encoding of a model; every model that is not known to be older has o200k_base."""
    name = (model or "").lower().rpartition("/")[2].removeprefix("ft:")
    if name == "gpt-4" or name.startswith(_CL100K_MODELS) or name in _EMBEDDING_DEPLOYMENTS:
        return "cl100k_base"
    return "o200k_base"


def rank_file(name: EncodingName) -> bytes:
    """Return the merge ranks of an encoding, one `base64 rank` a line, byte for byte as OpenAI publishes them."""
    return gzip.decompress((files("metering") / "ranks" / f"{name}.tiktoken.gz").read_bytes())


@cache
def encoding(name: EncodingName) -> tiktoken.Encoding:
    """Return an encoding without special tokens (text that looks like one is text); the first time takes a third of a second."""
    ranks = {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in rank_file(name).splitlines())}
    return tiktoken.Encoding(name, pat_str=_PATTERNS[name], mergeable_ranks=ranks, special_tokens={})
