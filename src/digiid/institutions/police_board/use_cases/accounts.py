"""Accounts by e-mail: a link that works once, for sixty minutes, and tells nobody whether an address is known."""

import hashlib
from datetime import timedelta

from digiid.institutions.police_board import store
from digiid.institutions.police_board.domain.form import parse_email
from digiid.institutions.police_board.store.accounts import Account, SignInLink
from digiid.institutions.police_board.use_cases.deps import Deps, put_message, record_journal
from digiid.kernel.errors import Refused
from digiid.platform.entropy import new_id, token_urlsafe

LINK_LIFETIME = timedelta(minutes=60)
LINKS_PER_ADDRESS_AND_HOUR = 5
LINKS_PER_CLIENT_AND_HOUR = 40
_HOUR = timedelta(hours=1)


def request_link(deps: Deps, *, email: str, language: str, client: str) -> None:
    """Send a sign-in link. The same for every address: whether an account is there shows only in the mailbox.

    `client` is the caller's network address, for the limit. Beyond a limit nothing is sent and nothing is said.

    Raises: InvalidForm when the text cannot be an e-mail address.
    """
    # 1 an address
    address = parse_email(email)
    now = deps.clock.now()
    token = token_urlsafe(deps.entropy, 32)
    with deps.db.write() as tx:
        # 2 limits: a mailbox is not flooded, and one caller does not try a list of addresses
        if (
            store.accounts.count_links(tx, since=now - _HOUR, email=address) >= LINKS_PER_ADDRESS_AND_HOUR
            or store.accounts.count_links(tx, since=now - _HOUR, client=client[:100]) >= LINKS_PER_CLIENT_AND_HOUR
        ):
            record_journal(tx, "link.limited", at=now)
            return
        # 3 the link: only its hash stays here once the letter is out
        store.accounts.add_link(
            tx, SignInLink(_hash(token), address, language, client[:100], now, now + LINK_LIFETIME, None)
        )
        link = f"{deps.apply_url}/link/{token}"
        payload = {"letter": "sign_in", "to": address, "language": language, "link": link}
        put_message(deps, tx, "mail", payload, key=f"link-{_hash(token)[:32]}")
    deps.wake_outbox()


def consume_link(deps: Deps, token: str) -> Account:
    """Use a link up and return its account, made now if this is the first time.

    Called for a POST only: mail scanners open links with GET, and that must use nothing up.

    Raises: Refused `link.invalid`: unknown, used already or too old; one answer for all three.
    """
    now = deps.clock.now()
    with deps.db.write() as tx:
        link = store.accounts.find_link(tx, _hash(token))
        if link is None or link.used_at is not None or now >= link.expires_at:
            raise Refused(
                "link.invalid",
                "unknown, used or expired",
                public="This link does not work any more. Ask for a new one.",
            )
        store.accounts.use_link(tx, link.token_hash, at=now)
        account = store.accounts.find_account(tx, email=link.email)
        if account is None:
            account = Account(new_id(deps.entropy), link.email, link.language, now)
            store.accounts.add_account(tx, account)
            record_journal(tx, "account.opened", at=now, account=account.account_id)
        record_journal(tx, "account.signed_in", at=now, account=account.account_id)
    return account


def get_account(deps: Deps, account_id: str) -> Account:
    """Raises: Refused `account.unknown`."""
    with deps.db.read() as tx:
        account = store.accounts.find_account(tx, account_id=account_id)
    if account is None:
        raise Refused("account.unknown", account_id)
    return account


def forget_old_links(deps: Deps) -> None:
    """Remove links that can no longer work and no longer count for a limit."""
    with deps.db.write() as tx:
        store.accounts.delete_links(tx, before=deps.clock.now() - _HOUR)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
