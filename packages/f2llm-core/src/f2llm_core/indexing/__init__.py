"""Documents into a vector store: streamed, each embedded once, and stopped and resumed at any time.

The store is the only truth. Ids are made of source and text, and the store is asked which of them
it has; there is no other record of what was done that could differ from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sized
from contextlib import closing
from typing import Literal, get_args

from f2llm_core.errors import F2LLMError
from f2llm_core.indexing.records import Placed, RowMaker, placed
from f2llm_core.indexing.run import Failure, IndexReport, Run
from f2llm_core.indexing.stale import FormerRows, RemoveMissing
from f2llm_core.options import check_choice, check_positive
from f2llm_core.stores import open_store
from f2llm_core.stores.guarding import encoder_of, guard

__all__ = ["Failure", "IndexReport", "OnError", "Placed", "RemoveMissing", "index"]

#: What becomes of a document that cannot be indexed: it ends the call, or is listed in its report.
OnError = Literal["raise", "collect"]


def index(
    store: object,
    model: object,
    documents: Iterable[object],
    *,
    source_key: str | None = None,
    remove_missing: RemoveMissing | None = "source",
    on_error: OnError = "raise",
    batch_size: int = 1024,
    show_progress: bool = False,
) -> IndexReport:
    """Bring a collection up to date with documents; only what it does not hold is embedded.

    A call that was stopped, in whatever way, is completed by the same call. Several at once, from
    any processes, write equal rows; in a folder of Chroma, which cannot take two, they wait for one
    another. A row's id is a UUID made of its source and text (and of the collection's name in
    LangChain's `PGVector`, whose collections share their ids); the source is kept in the row's
    metadata as `f2llm_source`.

    Args:
        store: Whatever `open_store` takes: a vector store of LangChain or LlamaIndex, a Chroma
            collection, or a `VectorStore`.
        model: An `F2LLM`, or an adapter around one. The collection is stamped with its fingerprint,
            or compared with it.
        documents: Read once, in constant memory: tuples `(id, text)` or `(id, text, metadata)`,
            LangChain's `Document`s, LlamaIndex's nodes, or `Placed` ones. Those of one source
            should stand together. The source is the id of a record (None if it has none), a
            LangChain document's id or else the `"source"` in its metadata, and of a node the
            document that it was cut from.
        source_key: Metadata key that names the source instead, for example `"file_path"` where
            LlamaIndex gives its documents random ids.
        remove_missing: Which rows are removed, after all others are stored: `"source"`, those of
            the sources that came, if their text did not come again; `"collection"`, all that did
            not come; None, none. Rows that `index` did not write, or that came after the call
            began, always stay.
        on_error: What to do about a document that cannot be indexed: `"raise"`, once all before it
            are stored, or `"collect"`.
        batch_size: Rows on their way at most, half of them being embedded and half being stored.
            This many are embedded again after a crash.
        show_progress: Draw a progress bar with rate and time left.

    Returns:
        How many rows were added, changed, left alone, removed and embedded, and what failed.

    Raises:
        FingerprintError: The collection was made with another model; nothing was embedded.
        InputError: A document that cannot be indexed, or metadata that the store cannot hold; the
            message names its place, and it was not embedded.
        NonFiniteError: A vector that no index should hold; its batch was not stored.
        StoreError: The store failed, or is one for hybrid search, whose sparse vectors are not made
            here. This and all others say what is stored by then.
        ConfigurationError: An option with a wrong value.
    """
    batch_size = check_positive("batch_size", batch_size)
    check_choice("on_error", on_error, get_args(OnError))
    check_choice("remove_missing", remove_missing, (*get_args(RemoveMissing), None))
    stream, opened = placed(documents), open_store(store)
    total = len(documents) if isinstance(documents, Sized) else None
    with opened.exclusive():
        encoder = encoder_of(model)
        guard(opened, encoder)
        former = FormerRows(opened, remove_missing)
        size = max(1, batch_size // 2)
        run = Run(opened, encoder, former, collect=on_error == "collect", size=size)
        with closing(run), run.observe(total, show_progress=show_progress):
            try:
                run.embed_and_store(run.read(stream, RowMaker(source_key, opened.id_namespace)))
                if not run.failed:
                    former.remove()
            except F2LLMError as error:
                error.args = (f"{str(error).rstrip('.')}. {run.said()}", *error.args[1:])
                raise
    return run.report()
