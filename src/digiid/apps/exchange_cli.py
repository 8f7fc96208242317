"""`digiid exchange`: the exchange's members and servers, its registrations and its anchor. The commands work beside a
running state, and on one that is stopped."""

import typer

from digiid.apps import exchange_evidence_cli, exchange_status

exchange_app = typer.Typer(no_args_is_help=True, help="The exchange: members, servers, registrations, anchor.")


@exchange_app.callback()
def _exchange() -> None:
    """A group also while it has one command only."""


exchange_app.command("verify")(exchange_evidence_cli.verify)
exchange_app.command("status")(exchange_status.status)
exchange_app.command("maintenance")(exchange_status.maintenance)
