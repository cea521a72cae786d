"""Contrastive and distillation losses at every matryoshka width."""

import torch
from torch.nn import functional

from .tasks import WIDTHS

TEMPERATURE = 0.05


def similarities(queries: torch.Tensor, passages: torch.Tensor, width: int) -> torch.Tensor:
    """Cosines of the first ``width`` numbers, (n, n) float32, computed outside autocast.

    In bfloat16 the cosines of near passages are equal: that alone costs a fifth of the nDCG.
    """
    left = functional.normalize(queries[:, :width].float(), dim=1)
    right = functional.normalize(passages[:, :width].float(), dim=1)
    return left @ right.T


def matryoshka(
    queries: torch.Tensor,
    passages: torch.Tensor,
    target: torch.Tensor | None = None,
    *,
    temperature: float = TEMPERATURE,
    share: float = 0.5,
) -> torch.Tensor:
    """In-batch contrastive loss, both ways, mean over the widths.

    Args:
        queries: (n, d) vectors; row i belongs to passage i.
        passages: (n, d) vectors, all of different groups.
        target: (n, n) the teacher's probabilities of each passage for each query, or None.
        temperature: Divides the cosines.
        share: Weight of the teacher's probabilities against the one right answer.
    """
    labels = torch.arange(len(queries))
    total = queries.new_zeros((), dtype=torch.float32)
    for width in WIDTHS:
        logits = similarities(queries, passages, width) / temperature
        loss = (
            functional.cross_entropy(logits, labels) + functional.cross_entropy(logits.T, labels)
        ) / 2
        if target is not None:
            soft = -(target * functional.log_softmax(logits, dim=1)).sum(1).mean()
            loss = (1 - share) * loss + share * soft
        total = total + loss
    return total / len(WIDTHS)
