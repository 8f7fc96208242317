"""A payment provider for test states: speaks docs/reference/payment-contract.md and moves no money.

It has a database of its own, calls back from an outbox worker of its own, and lets the person at
the screen choose what happens: paid, declined, the callback lost, the callback sent twice.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from litestar import Request, Response, get, post
from litestar.params import FromPath
from sqlalchemy import Column, Integer, MetaData, String, Table, Text, insert, select, update
from sqlalchemy.engine import Connection

from digiid.formats.payment import (
    MAX_MESSAGE_LENGTH,
    PaymentNotice,
    PaymentRequest,
    PaymentState,
    Purpose,
    sign_notice,
    verify_query,
    verify_request,
)
from digiid.kernel.errors import Conflict, Malformed, NotFound, Refused, Unavailable
from digiid.platform.clock import Clock
from digiid.platform.db import Database, UtcDateTime
from digiid.platform.entropy import Entropy, new_id
from digiid.platform.http import HttpClient
from digiid.platform.institution import Running, Surroundings
from digiid.platform.outbox import OutboxMessage, Worker, outbox_table, put
from digiid.platform.secret_file import read_or_make_secret
from digiid.platform.web import N_
from digiid.platform.web.sessions import SessionStore, sessions_table
from digiid.platform.web.site import Site, SiteSettings, form_of, page, redirect, run

MERCHANT = "police-board"
CHOICES = ("pay", "decline", "lose_callback", "callback_twice")
_WEB = Path(__file__).parent / "test_pages"

metadata = MetaData()
OUTBOX = outbox_table(metadata)
SESSIONS = sessions_table(metadata)
PAYMENTS = Table(
    "payments",
    metadata,
    Column("payment_id", String(64), primary_key=True),
    Column("merchant", String(40), nullable=False),
    Column("amount_cents", Integer, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("description", Text, nullable=False),
    Column("return_url", Text, nullable=False),
    Column("callback_url", Text, nullable=False),
    Column("state", String(20), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)


@dataclass(frozen=True, slots=True)
class StoredPayment:
    payment_id: str
    merchant: str
    amount_cents: int
    currency: str
    description: str
    return_url: str
    callback_url: str
    state: PaymentState
    created_at: datetime

    def notice(self) -> PaymentNotice:
        return PaymentNotice(self.payment_id, self.state, self.amount_cents, self.currency)


class TestPayments:
    """The provider's few use cases."""

    __test__ = False  # not a test case, whatever pytest thinks of the name

    def __init__(self, db: Database, clock: Clock, entropy: Entropy, http: HttpClient, key: bytes) -> None:
        self.db, self._clock, self._entropy, self._http, self._key = db, clock, entropy, http, key
        self.worker = Worker("test_payments", db, OUTBOX, clock, {"callback": self.call_back})

    def open(self, unverified_request: str) -> StoredPayment:
        """Take a merchant's request from the payer's browser; the same request again finds the same payment.

        Raises: Malformed, Refused `payment.…`; Conflict `payment.changed` when the amount is another one.
        """
        request = verify_request(unverified_request, key=self._key)
        if request.merchant != MERCHANT:
            raise Refused("payment.merchant", request.merchant, public="This merchant is not known.")
        with self.db.write() as tx:
            known = _find(tx, request.payment_id)
            if known is None:
                known = self._add(tx, request)
            elif (known.amount_cents, known.currency) != (request.amount_cents, request.currency):
                raise Conflict("payment.changed", request.payment_id, public="This payment has another amount.")
        return known

    def choose(self, payment_id: str, choice: str) -> StoredPayment:
        """What the person at the screen chose. A payment is settled once; a declined one can still be paid.

        Raises: NotFound `payment.unknown`, Malformed `payment.choice`.
        """
        if choice not in CHOICES:
            raise Malformed("payment.choice", choice[:20])
        with self.db.write() as tx:
            payment = _find(tx, payment_id)
            if payment is None:
                raise NotFound("payment.unknown", payment_id, public="There is no such payment.")
            if payment.state == "paid":
                return payment
            state = "declined" if choice == "decline" else "paid"
            tx.execute(update(PAYMENTS).where(PAYMENTS.c.payment_id == payment_id).values(state=state))
            for _ in range({"lose_callback": 0, "callback_twice": 2}.get(choice, 1)):
                message_id = new_id(self._entropy)
                put(
                    tx,
                    OUTBOX,
                    message_id=message_id,
                    kind="callback",
                    payload={"payment_id": payment_id},
                    at=self._clock.now(),
                    ordering_key=payment_id,
                )
        self.worker.wake()
        return payment

    def answer_status(self, unverified_query: str) -> str:
        """The signed answer to a merchant's status query; a payment that was never opened is `unknown`."""
        query = verify_query(unverified_query, key=self._key)
        with self.db.read() as tx:
            payment = _find(tx, query.payment_id)
        notice = payment.notice() if payment else PaymentNotice(query.payment_id, "unknown", 0, "EUR")
        return sign_notice(notice, purpose=Purpose.STATUS_ANSWER, key=self._key)

    def call_back(self, message: OutboxMessage) -> None:
        """Tell the merchant, until it says 200. Raises: Unavailable, to be tried again."""
        with self.db.read() as tx:
            payment = _find(tx, str(message.payload["payment_id"]))
        if payment is None:
            return
        body = sign_notice(payment.notice(), purpose=Purpose.CALLBACK, key=self._key)
        answer = self._http.request(
            "POST", payment.callback_url, content=body.encode(), headers={"Content-Type": "text/plain"}
        )
        if answer.status != 200:
            raise Unavailable("payment.callback", f"the merchant answered {answer.status}")

    def _add(self, tx: Connection, request: PaymentRequest) -> StoredPayment:
        payment = StoredPayment(
            payment_id=request.payment_id,
            merchant=request.merchant,
            amount_cents=request.amount_cents,
            currency=request.currency,
            description=request.description,
            return_url=request.return_url,
            callback_url=request.callback_url,
            state="pending",
            created_at=self._clock.now(),
        )
        tx.execute(insert(PAYMENTS).values(**{f: getattr(payment, f) for f in StoredPayment.__dataclass_fields__}))
        return payment


