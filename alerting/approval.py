"""A person's word that a prompt, or the definition of a tool, is meant: it is normal from now on, and its alert ends."""

from collections.abc import Sequence
from dataclasses import dataclass

from alerting.alert import Alert
from alerting.baselines import Baseline, Baselines, Part
from alerting.book import AlertBook
from alerting.detectors.prompt_drift import drift_episode
from alerting.detectors.tool_drift import tool_episode
from alerting.finding import AlertKind
from alerting.fingerprint import fingerprint
from alerting.subjects import NOBODY

LEAST_DIGITS = 4
"""Of a fingerprint, that a person must give."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """How a person names a baseline: the first digits of its fingerprint, and where it counts if that is not enough."""

    digits: str
    service: str | None = None
    agent: str | None = None
    """`-`: where no agent is known."""
    tool: str | None = None

    def finds(self, one: Baseline) -> bool:
        """Whether it names this baseline."""
        wanted = ((self.service, one.service), (self.agent, one.agent or NOBODY), (self.tool, one.name if one.part is Part.TOOL else None))
        return one.fingerprint.startswith(self.digits) and all(asked is None or asked == has for asked, has in wanted)


def found(baselines: Sequence[Baseline], named: Named) -> Baseline:
    """Return the one baseline that is named. Raises ValueError when there is none, or several."""
    if len(named.digits) < LEAST_DIGITS:
        raise ValueError(f"{named.digits!r} is too short: give the first {LEAST_DIGITS} digits of a fingerprint or more")
    fit = [one for one in baselines if named.finds(one)]
    if len(fit) == 1:
        return fit[0]
    if not fit:
        raise ValueError(f"{named.digits!r} names no fingerprint that was seen there; `tollwatch baselines ls` shows all")
    places = "; ".join(sorted(told(one) for one in fit[:5]))
    raise ValueError(f"{named.digits!r} names {len(fit)} fingerprints: give --service, --agent or --tool, or more digits ({places})")


def told(one: Baseline) -> str:
    """Return what a baseline is about, in words."""
    what = f"the tool {one.name}" if one.part is Part.TOOL else "the prompt"
    return f"{what} of {one.service}" + (f", agent {one.agent}" if one.agent else "")


def nearest(baselines: Sequence[Baseline], one: Baseline) -> Baseline | None:
    """Return what a person would hold a baseline against: the one of its place that was approved last."""
    others = (other for other in baselines if (other.place, other.name) == (one.place, one.name) and other != one)
    return max((other for other in others if other.approved_at), key=lambda other: other.approved_at or other.first_seen_at, default=None)


async def drifts(book: AlertBook, one: Baseline) -> list[Alert]:
    """Return the alerts that were raised on calls of this fingerprint, newest first."""
    episode, found_ones = _episode(one), list[Alert]()
    page = await book.list(kinds=[AlertKind.PROMPT_DRIFT])
    while page:
        found_ones += [alert for alert in page if alert.fingerprint.partition(":")[0] == episode]
        page = await book.list(kinds=[AlertKind.PROMPT_DRIFT], after=page[-1].seq)
    return found_ones


async def approve(baselines: Baselines, book: AlertBook, named: Named, *, actor: str) -> Baseline:
    """Make what is named normal; the alerts on it end, and its mute. Raises ValueError when it names none, or several."""
    one = await baselines.approve(found(await baselines.all(), named), actor=actor)
    await book.clear(_episode(one))
    for alert in await drifts(book, one):  # where findings are not merged, each call has an alert of its own
        if alert.resolved_at is None:
            await book.clear(alert.fingerprint)
    return one


def _episode(one: Baseline) -> str:
    episode = tool_episode(one.service, one.agent, one.name, one.fingerprint)
    if one.part is Part.PROMPT:
        episode = drift_episode(one.service, one.agent, one.fingerprint)
    return fingerprint(AlertKind.PROMPT_DRIFT, episode)
