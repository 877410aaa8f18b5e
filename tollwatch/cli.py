"""The command line: what can be asked; each answer lives in tollwatch.commands and is imported only when asked."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from tollwatch.alert_arguments import alert_arguments, channel_arguments, entry_arguments, silence_arguments
from tollwatch.arguments import Add, Group
from tollwatch.arguments import count as _count
from tollwatch.arguments import positive as _positive
from tollwatch.exits import CommandError, Exit
from tollwatch.rawconfig import ConfigError

_EPILOG = "Exit codes: 0 ok, 1 error, 2 usage, 3 unhealthy, 4 blocked. Data is printed on stdout, everything else on stderr."
_GATEWAY = "run:run"
_ENDPOINTS = ("chat", "responses", "messages", "embeddings", "images", "audio", "files", "models", "other")
"""Those of metering.call, which is not imported for the help."""
_REST = "everything after -- is the command"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    given = list(sys.argv[1:] if argv is None else argv)
    head, tail = _split(given)
    arguments = parser().parse_args(head, namespace=argparse.Namespace(config=None, rest=[]))
    arguments.rest = [*arguments.rest, *tail]
    if arguments.handler == _GATEWAY and argv is None and not sys.flags.optimize:
        _restart_optimized()
    try:
        return int(_handler(arguments.handler)(arguments))
    except CommandError as error:
        return _failed(str(error), error.code)
    except ConfigError as error:
        return _failed(str(error), Exit.ERROR)
    except BrokenPipeError:
        sys.stderr.close()  # the reader (`head`, say) has seen enough
        return Exit.OK
    except KeyboardInterrupt:
        return 130


def _restart_optimized() -> None:
    """Start over as `python -O`: mitmproxy checks the type of each event as it goes, which costs a tenth of a call's processor time.

    The process keeps its id, its arguments and its environment. No check of tollwatch's own is an assertion.
    """
    os.execv(sys.executable, [sys.executable, "-O", *sys.orig_argv[1:]])  # noqa: S606  # itself, without a shell


def _split(argv: list[str]) -> tuple[list[str], list[str]]:
    if "--" not in argv:
        return argv, []
    at = argv.index("--")
    return argv[:at], argv[at + 1 :]


def _handler(name: str) -> Callable[[argparse.Namespace], int]:
    module, _, function = name.partition(":")
    found: Callable[[argparse.Namespace], int] = getattr(import_module(f"tollwatch.commands.{module}"), function)
    return found


def _failed(message: str, code: Exit) -> int:
    from tollwatch.output import printable  # noqa: PLC0415  # only when something went wrong

    for text in message.splitlines():
        sys.stderr.write(f"tollwatch: {printable(text)}\n")
    return code


def parser() -> argparse.ArgumentParser:
    """Return the parser of every command."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        default=argparse.SUPPRESS,
        help="the config file (default: $TOLLWATCH_CONFIG, ./config.yaml, ~/.config/tollwatch/config.yaml)",
    )
    read = argparse.ArgumentParser(add_help=False)
    read.add_argument("--json", action="store_true", help="JSON instead of a table")
    top = argparse.ArgumentParser(
        prog="tollwatch",
        description="A gateway beside your programs that meters, judges and bounds their calls to AI providers.",
        epilog=_EPILOG,
        parents=[common],
    )
    commands = top.add_subparsers(metavar="COMMAND", required=True)

    def add(group: Group, name: str, handler: str, text: str, *, reads: bool = False) -> argparse.ArgumentParser:
        made = group.add_parser(
            name, help=text, description=f"{text[0].upper()}{text[1:]}.", parents=[common, read] if reads else [common], epilog=_EPILOG
        )
        made.set_defaults(handler=handler)
        return made

    def group(name: str, text: str) -> Group:
        made = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        return made.add_subparsers(metavar="ACTION", required=True)

    init = add(commands, "init", "init:init", "make the data directory, the CA and a first config file")
    init.add_argument("--no-config", action="store_true", help="write no config file")
    add(commands, "run", _GATEWAY, "run the gateway in the foreground")
    _environment(add(commands, "exec", "environment:execute", "run a command with its AI calls going through the gateway"), executes=True)
    _environment(
        add(commands, "env", "environment:show", "print the variables that send a shell's programs through the gateway"), executes=False
    )
    doctor = add(commands, "doctor", "doctor:doctor", "prove the path through the gateway and name what would bypass it", reads=True)
    doctor.add_argument(
        "--probe", choices=["python", "node"], action="append", default=[], help="also run a small program of this kind through the gateway"
    )

    add(commands, "selftest", "selftest:selftest", "try the shipped tricks on the rules in force; none of them is sent", reads=True)
    _tokens(group("token", "API tokens"), add)
    add(group("password", "the password of the API"), "reset", "password:reset", "remove it and print a new setup code", reads=True)
    alert_arguments(group("alerts", "what is wrong"), add)
    entry_arguments(group("entries", "what was detected close together in time, at one place"), add)
    channel_arguments(group("channels", "the ways in which alerts are told"), add)
    silence_arguments(group("silences", "times in which nobody is told of certain alerts"), add)
    _rules(group("rules", "the policy: which calls are allowed, reported or refused"), add)
    add(commands, "openapi", "openapi:openapi", "print the description of the API (OpenAPI 3.1)")
    _audit(add(commands, "audit", "audit:audit", "who changed what, when; newest first", reads=True))
    _baselines(group("baselines", "the prompts and tool definitions that are normal"), add)
    _users(group("users", "the people who call, and who is locked out"), add)
    _ledger(commands, group("calls", "the ledger, one row a call"), add)
    _prices(group("prices", "what tokens cost"), add)
    _budgets(group("budgets", "limits of spending"), add)
    _store(group("db", "the database"), add)
    config = group("config", "the config file")
    add(config, "show", "config:show", "print the config in force, defaults included", reads=True)
    add(config, "validate", "config:validate_command", "check the config file", reads=True)
    add(config, "schema", "config:schema", "print the JSON schema of the config file", reads=True)
    add(config, "explain", "config:explain", "say what a key means", reads=True).add_argument("key", help="for example proxy.listen")

    ca = group("ca", "the certificate authority of this machine")
    add(ca, "show", "ca:show", "show the certificate", reads=True)
    add(ca, "install", "ca:install", "make the system's store trust it")
    add(ca, "uninstall", "ca:uninstall", "take it out of the system's store")
    add(ca, "rotate", "ca:rotate", "make a new one (the gateway must not run)")
    add(ca, "export", "ca:export", "print the certificate, never the key").add_argument(
        "--out", type=Path, help="write it to this file instead"
    )
    _client_certificates(ca, add)
    add(commands, "reload", "run:reload", "make the running gateway read its config again")
    add(commands, "version", "version:version", "print the version", reads=True)
    return top


