"""One table leads from our errors to the codes of X-Road 7.8, and says whose side failed."""

import pytest

from digiid.exchange.security_server.provider import check_version
from digiid.exchange.security_server.wire_codes import PeerFault, RequestError, fault_of
from digiid.formats.exchange.faults import Fault
from digiid.kernel.errors import Broken, Malformed, Refused, Unavailable


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Refused("exchange.access_denied", "no"), "server.serverproxy.access_denied"),
        (Refused("exchange.unknown_service", "no"), "server.serverproxy.unknown_service"),
        (Refused("exchange.trust.ocsp_status", "revoked"), "server.serverproxy.ssl_authentication_failed"),
        (Refused("exchange.trust.signer", "no"), "server.serverproxy.cert_validation"),
        (
            Refused("exchange.signature.coverage", "no"),
            "server.serverproxy.malformed_signature.hashchain_unused_inputs",
        ),
        (Unavailable("exchange.logging_failed", "no"), "server.serverproxy.logging_failed"),
        (Unavailable("exchange.timestamping_failed", "no"), "server.serverproxy.timestamping_failed"),
        (Unavailable("exchange.global_conf_outdated", "no"), "server.serverproxy.global_conf_outdated"),
        (Unavailable("exchange.information_system.answer", "no"), "server.serverproxy.service_failed"),
        (Unavailable("something.else", "no"), "server.serverproxy.io_error"),
        (Malformed("something.else", "no"), "server.serverproxy.invalid_message"),
    ],
)
def test_errors_have_the_published_codes(error, code):
    assert fault_of(error, side="serverproxy", detail="id").code == code


def test_a_beginning_fits_at_a_dot_only():
    fault = fault_of(Refused("exchange.pathological", "no"), side="clientproxy", detail="")
    assert fault.code == "server.clientproxy.invalid_request"


def test_what_is_broken_here_is_not_described_to_others():
    fault = fault_of(Broken("db.corrupt", "table persons, row 7"), side="serverproxy", detail="id")
    assert (fault.code, fault.message, fault.detail) == ("server.serverproxy.internal_error", "internal error", "id")


def test_a_peers_fault_goes_on_as_it_is():
    fault = Fault("server.serverproxy.access_denied", "no", "theirs")
    assert fault_of(PeerFault(fault), side="clientproxy", detail="ours") == fault


def test_what_the_information_system_asked_for_wrongly_is_told_as_the_clients():
    error = RequestError(Refused("exchange.client.unknown", "no"))
    fault = fault_of(error, side="clientproxy", detail="")
    assert (fault.code, fault.http_status) == ("client.unknown_member", 400)


def test_versions_below_the_lowest_are_refused():
    for version in ("7.4.2", "7.5.0", "7.10.0", "8.0.0-beta-1+build"):
        check_version(version, lowest="7.4.2")
    check_version(None, lowest=None)
    for version in ("7.4.1", "6.26.3", "7.4", "", None, "seven"):
        with pytest.raises(Refused, match="peer_version"):
            check_version(version, lowest="7.4.2")
