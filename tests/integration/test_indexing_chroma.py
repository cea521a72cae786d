"""Indexing into real stores: Chroma above all, and every other kind that is known."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from langchain_core.documents import Document
from llama_index.core import Document as LlamaDocument
from llama_index.core import VectorStoreIndex
from llama_index.core.node_parser import TokenTextSplitter
from llama_index.core.schema import TextNode

from f2llm_core import F2LLM, FingerprintError, InputError, StoreError, audit
from f2llm_core.indexing import index
from f2llm_core.indexing.records import SOURCE
from f2llm_core.stores import open_store
from f2llm_core.testing import tiny_checkpoint
from langchain_f2llm import F2LLMEmbeddings
from llama_index.embeddings.f2llm import F2LLMEmbedding
from store_kinds import (
    KINDS,
    chroma,
    chroma_client,
    database,
    langchain_chroma,
    llama_index_chroma,
)

CORPUS = Path(__file__).parents[2] / "examples" / "multilingual_rag" / "data" / "debian.jsonl"


def contents(store):
    opened = open_store(store)
    found = opened.get([entry.id for entry in opened.entries()])
    assert len(found.ids) == opened.count()
    return Counter((m[SOURCE], d) for m, d in zip(found.metadatas, found.documents, strict=True))


def assert_right(store, encoder, records):
    assert contents(store) == Counter(record[:2] for record in records)
    opened = open_store(store)
    found = opened.get([entry.id for entry in opened.entries()])
    expected = encoder.encode_document(found.documents)
    np.testing.assert_allclose(found.vectors, expected, atol=1e-5)


@pytest.fixture(params=KINDS)
def any_store(request, encoder, tmp_path):
    with KINDS[request.param](tmp_path, F2LLMEmbeddings.from_encoder(encoder), 64) as store:
        yield store


def test_every_store_is_brought_up_to_date(any_store, encoder):
    records = [(f"{i // 3}.txt", f"Chunk {i}: 우주\n", {"n": i, "tag": "a"}) for i in range(60)]
    report = index(any_store, encoder, records, batch_size=16)
    assert report.added == 60
    assert_right(any_store, encoder, records)
    again = index(any_store, encoder, records)
    assert (again.unchanged, again.embedded) == (60, 0)

    records[0] = ("0.txt", "Changed.", {"n": 0})
    records[1] = (*records[1][:2], {"n": -1})
    del records[50:]
    report = index(any_store, encoder, records, remove_missing="collection")
    assert (report.changed, report.removed, report.embedded) == (2, 10, 1)
    assert_right(any_store, encoder, records)

    with pytest.raises(FingerprintError):
        index(any_store, encoder.with_options(dimensions=32), records)
    assert_right(any_store, encoder, records)


def test_the_same_documents_in_two_collections_of_one_database(encoder):
    """LangChain's `PGVector` keeps all collections in one table, with one primary key."""
    from langchain_postgres import PGVector
    from sqlalchemy import create_engine

    engine = create_engine(database("psycopg"))
    embeddings = F2LLMEmbeddings.from_encoder(encoder)
    records = [(f"{i}", f"Text {i}") for i in range(5)]
    stores = [PGVector(embeddings, collection_name=n, connection=engine) for n in ("a", "b")]
    for store in (*stores, *stores):
        index(store, encoder, records, remove_missing="collection")
        assert index(store, encoder, records).unchanged == 5
    for store in stores:
        assert_right(store, encoder, records)
    engine.dispose()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.startswith("llama_index")])
def test_metadata_is_not_taken_for_the_text_whatever_its_name(kind, encoder, tmp_path):
    names = {"text": "a", "document": "b", "id": "c"}
    with KINDS[kind](tmp_path, None, 64) as store:
        index(store, encoder, [TextNode(text="A node.", metadata=names)])
        [(_, text)] = contents(store)
        assert text == "A node."
        assert audit(store, encoder).right
        record = ("a", "A record.", names)
        if kind == "llama_index_qdrant":
            with pytest.raises(InputError, match="the key 'text', where LlamaIndex keeps the text"):
                index(store, encoder, [record])
        else:
            index(store, encoder, [record])
            assert audit(store, encoder).right


def test_a_folder_that_cannot_be_written_is_said(encoder, tmp_path):
    with chroma(tmp_path, None, 64) as collection:
        (tmp_path / "f2llm.lock").mkdir()
        with pytest.raises(StoreError, match="'papers' could not be locked for writing"):
            index(collection, encoder, [("a", "text")])
        assert open_store(collection).read_stamp() is None


