"""What is known here of a model that runs elsewhere: its files, if there are any, else its size."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path

from f2llm_core.backends.checkpoint import Checkpoint
from f2llm_core.engine.contents import COMMIT, content_of
from f2llm_core.engine.hub import ModelSource, at_hand
from f2llm_core.engine.tokenizer import Tokenizer
from f2llm_core.errors import ContractWarning, FingerprintError, ModelNotFoundError, warn
from f2llm_core.fingerprint import ModelIdentity
from f2llm_core.instructions import DEFAULT_TASK, Prompts, format_prompt
from f2llm_core.options import LoadOptions

# The same in all released sizes (their config.json).
_MAX_POSITION = 40_960
_EOS_ID = 151_645


class Description:
    """Width, tokenizer and prompts of a model. Nothing is downloaded, and weights are not read.

    Attributes:
        source: Which model.
    """

    def __init__(self, source: ModelSource) -> None:
        self.source = source

    @cached_property
    def folder(self) -> Path | None:
        """Where files of the model are on this machine; None if there are none."""
        return at_hand(self.source)

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The model's tokenizer; None if it is not on this machine."""
        return None if self._checkpoint is None else self._checkpoint.tokenizer

    @property
    def width(self) -> int | None:
        """Full embedding width of the model; None if it is not known."""
        if self.source.spec is not None:
            return self.source.spec.width
        return None if self._checkpoint is None else self._checkpoint.config.width

    @property
    def max_position(self) -> int:
        """Longest sequence the model supports, in tokens."""
        return _MAX_POSITION if self._checkpoint is None else self._checkpoint.config.max_position

    @property
    def eos_id(self) -> int:
        """Token that ends every text."""
        return _EOS_ID if self.tokenizer is None else self.tokenizer.eos_id

    @cached_property
    def prompts(self) -> Prompts:
        """The checkpoint's own prompts; without its files, F2LLM-v2's."""
        if self.tokenizer is not None:
            return self.tokenizer.prompts
        ours = Prompts(query=format_prompt(DEFAULT_TASK.instruction), document="")
        if self.source.spec is None:
            warn(
                f"The prompts of {self.source.name} are not known without its files, those of "
                f"F2LLM-v2 are used: {ours.query!r} before queries, nothing before documents. "
                f"{self.how_to_get()}",
                ContractWarning,
            )
        return ours

    def identity(self, options: LoadOptions) -> ModelIdentity:
        """Return what a row depends on, as far as the caller knows: the server may run another.

        Args:
            options: Which server.

        Raises:
            FingerprintError: It is not known which revision this is.
            OSError: A file cannot be read.
        """
        commit = self.source.revision or ""
        if self.folder is not None:
            model = content_of(self.source, self.folder)
        elif COMMIT.fullmatch(commit):
            model = f"{self.source.name}@{commit}"
        else:
            msg = (
                f"{self.source.name} has no files on this machine, so that it is not known which "
                "revision the server runs: pass the commit as `revision`."
            )
            raise FingerprintError(msg)
        where = " ".join(filter(None, [options.base_url, options.server_model]))
        return ModelIdentity(model, "endpoint", "unknown", where)

    def need_tokenizer(self, why: str) -> Tokenizer:
        """Return the tokenizer.

        Args:
            why: What it is needed for, to begin the message with.

        Raises:
            ModelNotFoundError: It is not on this machine.
        """
        if self.tokenizer is None:
            msg = f"{why} needs the tokenizer of {self.source.name}. {self.how_to_get()}"
            raise ModelNotFoundError(msg)
        return self.tokenizer

    def how_to_get(self) -> str:
        """Say how to get the files, without the weights."""
        revision = f" --revision {self.source.revision}" if self.source.revision else ""
        return (
            f"Get its small files: `hf download {self.source.name}{revision} --include '*.json'`."
        )

    def forked(self) -> None:
        """Let go of locks that threads of the parent process may have held."""
        if (checkpoint := self.__dict__.get("_checkpoint")) is not None:
            checkpoint.forked()

    @cached_property
    def _checkpoint(self) -> Checkpoint | None:
        if self.folder is None:
            return None
        found = replace(self.source, folder=self.folder)
        return Checkpoint(found, local_files_only=True, token=None)
