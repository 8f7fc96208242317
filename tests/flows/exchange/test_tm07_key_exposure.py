"""TM-07: no key, passphrase or PIN leaves the place where it is kept (xroad.md §7.2).

Two servers run as processes and are used well and badly; then everything that they wrote, said or were started with is
searched for each secret in every form that a program could write it in.
"""

import base64
import io
import stat
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from digiid.exchange.security_server.settings import load_security_server_settings
from digiid.exchange.security_server.signing_keys import load_signing_identity
from digiid.kernel.errors import Malformed
from tests.support.exchange_processes import both, process_room
from tests.support.exchange_room import PASSPHRASE, write_toml
from tests.support.global_conf import LOANS

DEBUG = {"log": {"level": "debug"}}
PATHS = ("/", "/status", "/metrics", "/nothing", "/../keys", "/?passphrase")


def forms_of(key) -> list[bytes]:
    """The private value as bytes, digits and text, and the whole key unencrypted as PEM, DER and base64."""
    numbers = key.private_numbers()
    value = numbers.private_value if isinstance(key, ec.EllipticCurvePrivateKey) else numbers.d
    raw = value.to_bytes((value.bit_length() + 7) // 8, "big")
    forms = [raw, raw.hex().encode(), raw.hex().upper().encode(), str(value).encode(), base64.b64encode(raw)[:-4]]
    if isinstance(key, rsa.RSAPrivateKey):
        forms += [numbers.p.to_bytes(128, "big"), numbers.q.to_bytes(128, "big")]
    kinds = [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL]
    for kind in kinds:
        der = key.private_bytes(Encoding.DER, kind, NoEncryption())
        forms += [der, base64.b64encode(der), der.hex().encode()]
        forms += key.private_bytes(Encoding.PEM, kind, NoEncryption()).splitlines()[1:2]
    return forms


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tm07")
    with process_room(folder, changes=DEBUG) as room:
        yield room


@pytest.fixture(scope="module")
def secrets(room) -> dict[str, list[bytes]]:
    """By name, in all their forms: keys of servers and members, and those that the servers made themselves."""
    found = {}
    for server, keys in room.keys.items():
        folder = room.servers[server].settings.folder
        found[f"{server} authentication"] = forms_of(keys.authentication.key)
        for member, identity in keys.signing.items():
            found[f"{member} signing"] = forms_of(identity.key)
        own = [file for file in folder.rglob("*") if file.is_file() and b"PRIVATE KEY" in file.read_bytes()]
        assert own
        for file in own:
            for passphrase in [PASSPHRASE, *(each.read_bytes().strip() for each in folder.glob("*passphrase*"))]:
                try:
                    found[str(file)] = forms_of(load_pem_private_key(file.read_bytes(), passphrase))
                    break
                except ValueError:
                    continue
            assert str(file) in found, f"{file} has a passphrase that is not known here"
        for file in folder.glob("*passphrase*"):
            found[str(file)] = [file.read_bytes().strip()]
    found["passphrase"] = [PASSPHRASE, base64.b64encode(PASSPHRASE), PASSPHRASE.hex().encode()]
    assert len(found) > 8
    return found


def unpacked(data: bytes) -> Iterator[bytes]:
    """Every file of an archive, and of the archives in it."""
    if data.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                yield archive.read(name)
                yield from unpacked(archive.read(name))


@pytest.fixture(scope="module")
def used(room) -> list[bytes]:
    """What the servers said to all who asked, well and badly."""
    said = []

    def keep(answer: httpx.Response) -> None:
        said.append(str(answer.headers).encode() + answer.content)
        said.extend(unpacked(answer.content))

    keep(room.ask("POST", content=b"{}", headers={"X-Road-Id": "one"}, verify=False))
    keep(room.ask(path="/status/500", verify=False))
    keep(room.ask(path="/%2e%2e/keys", verify=False))
    keep(room.ask(path="/cut/9000000", verify=False))
    keep(httpx.get(f"{room.base_url}/listClients", trust_env=False, verify=False))
    own = "xRoadInstance=TEST&memberClass=COM&memberCode=10000201&subsystemCode=loans"
    for path in (f"/asic?queryId=one&force=true&{own}", "/verificationconf", "/keys", "/r1/x"):
        keep(httpx.get(f"{room.base_url}{path}", trust_env=False, verify=False, headers={"X-Road-Client": str(LOANS)}))
    for server in both(room):
        for path in PATHS:
            said.append(b"".join(map(str.encode, map(str, server._ask_health(path)))))
    assert b"application/vnd.etsi.asic-e+zip" in said, "no container was among it"
    return said


def assert_in_none(secrets: dict[str, list[bytes]], data: bytes, where: str) -> None:
    for name, forms in secrets.items():
        for form in forms:
            assert form not in data, f"{name} is in {where}"


def test_tm07_no_answer_of_a_server_holds_a_secret(secrets, used):
    for answer in used:
        assert_in_none(secrets, answer, "an answer")


def test_tm07_no_log_or_database_or_other_file_holds_a_secret(room, secrets, used, capfd):
    """The key files themselves are encrypted; passphrases stand in their own files and nowhere else."""
    for server in both(room):
        server.kill()  # what waits in the write-ahead log stays there, to be read
        files = [file for file in server.settings.folder.rglob("*") if file.is_file()]
        assert {"log.sqlite", "monitoring.sqlite", "process.log", "server.toml"} <= {file.name for file in files}
        for file in files:
            known = {name: forms for name, forms in secrets.items() if name != str(file)}
            if "passphrase" not in file.name:
                assert_in_none(secrets, file.read_bytes(), str(file))
            else:
                assert_in_none({n: f for n, f in known.items() if "passphrase" not in n}, file.read_bytes(), str(file))
        assert "exchange.consumer_refused" in both(room)[0].process_log.read_text("utf-8")
        server.start()
    told = capfd.readouterr()
    assert_in_none(secrets, (told.out + told.err).encode(), "standard output")


def test_tm07_keys_on_disk_are_encrypted_and_nobody_elses_to_read(room, secrets):
    assert secrets
    for server in both(room):
        for file in server.settings.folder.rglob("*"):
            if not file.is_file() or b"PRIVATE KEY" not in (data := file.read_bytes()):
                continue
            assert b"BEGIN ENCRYPTED PRIVATE KEY" in data, file
            with pytest.raises(TypeError):
                load_pem_private_key(data, None)
        for file in (*server.settings.folder.glob("internal*key*"), *server.settings.folder.glob("*passphrase*")):
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_tm07_no_secret_is_in_the_arguments_or_the_environment_of_a_process(room, secrets):
    for server in both(room):
        for name in ("cmdline", "environ"):
            assert_in_none(secrets, Path(f"/proc/{server.pid}/{name}").read_bytes(), name)


def test_tm07_dumped_settings_and_objects_hold_no_secret(room, secrets):
    """Settings name files; what is read out of them shows itself in no dump."""
    for server in both(room):
        settings = load_security_server_settings(server.file)
        identity = load_signing_identity(settings.signing[0])
        dumped = (
            repr(settings) + str(settings) + settings.model_dump_json() + repr(identity) + repr(vars(type(identity)))
        )
        assert_in_none(secrets, dumped.encode(), "a dump")


@pytest.mark.parametrize("passphrase", [b"WRONG passphrase 4711", b"", None])
def test_tm07_without_the_right_passphrase_a_server_does_not_start_and_does_not_repeat_what_it_was_given(
    room, tmp_path, passphrase
):
    settings = both(room)[0].settings
    file = tmp_path / "passphrase"
    if passphrase is not None:
        file.write_bytes(passphrase)
    signing = tuple(each.model_copy(update={"passphrase_file": file}) for each in settings.signing)
    wrong = settings.model_copy(update={"signing": signing, "folder": tmp_path / "server"})
    write_toml(tmp_path / "wrong.toml", wrong)
    done = subprocess.run(
        [sys.executable, "-m", "digiid.apps.security_server", str(tmp_path / "wrong.toml")],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert b"keys.unreadable" in done.stderr and b"Traceback" not in done.stderr
    assert b"4711" not in done.stderr + done.stdout
    with pytest.raises(Malformed):
        load_signing_identity(wrong.signing[0])


def test_tm07_a_key_without_a_passphrase_file_is_not_asked_for_on_a_terminal(room, tmp_path):
    settings = both(room)[0].settings
    signing = tuple(each.model_copy(update={"passphrase_file": None}) for each in settings.signing)
    write_toml(tmp_path / "none.toml", settings.model_copy(update={"signing": signing, "folder": tmp_path / "server"}))
    command = [sys.executable, "-m", "digiid.apps.security_server", str(tmp_path / "none.toml")]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False, stdin=subprocess.DEVNULL)
    assert (done.returncode, b"keys.unreadable" in done.stderr) == (2, True)


def test_tm07_secrets_in_the_settings_are_no_setting(room, tmp_path):
    """A passphrase or PIN has no place in the settings file, so that none can be shown with it."""
    text = both(room)[0].file.read_text("utf-8")
    for line in ('passphrase = "x"', 'pin = "x"', 'password = "x"'):
        for section in ("[authentication]", "[[signing]]"):
            file = tmp_path / "settings.toml"
            file.write_text(text.replace(section, f"{section}\n{line}", 1), "utf-8")
            with pytest.raises(Malformed) as refused:
                load_security_server_settings(file)
            assert refused.value.code == "config.invalid"
            assert '"x"' not in refused.value.detail
