"""Writes docs/reference/services.md from the contracts: every service, what it tells of whom, by what right.

`--check` only compares.
"""

import sys
from pathlib import Path
from typing import Any

from digiid.contracts.consents import CALLERS, CONSENT, FOR_OTHERS
from digiid.contracts.consents import ENDPOINTS as CONSENT_ENDPOINTS
from digiid.contracts.members import NAMES
from digiid.contracts.openings import CONTRACTS
from digiid.contracts.operation import CONSENT as NEEDS_CONSENT
from digiid.contracts.operation import Operation
from digiid.exchange.openapi import ENDPOINTS

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference" / "services.md"
HEAD = """# Services on the exchange

Generated from the contracts by `make services`. Each service is `POST /r1/<provider>/<service>/v1` with a JSON body
and describes itself in OpenAPI 3.1 (`getOpenAPI`, and at the gate `GET /openapi/<provider>/<service>`).

Whoever asks about a person says why in the header `X-Digiid-Purpose`; without it the provider refuses
(`exchange.no_purpose`). Purpose, receiver, right, categories and message are written down with the answer, and the
person can read them. Where the right is **the consent of the person**, the consent receipt travels in
`X-Digiid-Consent`, and only the fields that its scope names are answered; with a law, only the fields of this table.

Where the table says who may keep a look back, that client may send `X-Digiid-Hidden-Until` and `X-Digiid-Hidden-Reason`
([protocol](../protocols/data-tracker.md), § 2). Anybody else is refused (`exchange.delay_not_allowed`).

Where the table says **others, when given the right**, the operator of the state may give it to any subsystem
([how](../how-to/give-a-right.md)). Everything else is answered to those only whom the table names.
"""
REST = """
## Services with paths of their own

| service | endpoint | what it answers |
|---|---|---|
"""
REST_TAIL = """
`findUsage` and `askedAbout` stand at every institution and answer the portal only, on behalf of the person who is
signed in there ([protocol](../protocols/data-tracker.md)). `consent` is the consent service's (`{consent}`,
[protocol](../protocols/consent.md)), open to {callers};
to others, when given the right, at {endpoints}: each is told of its own consents only.
Every party of consents also offers `consents-revoked`, by which the consent service tells of withdrawals.
"""


def main() -> int:
    text = build_page()
    if "--check" in sys.argv[1:]:
        if PAGE.read_text(encoding="utf-8") == text:
            return 0
        print(f"{PAGE.relative_to(ROOT)} is not what the contracts say: run `make services`")
        return 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


def build_page() -> str:
    parts = [HEAD]
    for module in CONTRACTS:
        operations = [value for value in vars(module).values() if isinstance(value, Operation)]
        provider = operations[0].service.provider
        parts.append(f"\n## {NAMES[provider]}\n\n`{provider}`\n\n")
        parts.append("| service | what it answers | tells of persons | to whom, by what right |\n|---|---|---|---|\n")
        parts += [_row(operation) for operation in operations]
    parts.append(REST)
    for code, endpoints in ENDPOINTS.items():
        parts += [
            f"| `{code}` | `{method} {path}` | {shape.summary} |\n" for (method, path), shape in endpoints.items()
        ]
    callers = ", ".join(sorted(NAMES[client] for client in CALLERS))
    endpoints = ", ".join(f"`{method} {path}`" for method, path in CONSENT_ENDPOINTS if (method, path) in FOR_OTHERS)
    parts.append(REST_TAIL.format(consent=CONSENT, callers=callers, endpoints=endpoints))
    return "".join(parts)


def _row(operation: Operation[Any, Any]) -> str:
    text = " ".join((operation.request.__doc__ or "").split())
    answers = text.split(". ")[0].rstrip(".")
    data = ", ".join(f"`{category}`" for category in operation.discloses) or "nothing"
    if operation.legal_bases:
        by_right: dict[str, list[str]] = {}
        for client, basis in operation.legal_bases.items():
            by_right.setdefault(basis, []).append(NAMES[client])
        who = "<br>".join(
            f"{', '.join(sorted(names))}: {'**the consent of the person**' if basis == NEEDS_CONSENT else basis}"
            for basis, names in sorted(by_right.items())
        )
    else:
        who = ", ".join(sorted(NAMES[client] for client in operation.allowed))
    if operation.may_delay:
        who += f"<br>may be kept back by: {', '.join(sorted(NAMES[client] for client in operation.may_delay))}"
    if operation.for_others:
        basis = "**the consent of the person**" if operation.for_others == NEEDS_CONSENT else operation.for_others
        who += f"<br>**others, when given the right**: {basis}"
    return f"| `{operation.service.service_code}` | {answers} | {data} | {who} |\n"


if __name__ == "__main__":
    sys.exit(main())
