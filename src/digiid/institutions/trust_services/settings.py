"""What the trust services need to know: where the hierarchy lies and which file opens its keys."""

from pathlib import Path

from digiid.platform.config import Settings


class TrustServicesSettings(Settings):
    """`hierarchy_folder` was made by create_hierarchy; `passphrase_file` (mode 0600) opens its keys, or holds a PIN."""

    hierarchy_folder: Path
    passphrase_file: Path
