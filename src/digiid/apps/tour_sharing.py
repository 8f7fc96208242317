"""The tour's step about data: a bank asks a register for an address; the person decides, takes it back, sees it all.

Every question in it goes through both security servers, signed, logged and time-stamped.
"""

from typing import TYPE_CHECKING

from digiid.apps import story
from digiid.apps.exchange_status import STATUS_ADDRESSES
from digiid.apps.seed import E_RESIDENT_ROLE
from digiid.apps.story import CardHolder
from digiid.apps.visitor import Page
from digiid.exchange.security_server.status import ask_servers, read_status_addresses

if TYPE_CHECKING:
    from digiid.apps.tour import Tour


def share(tour: "Tour") -> None:
    """The seed's e-resident at the bank: refused before the grant, answered after it, refused after the withdrawal."""
    bank, consent, portal = (tour.origins[site] for site in ("bank", "consent", "portal"))
    holder = tour.holder(E_RESIDENT_ROLE)
    with tour.step(5, "Share: an address, under a consent that can be taken back"):
        for origin in (bank, consent, portal):
            story.sign_in(holder, origin)
        # before: the register refuses, and the bank sends the person to decide
        asked = _ask(holder, bank)
        refused = holder.visitor.open(f"{bank}/address")
        tour.check(
            "without a consent the population register tells the bank nothing", _outcomes(refused) == ["refused"]
        )
        tour.check(
            "the consent page says who asks, for what and until when",
            asked.url.startswith(consent) and "Test Bank" in asked.text,
        )
        # granted
        granted = story.sign(holder, asked)
        tour.check("signed with PIN2; the signed words are kept for the person", "/signed" in granted.content.decode())
        shown = holder.visitor.open(f"{bank}/address/back")
        tour.check("the register answers the bank, a contact address in Helsinki", "Helsinki" in shown.text)
        # taken back
        base = granted.url.split("?")[0]
        holder.visitor.submit(holder.visitor.open(f"{base}/withdraw"), action="/withdraw")
        after = story.wait_for(lambda: _refused_again(holder, bank), "the withdrawal to reach the register")
        tour.check("withdrawn: the register refuses from now on", "does not hold any more" in after.text)
        # and seen
        told = holder.visitor.open(f"{bank}/address")
        tour.check("the bank shows what came of each question", _outcomes(told)[-2:] == ["answered", "refused"])
        looks = story.wait_for(lambda: _seen(holder, portal), "both records of the look")
        tour.check("the portal shows the look, who, why and under which consent", "with your consent" in looks.text)
        tour.check("and what was asked and refused", "Asked, and refused" in looks.text)
        tour.check("no look that only one side has on record", "do not agree" not in looks.text)
        servers = ask_servers(read_status_addresses(tour.state.folder.path / STATUS_ADDRESSES))
        tour.check(
            "two security servers carried it; no clock of theirs has stopped",
            len(servers) == 2 and all(server.status is not None and server.state != "stopped" for server in servers),
        )


def _ask(holder: CardHolder, bank: str) -> Page:
    return holder.visitor.submit(holder.visitor.open(f"{bank}/address"), action="/address")


def _outcomes(page: Page) -> list[str]:
    """What came of each question, the oldest first."""
    cells = page.tree.xpath("//table//td[2]")
    told = [" ".join(cell.text_content().split()) for cell in cells]
    return ["refused" if "refused" in text else "answered" for text in told if "refused" in text or "answered" in text]


def _refused_again(holder: CardHolder, bank: str) -> Page | None:
    answer = holder.visitor.submit(
        holder.visitor.open(f"{bank}/address"), button="Ask the register again", expect_error=True
    )
    return answer if answer.status == 403 else None


def _seen(holder: CardHolder, portal: str) -> Page | None:
    page = holder.visitor.open(f"{portal}/who-looked")
    return page if "Test Bank" in page.text and "Asked, and refused" in page.text else None
