"""`digiid exchange`: the exchange's members and servers, its registrations and its anchor. The commands work beside a
running state, and on one that is stopped."""

import typer

from digiid.apps import (
    exchange_evidence_cli,
    exchange_messages_cli,
    exchange_registry_cli,
    exchange_rights_cli,
    exchange_server_cli,
    exchange_status,
)

exchange_app = typer.Typer(no_args_is_help=True, help="The exchange: members, servers, registrations, anchor.")


@exchange_app.callback()
def _exchange() -> None:
    """A group also while it has one command only."""


exchange_app.command("verify")(exchange_evidence_cli.verify)
exchange_app.command("messages")(exchange_messages_cli.messages)
exchange_app.command("archive")(exchange_messages_cli.archive)
exchange_app.command("status")(exchange_status.status)
exchange_app.command("maintenance")(exchange_status.maintenance)
exchange_app.command("new-server")(exchange_server_cli.new_server)
exchange_app.command("serve")(exchange_server_cli.serve)
exchange_app.command("grant")(exchange_rights_cli.grant)
exchange_app.command("revoke")(exchange_rights_cli.revoke)
exchange_app.command("rights")(exchange_rights_cli.rights)
exchange_app.command("members")(exchange_registry_cli.list_members)
exchange_app.command("servers")(exchange_registry_cli.list_servers)
exchange_app.command("requests")(exchange_registry_cli.list_requests)
exchange_app.command("approve")(exchange_registry_cli.approve)
exchange_app.command("decline")(exchange_registry_cli.decline)
exchange_app.command("anchor")(exchange_registry_cli.anchor)
exchange_app.command("provisioned")(exchange_registry_cli.list_provisioned)
exchange_app.command("bring-back")(exchange_registry_cli.bring_back)
exchange_app.add_typer(exchange_registry_cli.group_app, name="group")
exchange_app.command("officer")(exchange_registry_cli.add_officer)
exchange_app.add_typer(exchange_registry_cli.trust_app, name="trust")
