"""The vocabulary's table of vectors: more than half of a small model, read a few rows at a time."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812  (the name everybody reads)
from torch import Tensor

from f2llm_core.engine.linear import quantize

_ROWS_AT_ONCE = 8192  # while quantising, so that no float32 copy of the whole table is made


class Table:
    """Rows in the precision they are stored in, which costs nothing: each is widened when read."""

    def __init__(self, weight: Tensor, device: torch.device) -> None:
        """Take over a table.

        Args:
            weight: `(vocabulary, width)`; copied.
            device: Where to keep it.
        """
        self._weight = weight.to(device, copy=True)

    def __call__(self, ids: Tensor) -> Tensor:
        """Return the rows of int64 ids `(T,)` as float32 `(T, width)`."""
        return F.embedding(ids, self._weight).float()


class Int8Table:
    """Rows of 8 bits with a scale each; methods as in `Table`."""

    def __init__(self, weight: Tensor, device: torch.device) -> None:
        """Quantise a table; arguments as in `Table`."""
        parts = [quantize(part) for part in torch.split(weight, _ROWS_AT_ONCE)]
        self._weight = torch.cat([rows for rows, _ in parts]).to(device)
        self._scales = torch.cat([scales for _, scales in parts]).to(device)

    def __call__(self, ids: Tensor) -> Tensor:
        """Return the rows of int64 ids `(T,)` as float32 `(T, width)`."""
        return self._weight[ids].float().mul_(self._scales[ids].unsqueeze(1))
