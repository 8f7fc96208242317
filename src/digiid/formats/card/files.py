"""SELECT and READ BINARY, ISO/IEC 7816-4 §11.2.2 and §11.3.3. On contact every file may be read by anybody."""

from dataclasses import replace
from typing import Final

from digiid.formats.apdu import MAX_SHORT_NE, CommandApdu, StatusWord
from digiid.formats.card.chip import AIDS, FOLDERS, MF, Answer, Chip

_BY_ID, _CHILD_FOLDER, _FILE_IN_FOLDER, _PARENT, _BY_NAME, _PATH_FROM_MF, _PATH_FROM_HERE = 0, 1, 2, 3, 4, 8, 9
_MAX_PATH_BYTES: Final = 8

Place = tuple[int, int | None]  # the current folder and file


def select(chip: Chip, command: CommandApdu) -> Answer:
    """SELECT. A failed one leaves the client where it was; choosing the main application ends the session's PINs."""
    if command.p2 not in (0x00, 0x04, 0x0C):
        return chip, b"", StatusWord.INCORRECT_P1_P2
    place, status = _find_place(chip, command)
    if place is None:
        return chip, b"", status
    session = replace(chip.session, folder=place[0], file=place[1])
    if command.p1 == _BY_NAME and place[0] == MF:
        session = replace(session, verified=frozenset())  # what OpenSC's C_Logout relies on
    moved = replace(chip, session=session)
    return moved, b"" if command.p2 == 0x0C else _control_parameters(moved), StatusWord.OK


def read_binary(chip: Chip, command: CommandApdu) -> Answer:
    """READ BINARY of the current file. A read across the end gives what there is, with 9000 as clients expect."""
    path = (chip.session.folder, chip.session.file)
    if command.p1 & 0x80:  # by short identifier: no file here has one
        return chip, b"", StatusWord.NOT_FOUND
    if command.data:
        return chip, b"", StatusWord.WRONG_LENGTH
    if path[1] is None:
        return chip, b"", StatusWord.NO_CURRENT_EF
    content = chip.memory.files[path[0], path[1]]
    if command.p1_p2 >= len(content):
        return chip, b"", StatusWord.WRONG_OFFSET
    ne = command.ne or MAX_SHORT_NE
    return chip, content[command.p1_p2 : command.p1_p2 + ne], StatusWord.OK


def _find_place(chip: Chip, command: CommandApdu) -> tuple[Place | None, int]:
    here: Place = (chip.session.folder, None)
    data = command.data
    match command.p1:
        case 0x04:
            return _found(next(((folder, None) for folder, aid in AIDS.items() if aid == data), None), bool(data))
        case 0x08 | 0x09:
            if not data or len(data) % 2 or len(data) > _MAX_PATH_BYTES:
                return None, StatusWord.NC_INCONSISTENT_WITH_P1_P2
            start: Place = (MF, None) if command.p1 == _PATH_FROM_MF else here
            return _found(_walk(chip, start, data))
        case 0x03:
            return _found((MF, None), not data)
        case 0x00 | 0x01 | 0x02:
            if not data:
                return _found((MF, None), command.p1 == _BY_ID)
            if len(data) != 2:
                return None, StatusWord.NC_INCONSISTENT_WITH_P1_P2
            fid = int.from_bytes(data)
            if command.p1 == _CHILD_FOLDER and fid == here[0]:  # no folder is its own child
                return None, StatusWord.NOT_FOUND
            return _found(_step(chip, here, fid))
        case _:
            return None, StatusWord.INCORRECT_P1_P2


def _found(place: Place | None, well_formed: bool = True) -> tuple[Place | None, int]:
    if not well_formed:
        return None, StatusWord.NC_INCONSISTENT_WITH_P1_P2
    return place, StatusWord.OK if place else StatusWord.NOT_FOUND


def _walk(chip: Chip, start: Place, path: bytes) -> Place | None:
    """Follow a path from `start`, and when it does not lead anywhere, from the MF."""
    fids = [int.from_bytes(path[i : i + 2]) for i in range(0, len(path), 2)]
    for origin in dict.fromkeys((start, (MF, None))):
        place: Place | None = origin
        for fid in fids:
            place = _step(chip, place, fid) if place and place[1] is None else None
        if place:
            return place
    return None


def _step(chip: Chip, place: Place, fid: int) -> Place | None:
    """Clients name folders from anywhere, whatever P1 says, and the chip finds them: all are children of the MF."""
    if fid == MF or fid in FOLDERS:
        return fid, None
    return (place[0], fid) if (place[0], fid) in chip.memory.files else None


def _control_parameters(chip: Chip) -> bytes:
    """File control parameters (tag 62), ISO/IEC 7816-4 §7.4, in the order and lengths that the real card gives."""
    folder, file = chip.session.folder, chip.session.file
    if file is not None:
        size = len(chip.memory.files[folder, file])
        body = b"\x80\x02" + size.to_bytes(2) + b"\x82\x01\x01\x83\x02" + file.to_bytes(2)
    else:
        aid = AIDS.get(folder, b"")
        name = b"\x84" + bytes((len(aid),)) + aid if aid else b""
        body = b"\x82\x01\x38\x83\x02" + folder.to_bytes(2) + name
    body += b"\x8a\x01\x05"
    return b"\x62" + bytes((len(body),)) + body
