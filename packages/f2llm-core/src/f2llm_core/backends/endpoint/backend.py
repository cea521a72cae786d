"""A server behind the seam: prompts are counted and cut here, and embedded there."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from functools import partial

from f2llm_core.backends.base import Observer, Pending, Stats
from f2llm_core.backends.endpoint.call import Call, Traffic
from f2llm_core.backends.endpoint.described import Description
from f2llm_core.backends.endpoint.loop import LoopThread
from f2llm_core.backends.endpoint.served import ServedModel
from f2llm_core.engine.hub import ModelSource
from f2llm_core.errors import ConfigurationError
from f2llm_core.fingerprint import ModelIdentity
from f2llm_core.instructions import Prompts
from f2llm_core.options import DEFAULT_MAX_LENGTH, LoadOptions

_PROBE = "width"


class EndpointBackend:
    """Has a server embed whole prompts, as texts.

    Where the model's tokenizer is on this machine, prompts are counted and cut as for a model in
    this process. Where it is not, they are sent as they are, and the server cuts as it does.
    """

    def __init__(self, source: ModelSource, options: LoadOptions) -> None:
        """Prepare; asks nothing.

        Args:
            source: Which model, from `identify`.
            options: Which server.

        Raises:
            ModelLoadError: `source` is a local folder with an unusable `config.json`.
        """
        self.source = source
        self._options = options
        self._description = Description(source)
        self._traffic = Traffic()
        self._learnt: int | None = None
        self._thread = LoopThread(
            partial(_open, self._description, options), self._description.forked
        )
        weakref.finalize(self, self._thread.close, wait=False)
        if source.folder is not None:
            _ = self._description.width  # a wrong folder is better said now than with a text

    @property
    def width(self) -> int:
        """Full embedding width of the model; asks the server where nothing here tells."""
        known = self._description.width or self._learnt
        if known is None:
            call = Call([_PROBE], self._traffic, lambda _: None, self._options.timeout)
            known = self._learnt = Pending(self._thread.run(call.run)).result().shape[1]
        return known

    @property
    def max_position(self) -> int:
        """Longest sequence the model supports, in tokens."""
        return self._description.max_position

    @property
    def prompts(self) -> Prompts:
        """The checkpoint's own prompts; without its files, F2LLM-v2's."""
        return self._description.prompts

    @property
    def stats(self) -> Stats:
        """Answers of the server so far, and texts in them."""
        return Stats(self._traffic.answers, self._traffic.texts)

    @property
    def eos_id(self) -> int:
        """Token that ends every text."""
        return self._description.eos_id

    def identity(self) -> ModelIdentity:
        """Return what a row depends on; see `Backend.identity`."""
        return self._description.identity(self._options)

    def submit(
        self, prompts: Sequence[str], *, prefix: str, max_length: int, observer: Observer
    ) -> Pending:
        """Check, count and cut prompts, and send them; see `Backend.submit`.

        Raises:
            ConfigurationError: `max_length` is not the default, and there is no tokenizer to count.
        """
        texts = self._cut(prompts, prefix, max_length, observer)
        call = Call(texts, self._traffic, observer.embedded, self._options.timeout)
        return Pending(self._thread.run(call.run))

    def count_tokens(self, prompts: Sequence[str]) -> list[int]:
        """Return the untruncated token count of every prompt, EOS included.

        Raises:
            ModelNotFoundError: The model's tokenizer is not on this machine.
        """
        tokenizer = self._description.need_tokenizer("Counting tokens")
        return [len(ids) + 1 for ids in tokenizer.encode(prompts)]

    def close(self) -> None:
        """Give up all requests and close the connections; see `Backend.close`."""
        self._thread.close()

    def _cut(
        self, prompts: Sequence[str], prefix: str, max_length: int, observer: Observer
    ) -> list[str]:
        """Return the texts to send, the heads of those that are too long."""
        tokenizer = self._description.tokenizer
        if tokenizer is None:
            if max_length != DEFAULT_MAX_LENGTH:
                msg = (
                    f"max_length={max_length} needs the tokenizer of {self.source.name}, or the "
                    f"server cuts texts where it likes. {self._description.how_to_get()}"
                )
                raise ConfigurationError(msg)
            observer.tokenized([0] * len(prompts))
            return list(prompts)
        tokenizer.prefix_ids(prefix, max_length)
        prompts = [tokenizer.composed(prompt) for prompt in prompts]  # llama.cpp does not
        lengths = [len(ids) + 1 for ids in tokenizer.encode(prompts)]
        observer.tokenized(lengths)
        return [
            prompt if length <= max_length else tokenizer.head(prompt, max_length - 1)
            for prompt, length in zip(prompts, lengths, strict=True)
        ]


def _open(description: Description, options: LoadOptions) -> ServedModel:
    from f2llm_core.backends.endpoint.client import Client

    client = Client(
        str(options.base_url),
        options.api_key,
        timeout=options.timeout,
        max_retries=options.max_retries,
    )
    return ServedModel(client, description.source, options.server_model, description.width)
