"""A SoftHSM token of a test's own, with keys and certificates on it.

The module reads its configuration once a process: everything that touches a token runs in `in_child`.
"""

import os
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so")
_CURVES = {"p256": "secp256r1", "p384": "secp384r1", "p521": "secp521r1"}


@dataclass(frozen=True)
class SoftToken:
    folder: Path
    module: str

    @property
    def configuration(self) -> Path:
        return self.folder / "softhsm.conf"

    def uri(self, attributes: str = "") -> str:
        return f"pkcs11:token=test{attributes}?module-path={self.module}&pin-source=file:{self.folder}/pin"

    def use(self) -> None:
        """Point this process to the token; call it in a child."""
        os.environ["SOFTHSM2_CONF"] = str(self.configuration)

    def _session(self) -> Any:
        import pkcs11

        token = pkcs11.lib(self.module).get_token(token_label="test")
        try:
            return token.open(rw=True, user_pin="5678")
        except pkcs11.UserAlreadyLoggedIn:
            return token.open(rw=True)

    def make_key(self, kind: str, *, label: str, key_id: bytes) -> None:
        """A key pair inside the token."""
        import pkcs11
        from pkcs11.util.ec import encode_named_curve_parameters

        with self._session() as session:
            if kind.startswith("rsa"):
                session.generate_keypair(pkcs11.KeyType.RSA, int(kind[3:]), store=True, label=label, id=key_id)
                return
            curve = {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters(_CURVES[kind])}
            parameters = session.create_domain_parameters(pkcs11.KeyType.EC, curve, local=True)
            parameters.generate_keypair(store=True, label=label, id=key_id)

    def destroy_keys(self) -> None:
        """Every key pair on the token."""
        import pkcs11

        with self._session() as session:
            for kind in (pkcs11.ObjectClass.PRIVATE_KEY, pkcs11.ObjectClass.PUBLIC_KEY):
                for found in list(session.get_objects({pkcs11.Attribute.CLASS: kind})):
                    found.destroy()

    def store_certificate(self, certificate: x509.Certificate, *, label: str, key_id: bytes) -> None:
        import pkcs11
        from pkcs11 import Attribute

        with self._session() as session:
            session.create_object(
                {
                    Attribute.CLASS: pkcs11.ObjectClass.CERTIFICATE,
                    Attribute.CERTIFICATE_TYPE: pkcs11.CertificateType.X_509,
                    Attribute.TOKEN: True,
                    Attribute.LABEL: label,
                    Attribute.ID: key_id,
                    Attribute.SUBJECT: certificate.subject.public_bytes(),
                    Attribute.VALUE: certificate.public_bytes(Encoding.DER),
                }
            )


def new_token(folder: Path) -> SoftToken:
    """A token with PIN 5678. Raises: LookupError without SoftHSM."""
    module = next((path for path in MODULES if Path(path).exists()), None)
    if module is None or shutil.which("softhsm2-util") is None:
        raise LookupError("SoftHSM is not installed")
    (folder / "tokens").mkdir(parents=True)
    (folder / "softhsm.conf").write_text(f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\n")
    (folder / "pin").write_text("5678\n")
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", "test", "--so-pin", "1234", "--pin", "5678"],
        check=True,
        capture_output=True,
        env={**os.environ, "SOFTHSM2_CONF": str(folder / "softhsm.conf")},
    )
    return SoftToken(folder, module)


def token_or_skip(folder: Path) -> SoftToken:
    try:
        return new_token(folder)
    except LookupError as error:
        pytest.skip(str(error))


def in_child(work: Callable[[], None]) -> None:
    """Run `work` in a forked process; its failure is this test's failure."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, "the child failed; its words are above"
