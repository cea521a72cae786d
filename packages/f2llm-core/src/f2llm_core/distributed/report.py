"""What a run did, put together from its blocks."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from f2llm_core.indexing.run import Failure


@dataclass(frozen=True, slots=True)
class EmbedReport:
    """What a call did. Every row that was read is one of embedded, skipped and failed.

    Attributes:
        embedded: Rows that the folder holds and did not hold before.
        skipped: Rows that were there already, and those that came twice with the same text.
        failed: Rows that cannot be embedded, and why.
        truncated: Texts of which only the head was embedded.
        tokens: Tokens of what was embedded, as far as they were kept.
        seconds: Duration, start of the workers included.
    """

    embedded: int = 0
    skipped: int = 0
    failed: tuple[Failure, ...] = ()
    truncated: int = 0
    tokens: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class BlockReport:
    """What became of the rows of one table.

    Attributes:
        rows: How many it had.
        part: Name of the part that was written, the same for the same rows; empty for none.
        written: Its rows.
        tokens: Tokens that were embedded.
        too_long: Places of texts that were cut, with their lengths.
        failed: Rows that cannot be embedded, and why.
    """

    rows: int = 0
    part: str = ""
    written: int = 0
    tokens: int = 0
    too_long: list[str] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)

    def to_json(self) -> str:
        """Return what `from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, written: str) -> BlockReport:
        """Return what `to_json` wrote."""
        content: dict[str, Any] = json.loads(written)
        content["failed"] = [Failure(**one) for one in content["failed"]]
        return cls(**content)
