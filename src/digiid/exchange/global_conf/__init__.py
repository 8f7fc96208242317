"""The global configuration in use: downloaded, verified, kept, and asked whom to trust.

`ConfigurationClient` keeps the newest good copy; `GlobalConf` is one copy with everything that is judged by it;
`verify_evidence` judges a stored message by a copy of its time.
"""

from digiid.exchange.global_conf.client import ConfigurationClient, ConfigurationState, read_anchor_file
from digiid.exchange.global_conf.evidence import VerifiedEvidence, verify_evidence
from digiid.exchange.global_conf.folder import load_folder
from digiid.exchange.global_conf.view import GlobalConf

__all__ = [
    "ConfigurationClient",
    "ConfigurationState",
    "GlobalConf",
    "VerifiedEvidence",
    "load_folder",
    "read_anchor_file",
    "verify_evidence",
]
