"""A program that asks the library of provider.py how many books a person has on loan, over the exchange.

python consumer.py --server http://127.0.0.1:8480 38001085718
"""

import argparse
import sys

from digiid.exchange.client import Client
from digiid.kernel.errors import DigiidError


def ask(exchange: Client, personal_code: str, *, library: str, purpose: str) -> int:
    """How many books. Raises: the library's refusal, or the exchange's."""
    answer = exchange.rest(
        f"{library}/loans", "POST", "/v1", json_body={"personal_code": personal_code}, purpose=purpose
    )
    answer.raise_for_status()
    return int(answer.json()["books"])


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("personal_code")
    arguments.add_argument("--server", required=True, help="the inside address of your own security server")
    arguments.add_argument("--subsystem", default="EE/COM/10000298/school", help="your own subsystem")
    arguments.add_argument("--library", default="EE/COM/10000299/library", help="the provider")
    arguments.add_argument("--certificate", help="your TLS certificate, registered at the server (PEM)")
    arguments.add_argument("--key", help="its key (PEM)")
    arguments.add_argument("--server-certificate", help="the server's internal certificate (PEM)")
    given = arguments.parse_args()
    try:
        exchange = Client.connect(
            given.subsystem,
            server=given.server,
            certificate=given.certificate,
            key=given.key,
            server_certificate=given.server_certificate,
        )
        books = ask(exchange, given.personal_code, library=given.library, purpose="books back before the holidays")
    except DigiidError as error:
        sys.stderr.write(f"{error.public or error}\n")
        return 1
    sys.stdout.write(f"{books} on loan\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