def _tokens(token: Group, add: Add) -> None:
    create = add(token, "create", "token:create", "make a token; it is printed once", reads=True)
    create.add_argument("--name", required=True)
    create.add_argument(
        "--scope", action="append", required=True, help="alerts:read, alerts:write, config:write or admin; may be given again"
    )
    create.add_argument("--expires", metavar="SPAN", help="for example 90d; without it the token has no end")
    add(token, "ls", "token:ls", "list the tokens", reads=True)
    add(token, "revoke", "token:revoke", "make a token useless at once").add_argument("name")


def _prices(prices: Group, add: Add) -> None:
    shown = add(prices, "show", "prices:show", "show prices in force", reads=True)
    shown.add_argument("model", nargs="?", help="a model, or a part of its name")
    shown.add_argument("--provider", help="only this provider, for example openai")
    diff = add(prices, "diff", "prices:diff", "what a file of overrides or another version of the tables changes", reads=True)
    what = diff.add_mutually_exclusive_group(required=True)
    what.add_argument("file", nargs="?", type=Path, help="a file of overrides, or a price list that tollwatch kept")
    what.add_argument("--since", metavar="VERSION", help="a version of the tables that this installation ran with")


def _ledger(commands: Group, calls: Group, add: Add) -> None:
    listed = add(calls, "ls", "calls:ls", "list calls, newest first", reads=True)
    listed.add_argument("--limit", type=_positive, default=50)
    listed.add_argument("--since", metavar="WHEN", help="a span back from now (24h) or a time (2026-01-31T10:00:00Z)")
    add(calls, "show", "calls:show", "show one call", reads=True).add_argument("id")
    tail = add(commands, "tail", "calls:tail", "print calls as they settle, until interrupted", reads=True)
    tail.add_argument("--count", type=_positive, help="end after so many calls")
    spend = add(commands, "spend", "spend:spend", "what was spent", reads=True)
    spend.add_argument("period", nargs="?", choices=["daily", "weekly", "monthly"], default="daily")
    spend.add_argument("--by", choices=["day", "provider", "model", "user", "service", "department", "source"], default=None)
    spend.add_argument("--since", metavar="WHEN", help="instead of a period: a span back from now (24h) or a time (2026-01-31)")
    spend.add_argument("--until", metavar="WHEN", help="up to, not including")
    spend.add_argument("--csv", action="store_true", help="a table for spreadsheets")
    held = add(
        commands, "reconcile", "reconcile:reconcile_command", "hold the ledger against a provider's usage or cost report", reads=True
    )
    held.add_argument("file", type=Path, help="OpenAI's or Anthropic's export (JSON or CSV), or a CSV of date, model, tokens and cost_usd")
    held.add_argument("--provider", help="whose calls to compare, for example openai; told by the shape of most reports")
    held.add_argument("--tolerance", metavar="SHARE", default="1%", help="differences up to this share are none (1%%)")


