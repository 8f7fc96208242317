"""What the validation service may be told."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """Sizes in bytes, times in seconds. `sign_reports`: every detailed report is sealed, not only those asked for."""

    workers: int = 2
    max_waiting: int = 64
    max_per_client: int = 32
    max_json_bytes: int = 27 * 1024 * 1024
    max_raw_bytes: int = 1024 * 1024 * 1024
    max_spooled_bytes: int = 4 * 1024 * 1024 * 1024
    chunk_seconds: float = 15.0
    json_seconds: float = 60.0
    raw_seconds: float = 600.0
    judge_seconds: float = 30.0
    judge_raw_seconds: float = 120.0
    sign_reports: bool = False
