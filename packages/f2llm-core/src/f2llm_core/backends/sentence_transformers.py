"""The reference: the same ids through sentence-transformers' own modules (an extra).

For comparison and for hardware that only transformers knows. Tokenising and the text contract stay
ours, so a checkpoint whose tokenizer lost its EOS is embedded rightly here, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from f2llm_core.backends.local import Engine, LocalBackend
from f2llm_core.engine.config import Qwen3Config
from f2llm_core.engine.device import choose_device, choose_dtype
from f2llm_core.engine.weights import read_weights
from f2llm_core.errors import MissingExtraError
from f2llm_core.matryoshka import Vectors
from f2llm_core.options import LoadOptions

#: Tokens per forward pass, without the padding: near its best on CPUs, and fine on a GPU.
BATCH_TOKENS = 2048


class SentenceTransformersBackend(LocalBackend):
    """Runs a checkpoint through sentence-transformers: padded batches, transformers' Qwen3."""

    def _load_engine(self, folder: Path, config: Qwen3Config, options: LoadOptions) -> Engine:
        try:
            from sentence_transformers import SentenceTransformer
            from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
        except ImportError as error:
            feature = "The sentence-transformers backend"
            raise MissingExtraError(feature, "sentence-transformers") from error

        read_weights(folder, config)  # transformers would fill what is missing with random numbers
        device = choose_device(options.device)
        transformer = Transformer(
            str(folder),
            model_kwargs={"dtype": choose_dtype(options.dtype, device), "use_safetensors": True},
        )
        # Built from its parts rather than from modules.json, which custom code could hide in.
        model = SentenceTransformer(
            modules=[transformer, Pooling(config.width, pooling_mode="lasttoken")],
            device=str(device),
        )
        return _PaddedEngine(model.eval(), device)


class _PaddedEngine:
    def __init__(self, model: Any, device: torch.device) -> None:  # noqa: ANN401  (untyped library)
        self._model = model
        self.device = device
        self.batch_tokens = BATCH_TOKENS

    def prefix(self, ids: Sequence[int]) -> None:
        """Compute every prompt in full, as the reference should."""

    @torch.inference_mode()
    def forward(
        self, sequences: Sequence[Sequence[int]], prefixes: Sequence[None] | None = None
    ) -> Vectors:
        """Return `(N, width)` float32 rows; the padding id is arbitrary, since it is masked."""
        longest = max(map(len, sequences))
        ids = torch.zeros((len(sequences), longest), dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for row, sequence in enumerate(sequences):
            ids[row, : len(sequence)] = torch.tensor(sequence)
            mask[row, : len(sequence)] = 1
        features = {"input_ids": ids.to(self.device), "attention_mask": mask.to(self.device)}
        rows: Vectors = self._model(features)["sentence_embedding"].float().cpu().numpy()
        return rows
