"""Why the gateway itself does not take a request."""

from dataclasses import dataclass

from alerting.finding import Refusal


@dataclass(frozen=True, slots=True)
class Rejected:
    """Why a request has no single meaning, or is not read."""

    refusal: Refusal
    message: str
