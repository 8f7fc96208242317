"""What the portal asks the board on a signed-in person's behalf."""

from digiid.contracts import police_board as contract
from digiid.exchange.client import Client


def list_documents(exchange: Client, personal_code: str) -> tuple[contract.DocumentSummary, ...]:
    request = contract.ListDocuments(personal_code=personal_code)
    purpose = "the holder's own documents"
    return exchange.call(contract.LIST_DOCUMENTS, request, user_id=f"EE{personal_code}", purpose=purpose).documents


def report_loss(exchange: Client, personal_code: str, document_number: str, note: str) -> contract.LossReported:
    request = contract.ReportLoss(personal_code=personal_code, document_number=document_number, note=note)
    return exchange.call(contract.REPORT_LOSS, request, user_id=f"EE{personal_code}")


def report_misuse(exchange: Client, report: contract.ReportMisuse) -> None:
    exchange.call(contract.REPORT_MISUSE, report, message_id=report.report_id)
