"""`F2LLM`: texts in, vectors out. Every public way to embed something goes through `_pipeline`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

from f2llm_core.configured import ConfiguredModel
from f2llm_core.errors import ConfigurationError, EndpointModelError, ModelError
from f2llm_core.inputs import check_text, check_texts, iterate_texts
from f2llm_core.instructions import Side
from f2llm_core.matryoshka import Vectors, warn_if_untrained
from f2llm_core.options import check_positive
from f2llm_core.pipeline import Call, Pipeline

_SHORT = 4096  # characters, which are tokenised in a millisecond


class F2LLM(ConfiguredModel):
    """An F2LLM-v2 embedding model, immutable once made.

    Queries get the task's instruction, documents are embedded as they are, and no text is ever
    altered. Weights are loaded with the first text; siblings made by `with_options` share them.

        model = F2LLM("80M")
        scores = model.encode_query("우주 망원경") @ model.encode_document(passages).T
    """

    __slots__ = ()

    def encode_query(self, texts: str | Iterable[str], *, show_progress: bool = False) -> Vectors:
        """Embed search queries, with the instruction in front.

        Args:
            texts: The queries, or one of them.
            show_progress: Draw a progress bar.

        Returns:
            float32, unit length: `(n, dimensions)`, or `(dimensions,)` for one `str`.

        Raises:
            InputError: A text that cannot be embedded, or too long where `on_truncate` is
                `"error"`; nothing was computed.
            ConfigurationError: The device or the width cannot be had with this model.
            ModelError: The model cannot be found or loaded.
            EndpointError: With `base_url`: the server failed, or its answer is not to be believed.
            NonFiniteError: The model produced vectors that no index should hold.
            ClosedError: The model was closed.

        Warns:
            TruncationWarning: Of texts longer than `max_length` only the head was embedded.
        """
        return self._begin(texts, "query", show_progress=show_progress).result()

    def encode_document(
        self, texts: str | Iterable[str], *, show_progress: bool = False
    ) -> Vectors:
        """Embed passages for an index; arguments, result and errors as in `encode_query`."""
        return self._begin(texts, "document", show_progress=show_progress).result()

    def encode(self, texts: str | Iterable[str], *, show_progress: bool = False) -> Vectors:
        """Embed texts of a symmetric task (similarity, clustering, classification …).

        Arguments and result as in `encode_query`.

        Raises:
            ConfigurationError: Queries and documents are treated differently by this encoder's
                task, so that the side must be said.
        """
        return self._begin(texts, None, show_progress=show_progress).result()

    async def aencode_query(
        self, texts: str | Iterable[str], *, show_progress: bool = False
    ) -> Vectors:
        """Like `encode_query`, without blocking the event loop."""
        return await self._aembed(texts, "query", show_progress=show_progress)

    async def aencode_document(
        self, texts: str | Iterable[str], *, show_progress: bool = False
    ) -> Vectors:
        """Like `encode_document`, without blocking the event loop."""
        return await self._aembed(texts, "document", show_progress=show_progress)

    async def aencode(self, texts: str | Iterable[str], *, show_progress: bool = False) -> Vectors:
        """Like `encode`, without blocking the event loop."""
        return await self._aembed(texts, None, show_progress=show_progress)

    def iter_documents(
        self, texts: Iterable[str], *, block_size: int = 1024, show_progress: bool = False
    ) -> Iterator[Vectors]:
        """Embed a stream of passages that need not fit into memory.

        Args:
            texts: Read once, one block ahead of what was yielded.
            block_size: Texts per block.
            show_progress: Draw a progress bar.

        Returns:
            Blocks of `(block_size, dimensions)` float32 in the order of the texts; the last may be
            shorter.

        Raises:
            InputError: A text that cannot be embedded; its index counts from the stream's start.
            ConfigurationError: `block_size` is no positive integer.
            F2LLMError: Else as in `encode_query`, with the block that it befell.
        """
        block_size = check_positive("block_size", block_size)
        stream = enumerate(iterate_texts(texts))
        blocks = iter(lambda: [check_text(t, i) for i, t in islice(stream, block_size)], [])
        return self._stream(blocks, show_progress=show_progress)

    def count_tokens(self, texts: str | Iterable[str], *, side: Side = "document") -> list[int]:
        """Count tokens as the model sees them.

        Args:
            texts: The texts, or one of them.
            side: Whose prompt to count along.

        Returns:
            Tokens of each text before truncation, prompt and EOS included.

        Raises:
            InputError: A text that cannot be embedded.
            ModelError: There is no tokenizer on this machine.
        """
        batch = [check_text(texts)] if isinstance(texts, str) else check_texts(texts)
        prompt = self.prompts.of(side)
        return self._backend.count_tokens([prompt + text for text in batch])

    def verify(self, golden: str | Path | None = None) -> None:
        """Make sure that the model does here what it should, for example when a service starts.

        What `f2llm doctor` tries: a model in this process on its own tokens, one on a server
        against the weights on this machine or against a golden file.

        Args:
            golden: File that `f2llm doctor MODEL --write-golden FILE` has written.

        Raises:
            EndpointModelError: The server's vectors are not the model's; says how they differ.
            ModelError: The same of a model in this process.
            ConfigurationError: `golden` is not readable, or of another model.
        """
        from f2llm_core.doctor import doctor

        report = doctor(self, golden=None if golden is None else Path(golden))
        if not report.healthy:
            failed = (str(check) for check in report.checks if check.status == "failed")
            error = EndpointModelError if self.config["base_url"] else ModelError
            msg = f"{self!r} is not what it should be. {' '.join(failed)}"
            raise error(msg)

    def _begin(self, texts: str | Iterable[str], side: Side | None, *, show_progress: bool) -> Call:
        """Check and queue the texts of a call; without a side, of a symmetric task."""
        single = isinstance(texts, str)
        batch = [check_text(texts)] if single else check_texts(texts)
        if not batch:
            return Call.of_nothing(self.dimensions)
        return self._pipeline(side).begin(batch, single=single, show_progress=show_progress)

    async def _aembed(
        self, texts: str | Iterable[str], side: Side | None, *, show_progress: bool
    ) -> Vectors:
        short = isinstance(texts, str) and len(texts) <= _SHORT
        begin = partial(self._begin, texts, side, show_progress=show_progress)
        call = await self._intake.begin(begin, short=short)
        return await call.aresult()

    def _stream(self, blocks: Iterable[list[str]], *, show_progress: bool) -> Iterator[Vectors]:
        yield from self._pipeline("document").stream(blocks, show_progress=show_progress)

    def _pipeline(self, side: Side | None) -> Pipeline:
        if not (self._source.folder or self._source.spec):  # only now is the width known
            warn_if_untrained(self.dimensions, self.width)
        if side is None:
            self._check_symmetric()
        return Pipeline(
            backend=self._backend,
            prompt=self.prompts.of(side or "document"),
            max_length=self.max_length,
            dimensions=self.dimensions,
            on_truncate=self._options.on_truncate,
        )

    def _check_symmetric(self) -> None:
        prompts = self.prompts
        if prompts.query != prompts.document:
            msg = (
                "This encoder treats queries and documents differently: call encode_query or "
                "encode_document, or choose a symmetric task, for example with_options(task='sts')."
            )
            raise ConfigurationError(msg)