def _find(tx: Connection, payment_id: str) -> StoredPayment | None:
    row = tx.execute(select(*PAYMENTS.c).where(PAYMENTS.c.payment_id == payment_id)).mappings().one_or_none()
    return StoredPayment(**{**row, "state": cast(PaymentState, row["state"])}) if row else None


def handlers(provider: TestPayments) -> list[Any]:
    @get("/")
    async def front(request: Request[Any, Any, Any]) -> Response[Any]:
        return await page(request, "test_payment_front.html")

    @get("/pay")
    async def pay(request: Request[Any, Any, Any]) -> Response[Any]:
        payment = await run(request, provider.open, request.query_params.get("request", ""))
        return await page(request, "test_payment.html", {"payment": payment})

    @post("/pay/{payment_id:str}")
    async def choose(request: Request[Any, Any, Any], payment_id: FromPath[str]) -> Response[Any]:
        form = await form_of(request)
        payment = await run(request, provider.choose, payment_id, form.value("choice"))
        return redirect(payment.return_url)

    @post("/status", no_csrf=True, status_code=200)
    async def status(request: Request[Any, Any, Any]) -> Response[Any]:
        body = await request.body()
        if len(body) > MAX_MESSAGE_LENGTH:
            raise Malformed("payment.message", "too long")
        # on the pool for services: pages of the merchant in the same process wait for this answer
        pools = request.app.state["site"].pools
        answer = await pools.services.run(provider.answer_status, body.decode("ascii", "replace"))
        return Response(answer, media_type="text/plain")

    return [front, pay, choose, status]


def build(around: Surroundings, *, secret_file: Path, csrf_secret: str) -> Running[Any]:
    """The provider's site `pay` on a database of its own. `secret_file` is shared with the merchant."""
    db = Database.sqlite(around.database_folder / "test_payments.sqlite")
    with db.write() as tx:
        metadata.create_all(tx)
    key = read_or_make_secret(secret_file, around.entropy)
    provider = TestPayments(db, around.clock, around.entropy, around.http, key)
    site = Site.within(
        around,
        SiteSettings(
            name="pay",
            title=N_("Test payments"),
            origin=around.origins["pay"],
            agent_origin=around.origins["agent"],
            folders=(_WEB,),
            form_targets=(around.origins["apply"],),
        ),
        SessionStore("pay", db, SESSIONS, around.clock, around.entropy),
        csrf_secret,
    )

    def health() -> dict[str, Any]:
        db.check()
        return {"name": "Test payments"}

    return Running(
        name="test_payments",
        sites={"pay": site.build(handlers(provider), health=health)},
        services=(),
        workers=(provider.worker,),
        timers=(),
        health=health,
        close=db.close,
    )
