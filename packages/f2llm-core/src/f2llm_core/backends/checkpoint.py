"""The files of one model, each read when it is first needed, once, by whichever thread it is."""

from __future__ import annotations

import threading
from pathlib import Path

from f2llm_core.engine.config import Qwen3Config, read_config
from f2llm_core.engine.contract import check_modules
from f2llm_core.engine.hub import ModelSource, fetch
from f2llm_core.engine.tokenizer import Tokenizer
from f2llm_core.errors import ModelLoadError
from f2llm_core.secret import Hidden


class Checkpoint:
    """Folder, configuration and tokenizer of a model; a failed read is tried again next time."""

    def __init__(
        self, source: ModelSource, *, local_files_only: bool, token: Hidden | None
    ) -> None:
        """Prepare to read.

        Args:
            source: Which model, from `identify`.
            local_files_only: Never use the network.
            token: Hub token for private repositories.
        """
        self.source = source
        self._local_files_only = local_files_only
        self._token = token
        self._folder: Path | None = None
        self._config: Qwen3Config | None = None
        self._tokenizer: Tokenizer | None = None
        self.forked()

    def forked(self) -> None:
        """Make a new lock: in a forked process the old one may never be released."""
        self._reading = threading.RLock()

    @property
    def folder(self) -> Path:
        """Where the files are; downloads them if they are not on this machine."""
        with self._reading:
            if self._folder is None:
                self._folder = fetch(
                    self.source, local_files_only=self._local_files_only, token=self._token
                )
            return self._folder

    @property
    def config(self) -> Qwen3Config:
        """Shape of the model."""
        with self._reading:
            if self._config is None:
                self._config = self._read_config()
            return self._config

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer, which knows the checkpoint's prompts, too."""
        with self._reading:
            tokenizer = self._tokenizer  # read once: `forget_tokenizer` waits for no download
            if tokenizer is None:
                tokenizer = self._tokenizer = Tokenizer(self.folder, self.config)
            return tokenizer

    def forget_tokenizer(self) -> None:
        """Free what takes memory."""
        self._tokenizer = None

    def _read_config(self) -> Qwen3Config:
        path = self.folder / "config.json"
        config = read_config(path)
        check_modules(self.folder)
        spec = self.source.spec
        if spec is not None and (config.width, config.layers) != (spec.width, spec.layers):
            msg = (
                f"{path} describes {config.layers} layers of width {config.width}; {spec.repo_id} "
                f"has {spec.layers} of {spec.width}. The cached files are of another model."
            )
            raise ModelLoadError(msg)
        return config
