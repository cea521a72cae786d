"""F2LLM-v2 in MTEB: `mteb.evaluate` with this package's encoder and the official instructions.

import mteb
from f2llm_core.evaluation.mteb import F2LLMEncoder

tasks = mteb.get_tasks(tasks=["STS17", "MIRACLRetrievalHardNegatives"])
results = mteb.evaluate(F2LLMEncoder("80M", dimensions=256), tasks)
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from f2llm_core.encoder import F2LLM
from f2llm_core.errors import ConfigurationError, MissingExtraError
from f2llm_core.matryoshka import Vectors
from f2llm_core.models import DEFAULT_MODEL, find_model

try:
    import mteb
    from mteb.models.abs_encoder import AbsEncoder
    from mteb.models.model_meta import ModelMeta, ScoringFunction
    from mteb.types import PromptType
except ImportError as error:
    raise MissingExtraError(__name__, "mteb") from error

if TYPE_CHECKING:
    from mteb.abstasks.task_metadata import TaskMetadata
    from mteb.types import BatchedInput, EncodeKwargs
    from torch.utils.data import DataLoader
    from typing_extensions import Unpack

_INSTRUCTIONS = ("task", "instruction", "document_instruction")


class F2LLMEncoder(AbsEncoder):
    """An F2LLM-v2 model as MTEB's encoder, and as a loader of its `ModelMeta`.

    Instructions are those of the authors' own MTEB runs, which `mteb` holds: that of the task's
    name, else of its type, else of queries, before queries and before all texts of a symmetric
    task. Everything else is as `F2LLM` does it. Results are kept apart from those of `mteb`'s own
    loader and of other widths and precisions.
    """

    def __init__(
        self,
        model: str | Path | F2LLM = DEFAULT_MODEL,
        revision: str | None = None,
        *,
        device: str | None = None,
        prompts: Mapping[str, str] | None = None,
        **options: Any,  # noqa: ANN401  (checked by F2LLM)
    ) -> None:
        """Name a model; its files are read, to know it again, but no weights are loaded yet.

        Args:
            model: What `F2LLM` takes, or an encoder, whose weights are then shared.
            revision: As of `F2LLM`.
            device: As of `F2LLM`.
            prompts: Bare instructions for tasks of your own, by name of the task, type of task or
                `"query"`; they go before the official ones.
            **options: The other arguments of `F2LLM`, but `task` and the instructions.

        Raises:
            ConfigurationError: An option with a wrong value, or an encoder with an instruction.
            ModelError: The model cannot be found, or its files are damaged.
        """
        options |= {k: v for k, v in (("revision", revision), ("device", device)) if v is not None}
        self.model: F2LLM = (
            model.with_options(**options) if isinstance(model, F2LLM) else F2LLM(model, **options)
        )
        given = [name for name in _INSTRUCTIONS if self.model.config[name] is not None]
        if given:
            msg = (
                f"MTEB chooses an instruction for each of its tasks: leave out {', '.join(given)}. "
                "For tasks of your own, pass prompts={'NameOfTheTask': 'An instruction.'}."
            )
            raise ConfigurationError(msg)
        self.prompts_dict: dict[str, str] = _official_instructions() | dict(prompts or {})
        self.mteb_model_meta: ModelMeta = _metadata(self.model, prompts)

    def encode(
        self,
        inputs: DataLoader[BatchedInput],
        *,
        task_metadata: TaskMetadata,
        hf_split: str,
        hf_subset: str,
        prompt_type: PromptType | None = None,
        **kwargs: Unpack[EncodeKwargs],
    ) -> Vectors:
        """Embed texts of a task; `mteb` calls this.

        Args:
            inputs: Batches that hold a list of `"text"`. Their size does not matter: texts are
                batched again by tokens.
            task_metadata: Says the task's name and type.
            hf_split: Not used.
            hf_subset: Not used.
            prompt_type: The side of a retrieval pair; None for a symmetric task.
            **kwargs: `show_progress_bar`; `batch_size` has no effect.

        Returns:
            float32, unit length: `(n, dimensions)`.

        Raises:
            ConfigurationError: A `precision` of vectors other than float32 was asked for.
            InputError: A text that cannot be embedded.
        """
        precision = kwargs.get("precision", "float32")
        if precision != "float32":
            msg = f"precision={precision!r}: this encoder returns float32 vectors only."
            raise ConfigurationError(msg)
        texts = [text for batch in inputs for text in batch["text"]]
        show_progress = kwargs.get("show_progress_bar", True)
        if prompt_type == PromptType.document:
            plain = self.model.with_options(document_instruction="")
            return plain.encode_document(texts, show_progress=show_progress)
        # A symmetric task's texts are embedded like queries: the instruction goes before each.
        asking = self.model.with_options(
            instruction=self.get_instruction(task_metadata, prompt_type)
        )
        return asking.encode_query(texts, show_progress=show_progress)


def _official_instructions() -> dict[str, str]:
    """Return the authors' instructions by name of task, type of task and side; for all sizes."""
    instructions: dict[str, str] = mteb.get_model_meta(DEFAULT_MODEL).loader_kwargs["prompts_dict"]
    return instructions


def _metadata(model: F2LLM, prompts: Mapping[str, str] | None) -> ModelMeta:
    """Describe a model so that `mteb` never takes the kept results of another one for its own."""
    known = model.fingerprint
    # "owner/name@commit" of the hub, or "sha256:…" of a folder's contents
    revision = known.model.rpartition("@" if "@" in known.model else ":")[2]
    released = find_model(known.name)
    meta = mteb.get_model_meta(released.repo_id) if released else ModelMeta.create_empty()
    decisive = {
        "backend": known.backend,
        "dimensions": known.dimensions,
        "dtype": known.dtype,
        "max_length": known.max_length,
        "prompts": dict(prompts) if prompts else None,
    }
    return meta.model_copy(
        update={
            "name": known.name if "/" in known.name else f"local/{known.name}",
            "revision": revision,
            "loader": F2LLMEncoder,
            "loader_kwargs": {},
            "embed_dim": known.dimensions,
            "max_tokens": known.max_length,
            "similarity_fn_name": ScoringFunction.COSINE,
            "use_instructions": True,
            "output_dtypes": None,  # which stands for float32
            "experiment_kwargs": {k: v for k, v in decisive.items() if v is not None},
        }
    )
