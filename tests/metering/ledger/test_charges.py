"""What a settled call takes of the budgets that held it."""

import pytest

from metering.budgets import Budget
from metering.charges import charge
from metering.holds import Hold
from metering.reading import Reading, Source
from metering.settings import BudgetSettings
from metering.usage import Usage

DOLLARS = Hold(Budget(BudgetSettings(name="usd", limit="1 USD")), 500)
TOKENS = Hold(Budget(BudgetSettings(name="tokens", limit="1000 tokens")), 500)
BOTH = Usage(input_tokens=30, output_tokens=12)
INPUT = Usage(input_tokens=30)
ITERATIONS = Usage(input_tokens=30, output_tokens=12, other_models=(("m", Usage(input_tokens=5, output_tokens=3)),))


@pytest.mark.parametrize(
    ("hold", "reading", "expected"),
    [
        (DOLLARS, Reading(source=Source.PROVIDER_REPORTED, usage=BOTH, cost_nano=77), (77, "settle")),
        (DOLLARS, Reading(source=Source.PROVIDER_PRICED, cost_nano=0), (0, "settle")),
        (DOLLARS, Reading(source=Source.ESTIMATED, usage=BOTH, cost_nano=900), (900, "settle")),
        (DOLLARS, Reading(source=Source.ESTIMATED, usage=BOTH), (500, "charge_unknown")),
        (DOLLARS, Reading(source=Source.UNPRICED, usage=BOTH), (500, "charge_unknown")),
        (DOLLARS, Reading(source=Source.BILLED_UNSEEN), (500, "charge_unknown")),
        (DOLLARS, Reading(source=Source.UNMETERED), (500, "charge_unknown")),
        (DOLLARS, Reading(source=Source.NONE), (0, "release")),
        (TOKENS, Reading(source=Source.PROVIDER_REPORTED, usage=BOTH, cost_nano=77), (42, "settle")),
        (TOKENS, Reading(source=Source.PROVIDER_REPORTED, usage=ITERATIONS), (50, "settle")),
        (TOKENS, Reading(source=Source.PROVIDER_REPORTED, usage=INPUT), (30, "settle")),
        (TOKENS, Reading(source=Source.UNPRICED, usage=BOTH), (42, "settle")),
        (TOKENS, Reading(source=Source.ESTIMATED, usage=INPUT), (500, "charge_unknown")),
        (TOKENS, Reading(source=Source.BILLED_UNSEEN, usage=INPUT), (500, "charge_unknown")),
        (TOKENS, Reading(source=Source.PROVIDER_PRICED, cost_nano=5), (500, "charge_unknown")),
        (TOKENS, Reading(source=Source.NONE, usage=BOTH), (0, "release")),
    ],
)
def test_what_is_known_is_charged_and_what_is_not_costs_its_hold(hold: Hold, reading: Reading, expected: tuple[int, str]) -> None:
    assert charge(hold.budget, hold.amount, reading) == expected