def _rules(rules: Group, add: Add) -> None:
    add(rules, "ls", "rules:ls", "list the rules in the order in which they are asked", reads=True)
    add(rules, "show", "rules:show", "show one rule", reads=True).add_argument("id")
    test = add(rules, "test", "rules:test", "say which rule decides on a call, and why; ends with 4 when it is blocked", reads=True)
    test.add_argument("--provider", default="openai", help="for example openai, which it is by default")
    for name, text in (
        ("model", "the model asked for"),
        ("user", "who calls"),
        ("department", "the user's department; the config's users tell it"),
        ("agent", "the calling agent"),
        ("service", "the service; the provider's name by default"),
        ("key-id", "the provider key's fingerprint"),
        ("host", "the provider's host"),
        ("system", "the instructions"),
        ("at", "when: 2026-01-31T22:30, UTC unless it has a zone; now by default"),
    ):
        test.add_argument(f"--{name}", help=text)
    test.add_argument("--path", default="/v1/chat/completions")
    test.add_argument("--operation", default="chat")
    test.add_argument("--endpoint", default="chat", choices=_ENDPOINTS)
    test.add_argument("--tool", action="append", default=[], metavar="NAME", help="a tool that the call defines; may be given again")
    test.add_argument("--tokens", type=_count, help="input tokens; counted from the prompt by default")
    test.add_argument("--bytes", type=_count, help="bytes of the request; the prompt's by default")
    prompt = test.add_mutually_exclusive_group()
    prompt.add_argument("--prompt", metavar="TEXT")
    prompt.add_argument("--prompt-file", type=Path, metavar="FILE")
    made = add(rules, "add", "rules:add", "store the rules of a YAML or JSON file; they are in force at once")
    made.add_argument("file", help="one rule, or `rules:` and a list; - reads standard input")
    made.add_argument("--replace", action="store_true", help="put them in the place of stored rules of the same ids")
    add(rules, "health", "rules_health:health", "how each rule stands, and which rules get in each other's way", reads=True)
    tried = add(
        rules, "backtest", "rules_backtest:backtest", "say what a rule or a budget would have done to the calls of the ledger", reads=True
    )
    tried.add_argument("what", metavar="FILE_OR_ID", help="a file of rules or budgets, or the id of a rule or a budget in force")
    tried.add_argument("--days", type=_positive, default=30, help="how far back (30)")
    tried.add_argument("--samples", type=_positive, default=10, help="show so many of the calls (10)")
    tried.add_argument("--alone", action="store_true", help="without the rules, or budgets, that are in force beside it")
    tried.add_argument(
        "--monitor", action="store_true", help="of a budget: as in monitor mode, where what is refused is spent all the same"
    )
    for name, text in (
        ("rm", "remove a stored rule"),
        ("enable", "switch a stored rule on"),
        ("disable", "switch a stored rule off without removing it"),
    ):
        add(rules, name, f"rules:{name}", text).add_argument("id")


def _budgets(budgets: Group, add: Add) -> None:
    add(budgets, "ls", "budgets:ls", "list the budgets: spent, held and left in their periods, and where these lead", reads=True)
    add(budgets, "show", "budgets:show", "show one budget", reads=True).add_argument("name")
    reset = add(budgets, "reset", "budgets:reset", "set what a budget has spent in its period back to nothing", reads=True)
    reset.add_argument("name")


