"""The policy in force, asked of each call, and what it decided counted."""

import asyncio

from alerting.finding import Action, Refusal
from alerting.policy import Decision, Policy
from alerting.rule import Unknown
from alerting.rule_counts import RuleCounts
from alerting.texts import IN_THREAD_FROM, Scan
from alerting.trial import Trial
from alerting.violation import violation


class Policing:
    """Asks the rules. `rules` may be put in place of others at any time; a call is judged by those that it met."""

    def __init__(self, rules: Policy, counts: RuleCounts) -> None:
        self.rules = rules
        self._counts = counts

    async def check(self, trial: Trial) -> None:
        """Judge a call."""
        rules, scan = self.rules, None
        decision = rules.decide(trial.call, tokens=trial.size.best, exact=trial.size.exact is not None)
        if decision.unknown is not None:
            decision, scan = await _found_out(rules, trial, decision)
        if decision.tally is not None:
            self._counts.add(decision.tally, decision.position, trial.call.started_at)
        if decision.rule is None:
            return
        trial.rule_id = decision.rule.id
        if decision.action is not Action.ALLOW:
            trial.hear(violation(trial.call, decision.rule, tokens=trial.size.best, counted=trial.size.exact, scan=scan), Refusal.POLICY)


async def _found_out(rules: Policy, trial: Trial, decision: Decision) -> tuple[Decision, Scan | None]:
    """Find out what the rules must know of a prompt, one thing after the other, and only what can change the decision."""
    scan = None
    while decision.unknown is not None:
        if decision.unknown is Unknown.TOKENS:
            await trial.size.count()
        elif rules.scanner is not None:
            prompt = trial.call.prompt
            long = prompt.chars + len(prompt.tools) >= IN_THREAD_FROM
            scan = await asyncio.to_thread(rules.scanner.scan, prompt) if long else rules.scanner.scan(prompt)
        decision = rules.decide(trial.call, tokens=trial.size.best, exact=trial.size.exact is not None, scan=scan)
    return decision, scan