def test_waiting_for_another_writer_is_said(encoder, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("f2llm_core.stores.chroma._PATIENCE", 0.05)
    emit = caplog.handler.emit
    held, said = threading.Event(), threading.Event()
    monkeypatch.setattr(caplog.handler, "emit", lambda record: (emit(record), said.set()))

    def write():
        with FileLock(tmp_path / "f2llm.lock"):
            held.set()
            said.wait(30)

    with chroma(tmp_path, None, 64) as store, ThreadPoolExecutor() as other:
        other.submit(write)
        assert held.wait(30)
        assert index(store, encoder, [("a", "text")]).added == 1
    assert said.is_set()
    [message] = caplog.messages
    assert "waiting until another process has written" in message


@pytest.fixture(scope="module")
def smallest(tmp_path_factory):
    """A model as small as one can be, for many rows."""
    folder = tmp_path_factory.mktemp("smallest") / "model"
    small = {"width": 8, "layers": 1, "heads": 1, "kv_heads": 1, "head_dim": 8}
    return F2LLM(tiny_checkpoint(folder, **small, intermediate_size=8), dtype="float32")


@pytest.mark.parametrize("framework", [langchain_chroma, llama_index_chroma])
def test_as_many_rows_as_chroma_takes_at_once_and_more(framework, smallest, tmp_path):
    with framework(tmp_path, F2LLMEmbeddings.from_encoder(smallest), 8) as store:
        most = open_store(store).max_batch_size
        assert most > 1000
        done = 0
        for count in (1, most - 1, most, most + 1, 3 * most + 7):
            records = ((f"{i}", f"Text {i}") for i in range(count))
            report = index(store, smallest, records, batch_size=10 * most)
            assert (report.added, report.unchanged) == (count - done, done)
            assert open_store(store).count() == count
            done = count


def test_langchain_finds_what_was_indexed(encoder, tmp_path):
    documents = [
        Document(page_content=f"Text {i}.", metadata={"source": "a.txt", "page": i})
        for i in range(20)
    ]
    embeddings = F2LLMEmbeddings.from_encoder(encoder)
    with langchain_chroma(tmp_path, embeddings, 64) as store:
        index(store, embeddings, documents)
        vector = encoder.encode_document("Text 7.").tolist()
        [found] = store.similarity_search_by_vector(vector, k=1)
        assert found.page_content == "Text 7."
        assert found.metadata.items() >= {"source": "a.txt", "page": 7}.items()
        # What is read back can be indexed again: it is the same.
        store_rows = store.get()
        assert len(store_rows["ids"]) == 20
        assert index(store, embeddings, documents).unchanged == 20


def test_llama_index_finds_what_was_indexed(encoder, tmp_path):
    text = " ".join(f"word{i}" for i in range(100))
    document = LlamaDocument(text=text, metadata={"file": "a.txt"}, id_="doc")
    nodes = TokenTextSplitter(chunk_size=30, chunk_overlap=0).get_nodes_from_documents([document])
    assert len(nodes) > 3
    with llama_index_chroma(tmp_path, None, 64) as store:
        index(store, encoder, nodes)
        found = VectorStoreIndex.from_vector_store(
            store, embed_model=F2LLMEmbedding.from_encoder(encoder)
        )
        hits = found.as_retriever(similarity_top_k=len(nodes)).retrieve("word5")
        assert sorted(hit.node.text for hit in hits) == sorted(node.text for node in nodes)
        assert {hit.node.ref_doc_id for hit in hits} == {"doc"}
        assert {hit.node.node_id for hit in hits} == {e.id for e in open_store(store).entries()}
        # LlamaIndex removes a document by the name it gave it.
        found.delete_ref_doc("doc")
        assert open_store(store).count() == 0


def test_two_processes_at_once(checkpoint, encoder, tmp_path):
    records = [{"id": f"{i // 5}", "text": f"Text {i}."} for i in range(300)]
    file = tmp_path / "some.jsonl"
    file.write_text("".join(f"{json.dumps(r)}\n" for r in records), encoding="utf-8")
    script = "from f2llm_core.cli import main; main()"
    command = [sys.executable, "-c", script, "index", checkpoint, file, "--chroma", tmp_path / "c"]
    command += ["--collection", "papers", "--dtype", "float32", "--batch-size", "20", "--json"]
    with chroma_client(tmp_path / "c"):
        pass  # two at once cannot make the database
    both = [
        subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    reports = [json.loads(process.communicate(timeout=100)[0]) for process in both]
    assert [report["failed"] for report in reports] == [[], []]
    assert sorted(report["added"] for report in reports) == [0, 300]  # one waits for the other
    with chroma_client(tmp_path / "c") as client:
        store = client.get_collection("papers", embedding_function=None)
        assert_right(store, encoder, [(r["id"], r["text"]) for r in records])
        assert index(store, encoder, [(r["id"], r["text"]) for r in records]).embedded == 0


def test_search_finds_what_an_exact_search_does_also_after_a_restart(encoder, tmp_path):
    rows = [json.loads(line) for line in CORPUS.read_text(encoding="utf-8").splitlines()]
    records = [(row["id"], row["title"]) for row in rows]
    titles = [title for _, title in records[::25]]
    with chroma(tmp_path, None, 64) as collection:
        index(collection, encoder, records)
        before = recall_at_10(collection, encoder, titles)
    with chroma_client(tmp_path) as client:
        after = recall_at_10(
            client.get_collection("papers", embedding_function=None), encoder, titles
        )
    assert min(before, after) >= 0.99


def recall_at_10(collection, encoder, queries):
    store = open_store(collection)
    found = store.get([entry.id for entry in store.entries()])
    right = total = 0
    for query in encoder.encode_query(queries):
        cosines = found.vectors @ query
        least = np.sort(cosines)[-10] - 1e-6  # equal titles are as good as each other
        hits = {match.id for match in store.search(query, 10)}
        right += sum(cosines[i] >= least for i, id_ in enumerate(found.ids) if id_ in hits)
        total += 10
    return right / total
