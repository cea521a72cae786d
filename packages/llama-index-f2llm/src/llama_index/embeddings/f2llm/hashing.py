"""What an `IngestionPipeline` knows an embedding model by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from f2llm_core import F2LLM

# No document's vector depends on these.
_OTHERS = {"name", "query_prompt"}


class Hashed(dict[str, Any]):
    """A model's `to_dict`, whose string is what the vectors of documents depend on.

    The pipeline keeps nodes by the hash of `str(transformation.to_dict())`. Options in their place
    would miss a folder that was trained anew or a branch that moved on, and would embed all again
    for another query instruction.
    """

    def __init__(self, options: Mapping[str, Any], encoder: F2LLM) -> None:
        """Wrap.

        Args:
            options: What makes the model again.
            encoder: Whose fingerprint is read when a string is asked for, not before.
        """
        super().__init__(options)
        self._encoder = encoder

    def __str__(self) -> str:
        stamp = self._encoder.fingerprint.to_dict()
        decisive = {k: v for k, v in sorted(stamp.items()) if k not in _OTHERS}
        # "error" promises that no text was cut; one kept from before may have been.
        return f"F2LLM {decisive | {'never cut': self.get('on_truncate') == 'error'}}"
