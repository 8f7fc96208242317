"""Telling the central server that this server begins or ends maintenance, so that others choose another one in time.

Signed by the owner's key, like every management request (X-Road pr-mserv); in effect without anybody's approval.
"""

from pathlib import Path

from digiid.exchange.central_server.registering import Answer, Identity, make_request, send_request, sign_request
from digiid.exchange.global_conf import ConfigurationClient, read_anchor_file
from digiid.exchange.security_server.own_status import sha1_of
from digiid.exchange.security_server.settings import SecurityServerSettings
from digiid.exchange.security_server.signing_keys import load_signing_identity
from digiid.formats.exchange.management import Operation
from digiid.kernel.errors import NotFound, Unavailable
from digiid.platform.clock import Clock
from digiid.platform.entropy import Entropy
from digiid.platform.http import HttpClient


def announce_maintenance(
    settings: SecurityServerSettings,
    *,
    is_beginning: bool,
    message: str = "",
    http: HttpClient,
    clock: Clock,
    entropy: Entropy,
) -> Answer:
    """Ask the central server to say it in the next configuration. Works beside the running server, from its folder.

    Raises: Unavailable `exchange.global_conf_outdated`, `exchange.announcing`, no present OCSP response; NotFound
        `exchange.announcing`, the owner's key is not here or the configuration names no address; what `send_request`,
        `load_signing_identity` and `read_anchor_file` raise.
    """
    # 1 where the central server listens, by the configuration in the server's folder
    anchor = read_anchor_file(settings.configuration.anchor)
    conf = ConfigurationClient(settings.folder / "global-conf", anchor, http, clock, entropy).current()
    url = conf.private.management.registration_address if conf.private else None
    if not url:
        raise NotFound("exchange.announcing", "the configuration names no address for management requests")
    # 2 the owner's key, with the response about it that the server keeps
    owner = settings.server_id.owner
    found = next((each for each in settings.signing if each.member_id == owner), None)
    if found is None:
        raise NotFound("exchange.announcing", f"the signing key of the owner {owner} is not on this server")
    identity = load_signing_identity(found)
    ocsp_der = _read_response(settings.folder / "ocsp" / f"{sha1_of(identity.certificate).hex()}.der")
    # 3 signed and sent
    operation = Operation.MAINTENANCE_ON if is_beginning else Operation.MAINTENANCE_OFF
    told = message if is_beginning and message else None
    request = make_request(operation, settings.server_id, clock=clock, entropy=entropy, message=told)
    envelope = sign_request(request, owner=Identity(identity.key, identity.certificate, ocsp_der))
    return send_request(http, url, envelope)


def _read_response(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise Unavailable("exchange.announcing", "there is no OCSP response about the owner's key") from error