def _store(store: Group, add: Add) -> None:
    add(store, "verify", "db:verify", "look through the whole database, beside the gateway or without it", reads=True)
    add(store, "status", "db:status", "where the database is, how large it is and what it keeps", reads=True)
    add(store, "backup", "db:backup", "copy the database, beside the gateway or without it").add_argument("file", type=Path)


def _client_certificates(ca: Group, add: Add) -> None:
    text = "certificates by which the gateway knows its clients (proxy.client_certificates)"
    made = ca.add_parser("client", help=text, description=f"{text[0].upper()}{text[1:]}.")
    client: Group = made.add_subparsers(metavar="ACTION", required=True)
    issue = add(client, "issue", "ca_client:issue", "make a key and a certificate for a user, into one file", reads=True)
    issue.add_argument("name", help="the user's name as rules and budgets know it")
    issue.add_argument("--service", action="store_true", help="the name is a service's, not a user's")
    issue.add_argument("--days", type=_positive, default=90, help="how long it is good (90; 825 at most)")
    issue.add_argument("--out", type=Path, metavar="FILE", help="where to write it (default: NAME.pem in this folder)")
    add(client, "revoke", "ca_client:revoke", "refuse a certificate from now on").add_argument(
        "key", metavar="SERIAL|NAME", help="a serial number or its first 8 digits; a name revokes all of that name"
    )
    add(client, "ls", "ca_client:ls", "list the certificates that were issued", reads=True)


def _baselines(baselines: Group, add: Add) -> None:
    listed = add(baselines, "ls", "baselines:ls", "list the prompts and tool definitions that were seen", reads=True)
    listed.add_argument("--waiting", action="store_true", help="only those that nobody approved")
    diff = add(baselines, "diff", "baselines:diff", "say how one departs from what is normal; the texts are not kept", reads=True)
    approve = add(baselines, "approve", "baselines:approve", "make one normal; its alert ends")
    for one in (diff, approve):
        one.add_argument("fingerprint", help="its first digits, as the list and the alert show them")
        one.add_argument("--service", help="where a fingerprint was seen in several places: of this service")
        one.add_argument("--agent", help="the same: of this agent; - where none is known")
        one.add_argument("--tool", help="the same: of this tool")
    diff.add_argument("other", nargs="?", help="hold it against this one instead of the one that was approved last")


def _users(users: Group, add: Add) -> None:
    add(users, "ls", "users:ls", "list the users of the config and everybody who is locked out", reads=True)
    lock = add(users, "lock", "users:lock", "refuse all calls of a user until somebody unlocks")
    lock.add_argument("--reason", default="locked by command", help="shown to the user and in the alert")
    unlock = add(users, "unlock", "users:unlock", "let a user call again")
    for one in (lock, unlock):
        one.add_argument("name", help="the user's name as `tollwatch calls ls` shows it")
        one.add_argument("--key", action="store_true", help="the name is a provider key's fingerprint: key_id in `tollwatch calls show`")


def _environment(made: argparse.ArgumentParser, *, executes: bool) -> None:
    made.add_argument("--user", help="who is charged, when the config reads proxy_auth")
    made.add_argument("--base-url", action="store_true", help="also point SDKs that read a base URL at the base-URL door")
    made.add_argument("--bedrock-node", action="store_true", help="also point the AWS SDK for JavaScript at the base-URL door")
    made.add_argument("--java", action="store_true", help="also set JAVA_TOOL_OPTIONS")
    if executes:
        made.add_argument("--no-check", action="store_true", help="do not ask first whether the gateway listens")
        made.add_argument("rest", nargs=argparse.REMAINDER, metavar="-- COMMAND", help=_REST)
        return
    made.add_argument("--shell", choices=["bash", "zsh", "fish", "powershell", "dotenv"], default=None)


def _audit(audit: argparse.ArgumentParser) -> None:
    audit.add_argument("--since", metavar="WHEN", help="a span back from now (24h) or a time (2026-01-31T10:00:00Z)")
    audit.add_argument("--limit", type=_positive, default=50)
    audit.add_argument("--actor", help="only what this one did, for example cli:ada")
    audit.add_argument("--action", help="only this action (token.created), or all of a noun (token)")
