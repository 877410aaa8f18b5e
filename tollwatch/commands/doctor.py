"""`doctor`."""

import os
from argparse import Namespace
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from tollwatch.bypasses import Bypass, Machine, bypasses
from tollwatch.config import validate
from tollwatch.diagnosis import Finding, Subject, examine
from tollwatch.environment import reachable
from tollwatch.exits import Exit
from tollwatch.output import json_value, line, printable, styled
from tollwatch.rawconfig import ConfigError, read_config


def doctor(arguments: Namespace) -> int:
    """Examine the path, name the bypasses; unhealthy when a check failed."""
    findings: list[Finding] = []
    found: list[Bypass] = []
    try:
        raw = read_config(arguments.config)
        config = validate(raw)
    except ConfigError as error:
        findings.append(Finding(check="config", ok=False, detail=str(error), remedy="correct the file; config.example.yaml shows each key"))
    else:
        doors = frozenset(map(reachable, (config.proxy.listen, config.proxy.base_url_listen, config.api.listen)))
        found = list(bypasses(Machine(environ=os.environ, folder=Path.cwd()), doors=doors, intercepted=config.proxy.decrypted_hosts))
        findings += examine(Subject(config=config, raw=raw), programs=tuple(dict.fromkeys(arguments.probe)))
    healthy = all(finding.ok for finding in findings)
    if arguments.json:
        json_value({"healthy": healthy, "checks": list(map(asdict, findings)), "bypasses": list(map(asdict, found))})
    else:
        _print(findings, found)
    return Exit.OK if healthy else Exit.UNHEALTHY


def _print(findings: Iterable[Finding], found: Iterable[Bypass]) -> None:
    for finding in findings:
        mark = styled("ok  ", "ok") if finding.ok else styled("FAIL", "bad")
        line(f"{mark}  {finding.check}: {printable(finding.detail)}")
        if finding.remedy and not finding.ok:
            line(f"      {printable(finding.remedy)}")
    for bypass in found:
        line(f"{styled('note', 'medium')}  {printable(bypass.what)}: {printable(bypass.why)}")
        line(f"      {printable(bypass.remedy)}")
