"""What `digiid up` and `digiid status` tell: where everything is, with which card to try what."""

import json
from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from digiid.apps.demonstration import PIN1, PIN2, PUK, read_people
from digiid.apps.state import StateFolder, StateSettings
from digiid.kernel.errors import Unavailable
from digiid.platform.http import HttpClient

_SITES = (
    ("apply", "apply for an e-resident's digi-ID"),
    ("mail", "the letters that the state sent (test mailbox)"),
    ("police", "officers' desk of the Police and Border Guard Board"),
    ("bureau", "card bureau and pick-up desk"),
    ("portal", "state portal: sign in, sign a document, report a card lost, validate"),
    ("bank", "a bank that accepts e-residents"),
    ("consent", "who may have your data: allow, refuse, withdraw"),
    ("population", "register desk"),
    ("central", "the exchange's central server: members, servers, registrations"),
    ("business", "business register: companies, and your own after the sign-in"),
    ("exchange", "what can stop the exchange, with the time left"),
)


def text(folder: StateFolder, settings: StateSettings) -> RenderableType:
    """The welcome page of the terminal."""
    sites = Table(box=None, show_header=False, pad_edge=False)
    for site, what in _SITES:
        sites.add_row(f"[link={settings.origin(site)}]{settings.origin(site)}[/link]", what)
    sites.add_row(settings.base_url, "for programs: /ocsp /tsa /crl /certs /tl.xml /V3/validate /signing /internalconf")
    sites.add_row(settings.origins["agent"], "your cards: look, change a PIN, unblock")
    if settings.tls:
        sites.add_row("certificates", f"of a test CA of this state's own: {folder.path / 'tls' / 'authority.pem'}")
    people = read_people(folder.path)
    cards = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("test card", "person", "personal code", "what for"):
        cards.add_column(heading)
    for person in people:
        name = f"{person.given_names} {person.surname}"
        cards.add_row(person.document_number, name, person.personal_code, person.role)
    parts: list[RenderableType] = [sites]
    if people:
        pins = f"PIN1 [bold]{PIN1}[/bold]   PIN2 [bold]{PIN2}[/bold]   PUK [bold]{PUK}[/bold]   (all test cards)"
        try_first = (
            f"Try: open {settings.origin('portal')}, sign in with a test card and PIN1, sign a file with PIN2.\n"
            f"The whole story by hand starts at {settings.origin('apply')}; in this terminal: digiid tour"
        )
        parts += ["", cards, "", pins, "", try_first]
    return Panel(Group(*parts), title=f"{settings.name} is up", border_style="blue", expand=False)


def fetch_health(settings: StateSettings) -> dict[str, Mapping[str, Any]]:
    """Each institution's own word about itself. Raises: Unavailable when the state does not answer."""
    http = HttpClient(timeout_seconds=5)
    try:
        answer = http.request("GET", f"http://127.0.0.1:{settings.port}/health")
    finally:
        http.close()
    try:
        found = json.loads(answer.body)["institutions"]
    except (ValueError, KeyError, TypeError) as error:
        raise Unavailable("state.health", f"/health answered {answer.status} with something else") from error
    return dict(found)


def fetch_server_health(settings: StateSettings) -> dict[str, Mapping[str, Any]]:
    """Whether each security server answers: they are processes of their own, and one can stand still beside a state
    that is well."""
    http = HttpClient(timeout_seconds=2)
    servers = {"security server (state)": settings.state_server, "security server (private)": settings.private_server}
    try:
        return {name: _ask_server(http, server.health) for name, server in servers.items()}
    finally:
        http.close()


def _ask_server(http: HttpClient, port: int) -> Mapping[str, Any]:
    try:
        status = http.request("GET", f"http://127.0.0.1:{port}/").status
    except Unavailable as error:
        return {"status": "failed", "code": error.code, "detail": "it does not answer; digiid exchange status"}
    if status == 200:
        return {"status": "ok"}
    return {"status": "failed", "detail": f"its health check says {status}; digiid exchange status"}


def health_table(health: Mapping[str, Mapping[str, Any]]) -> RenderableType:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("institution", "status", "details"):
        table.add_column(heading)
    for name, entry in health.items():
        status = str(entry.get("status", "?"))
        colour = "green" if status == "ok" else "red"
        details = ", ".join(_detail(key, value) for key, value in entry.items() if key != "status")
        table.add_row(name, f"[{colour}]{escape(status)}[/{colour}]", escape(details))
    return table


def _detail(key: str, value: Any) -> str:
    """`certificates 22`; of several things under one name what is well and what is not."""
    if not isinstance(value, Mapping):
        return f"{key} {value}"
    words = {True: "ok", False: "not ok"}
    each = ", ".join(f"{name} {words.get(one, one) if isinstance(one, bool) else one}" for name, one in value.items())
    return f"{key} ({each})"
