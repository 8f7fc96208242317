import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from digiid.formats.exchange.faults import (
    Fault,
    build_json_error,
    build_soap_fault,
    build_xml_error,
    normalise_code,
    parse_soap_fault,
    wants_xml,
)
from digiid.kernel.errors import Malformed

FAULT = Fault("server.serverproxy.access_denied", "Request is not allowed: <SERVICE>", "9f7d")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Server.ServerProxy.AccessDenied", "server.serverproxy.access_denied"),
        ("Server.ClientProxy.NetworkError", "server.clientproxy.network_error"),
        ("Server.ServerProxy.OpMonitor.InternalError", "server.serverproxy.opmonitor.internal_error"),
        ("Client.SslAuthenticationFailed", "client.ssl_authentication_failed"),
        ("Client.SSLAuthenticationFailed", "client.ssl_authentication_failed"),
        ("Server.ClientProxy.IOError", "server.clientproxy.io_error"),
        ("Server.ClientProxy.OutdatedGlobalConf", "server.clientproxy.global_conf_outdated"),
        ("MalformedSignature.HashChainUnusedInputs", "malformed_signature.hashchain_unused_inputs"),
        ("Signer.CannotSign", "signer.cannot_sign"),
    ],
)
def test_both_spellings_of_a_code_are_read(old, new):
    assert normalise_code(old) == new
    assert normalise_code(new) == new


@pytest.mark.parametrize("code", ["", ".", "a..b", "a b", "õ", "a" * 300, "a.b.c.d.e.f.g.h.i", "a\n"])
def test_what_is_not_a_code_is_malformed(code):
    with pytest.raises(Malformed):
        normalise_code(code)


def test_the_status_tells_whose_side_failed():
    assert FAULT.http_status == 500
    assert Fault("client.ssl_authentication_failed", "").http_status == 400
    assert Fault("signer.cannot_sign", "").http_status == 400


def test_error_bodies_for_information_systems():
    assert json.loads(build_json_error(FAULT)) == {"type": FAULT.code, "message": FAULT.message, "detail": "9f7d"}
    root = etree.fromstring(build_xml_error(FAULT))
    assert [(child.tag, child.text) for child in root] == [
        ("type", FAULT.code),
        ("message", FAULT.message),
        ("detail", "9f7d"),
    ]


def test_accept_decides_between_json_and_xml():
    assert wants_xml("text/html, Text/XML;q=0.5") and wants_xml("application/xml") and wants_xml("text/*")
    assert not wants_xml(None) and not wants_xml("*/*") and not wants_xml("application/json")


def test_a_soap_fault_has_the_documented_bytes_and_comes_back():
    assert build_soap_fault(Fault("a.b", "m", "d")) == (
        b'<?xml version="1.0" encoding="UTF-8"?><SOAP-ENV:Envelope '
        b'xmlns:SOAP-ENV="http://schemas.xmlsoap.org/soap/envelope/"><SOAP-ENV:Body><SOAP-ENV:Fault>'
        b"<faultcode>a.b</faultcode><faultstring>m</faultstring><faultactor></faultactor>"
        b'<detail><faultDetail xmlns="">d</faultDetail></detail></SOAP-ENV:Fault></SOAP-ENV:Body></SOAP-ENV:Envelope>'
    )
    assert parse_soap_fault(build_soap_fault(FAULT)) == FAULT


def test_a_qualified_detail_and_an_old_code_are_read():
    xml = build_soap_fault(Fault("Server.ServerProxy.ServiceFailed", "m", "d")).replace(
        b'<faultDetail xmlns="">d</faultDetail>',
        b'<x:faultDetail xmlns:x="http://x-road.eu/xsd/xroad.xsd">d</x:faultDetail>',
    )
    assert parse_soap_fault(xml) == Fault("server.serverproxy.service_failed", "m", "d")


@pytest.mark.parametrize(
    "xml",
    [
        b"",
        b"<a/>",
        b'<!DOCTYPE a [<!ENTITY x "y">]><a/>',
        build_soap_fault(FAULT).replace(b"<faultcode>", b"<faultcode><!-- x -->"),
        build_soap_fault(FAULT).replace(b"<faultactor></faultactor>", b"<faultcode>a.b</faultcode>"),
        build_soap_fault(FAULT).replace(b"faultstring", b"other"),
        build_soap_fault(FAULT).replace(b"9f7d", b"<a/>"),
        build_soap_fault(FAULT).replace(b"9f7d", b"x" * 70_000),
    ],
)
def test_anything_else_is_malformed(xml):
    with pytest.raises(Malformed):
        parse_soap_fault(xml)


@given(st.text(max_size=50))
def test_a_fault_can_always_be_told(text):
    fault = Fault("a.b", text, text)
    etree.fromstring(build_xml_error(fault))
    parse_soap_fault(build_soap_fault(fault))
    json.loads(build_json_error(fault))
