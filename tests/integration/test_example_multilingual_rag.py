"""The demo `examples/multilingual_rag`: its corpus, its index, its two frameworks, its output."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.language_models import FakeListChatModel
from llama_index.core.llms import MockLLM

from f2llm_core import DEFAULT_MODEL, F2LLM
from f2llm_core.indexing import IndexReport

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "multilingual_rag"
sys.path.insert(0, str(EXAMPLE))
answers, build_corpus, chains, corpus, index, main, model, recall = map(
    import_module,
    ["answers", "build_corpus", "chains", "corpus", "index", "main", "model", "recall"],
)
Passage, DemoError, Hit = corpus.Passage, corpus.DemoError, answers.Hit


def some_passages(count: int = 8) -> list[Passage]:
    """Passages of few tokens, two languages each."""
    return [
        Passage(f"{n}/{lang}", f"{word} number {n}.", f"Title {n}", lang, f"source {n}", str(n))
        for n in range(count // 2)
        for lang, word in (("en", "Passage"), ("de", "Absatz"))
    ]


@pytest.fixture(scope="module")
def shipped() -> list[dict[str, str]]:
    return [json.loads(line) for line in corpus.SHIPPED.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def demo_index(demo_model: Path, tmp_path_factory: pytest.TempPathFactory) -> index.Index:
    """Some of the shipped passages, embedded with the demo model."""
    wanted = {question["expects"] for question in shipped_questions()}
    everything = corpus.read_documents(corpus.SHIPPED)
    wanted |= set(list(dict.fromkeys(p.parallel for p in everything))[:30])
    passages = [
        p for p in everything if p.parallel in wanted and p.lang in ("en", "da", "ja", "ru")
    ]
    made = index.Index(tmp_path_factory.mktemp("demo"), "some", F2LLM(demo_model))
    made.update(passages)
    return made


def shipped_questions() -> list[dict[str, str]]:
    return json.loads((EXAMPLE / "questions.json").read_text(encoding="utf-8"))


# The corpus


def test_the_shipped_corpus_is_large_multilingual_and_small_enough(shipped):
    languages = Counter(row["lang"] for row in shipped)
    assert len(shipped) >= 2000
    assert len(languages) >= 12
    assert min(languages.values()) >= 40
    assert corpus.SHIPPED.stat().st_size <= 3_000_000
    assert len({row["id"] for row in shipped}) == len(shipped)
    assert all(row["title"] and row["text"] and row["source"] for row in shipped)


def test_the_shipped_corpus_was_held_out_of_training(shipped):
    assert all(int(row["group"][:2], 16) < 26 for row in shipped)
    packages = {row["parallel"] for row in shipped}
    assert len({row["group"] for row in shipped}) == len(packages), "near copies"


def test_the_shipped_corpus_is_attributed():
    readme = (corpus.SHIPPED.parent / "README.md").read_text(encoding="utf-8")
    assert "Debian Description Translation Project" in readme
    assert f"{len(corpus.read_documents(corpus.SHIPPED)):,} descriptions" in readme


def test_questions_are_in_many_languages_and_have_an_answer_in_another(shipped):
    questions = shipped_questions()
    assert len({q["lang"] for q in questions}) >= 6
    for question in questions:
        languages = {row["lang"] for row in shipped if row["parallel"] == question["expects"]}
        assert languages - {question["lang"]}, question


def test_the_corpus_is_chosen_by_the_rules(tmp_path):
    def row(group: str, package: str, lang: str, **changes: str) -> dict[str, str]:
        text = f"{lang} {package} does this and that, and it does it rather well, for everybody."
        made = {"id": package, "group": group * 20, "lang": lang, "package": package}
        return made | {"title": f"{lang} {package}", "text": text} | changes

    rows = [
        *[row("00", "good", lang) for lang in ("en", "de", "ko")],
        row("00", "good", "fr", title="en good"),  # not translated
        row("00", "good", "fi"),  # no language of the corpus
        *[row("00", "copy", lang) for lang in ("en", "de")],
        *[row("1a", "trained", lang) for lang in ("en", "de")],
        *[row("01", "libdull", lang) for lang in ("en", "de")],
        row("02", "short", "en", text="No."),
        row("03", "other", "en"),
    ]
    heldout = tmp_path / "heldout.jsonl"
    heldout.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    chosen = build_corpus.choose(build_corpus.read_packages(heldout))
    assert [set(rows) for rows in chosen] == [{"en", "de", "ko"}, {"en"}]
    assert [rows["en"]["package"] for rows in chosen] == ["good", "other"]


# One's own documents


def test_own_documents_are_read_with_their_places(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.txt").write_bytes("\ufeffErster Absatz.\r\n\r\nZweiter Absatz.".encode())
    long = "\n".join(f"Line {n} of a long text." for n in range(100))
    (tmp_path / "sub" / "b.md").write_text(f"# 제목\n\n{long}\n", encoding="utf-8")
    record = {"id": "x", "text": "본문", "title": "T", "lang": "ko", "source": "S", "extra": [1]}
    lines = [json.dumps(record, ensure_ascii=False), "", '{"text": "bare\\u2028text"}']
    (tmp_path / "c.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "d.pdf").write_bytes(b"%PDF")
    passages = {p.id: p for p in corpus.read_documents(tmp_path)}

    assert passages["a.txt#1"].text == "Erster Absatz.\n\nZweiter Absatz."
    assert passages["a.txt#1"].source == "a.txt:1"
    assert passages["x"] == Passage("x", "본문", "T", "ko", "S")
    assert passages["c.jsonl:3"].text == "bare\u2028text"
    pieces = [p for p in passages.values() if p.id.startswith("sub/b.md")]
    assert len(pieces) >= 3
    lines = (tmp_path / "sub" / "b.md").read_text(encoding="utf-8").split("\n")
    for piece in pieces:
        path, _, line = piece.source.rpartition(":")
        assert path == "sub/b.md"
        assert piece.text.startswith(lines[int(line) - 1])


@given(st.lists(st.text("ab. 。\n", max_size=700), max_size=6).map("\n\n".join))
def test_splitting_loses_nothing_and_knows_its_lines(text):
    pieces = list(corpus.split_text(text))
    assert "".join("".join(piece.split()) for _, piece in pieces) == "".join(text.split())
    assert all(0 < len(piece) <= corpus.PASSAGE_CHARS for _, piece in pieces)
    lines = text.split("\n")
    for line, piece in pieces:
        assert piece.split("\n")[0] in lines[line - 1]


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        (
            "a.jsonl",
            b'{"text": "x"}\n{"text": ',
            r"a\.jsonl:2: not valid JSON \(Expecting value\)\.$",
        ),
        ("a.jsonl", b'\n["text"]', r"a\.jsonl:2: expected an object"),
        ("a.jsonl", b'{"title": "no text"}', r"a\.jsonl:1: expected an object with"),
        ("a.jsonl", b'{"text": "  "}', r"a\.jsonl:1: expected an object with"),
        ("a.jsonl", b'{"text": 5}', r'a\.jsonl:1: "text" is not a text: 5'),
        ("a.jsonl", b'{"text": "x", "lang": 5}', r'a\.jsonl:1: "lang" is not a text: 5'),
        ("a.jsonl", b'{"text": "\\ud800"}', r'a\.jsonl:1: "text" is not a text'),
        ("a.jsonl", b'{"text":"x","id":"i"}\n{"text":"y","id":"i"}', r"a\.jsonl:2: the id 'i' is"),
        ("a.txt", b"fine\nfine\nnot \xff fine", r"a\.txt:3: not UTF-8 text \(byte 0xff\)"),
        ("a.txt", b" \n", r"has no text in \.jsonl, \.md, \.txt files"),
        ("a.pdf", b"text", r"has no text in \.jsonl, \.md, \.txt files"),
    ],
)
def test_broken_documents_are_named_with_file_and_line(tmp_path, name, content, complaint):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DemoError, match=complaint):
        corpus.read_documents(tmp_path)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DemoError, match="nowhere does not exist"):
        corpus.read_documents(tmp_path / "nowhere")


# The index


def counts(done: IndexReport) -> tuple[int, int, int, int]:
    return done.added, done.changed, done.removed, done.unchanged


def test_a_second_update_embeds_nothing(encoder, tmp_path):
    passages = some_passages()
    first = index.Index(tmp_path, "some", encoder)
    assert counts(first.update(passages)) == (8, 0, 0, 0)
    assert first.collection.count() == 8

    second = index.Index(tmp_path, "some", encoder)
    done = second.update(passages)
    assert counts(done) == (0, 0, 0, 8)
    assert done.embedded == 0
    assert second.update([*passages, Passage("new", "text")]).embedded == 1


def test_an_update_replaces_what_changed_and_removes_what_is_gone(encoder, tmp_path):
    passages = some_passages()
    made = index.Index(tmp_path, "some", encoder)
    made.update(passages)
    changed = Passage("0/en", "Rewritten.", "Title 0", "en", "source 0", "0")
    assert counts(made.update([changed, *passages[1:6]])) == (0, 1, 2, 5)

    stored = made.collection.get(include=["documents", "embeddings"])
    assert sorted(stored["documents"]) == sorted(p.content for p in [changed, *passages[1:6]])
    row = stored["documents"].index("Title 0\nRewritten.")
    right = encoder.encode_document("Title 0\nRewritten.")
    np.testing.assert_allclose(stored["embeddings"][row], right, atol=1e-5)


@pytest.mark.parametrize("field", ["text", "title", "lang", "source", "parallel"])
def test_every_field_counts_as_a_change(encoder, tmp_path, field):
    made = index.Index(tmp_path, "some", encoder)
    first, *others = some_passages()
    made.update([first, *others])
    changed = Passage(**{n: getattr(first, n) for n in Passage.__slots__} | {field: "other"})
    assert counts(made.update([changed, *others])) == (0, 1, 0, 7)


def test_the_collection_compares_by_cosine_and_embeds_nothing_itself(encoder, tmp_path):
    made = index.Index(tmp_path, "some", encoder)
    assert made.collection.configuration["hnsw"]["space"] == "cosine"
    assert made.collection.configuration.get("embedding_function") is None
    assert made.client.get_settings().anonymized_telemetry is False


def test_an_index_refuses_other_dimensions_and_names_the_way_out(encoder, tmp_path):
    index.Index(tmp_path, "some", encoder).update(some_passages())
    other = encoder.with_options(dimensions=32)
    with pytest.raises(DemoError, match=r"64 dimensions.* 32\..*--persist.*--rebuild"):
        index.Index(tmp_path, "some", other)
    rebuilt = index.Index(tmp_path, "some", other, rebuild=True)
    assert rebuilt.update(some_passages()).added == 8


def test_an_index_knows_a_model_by_its_contents(encoder, checkpoint, tmp_path):
    persist = tmp_path / "index"
    index.Index(persist, "some", encoder)
    moved = shutil.copytree(checkpoint, tmp_path / "elsewhere" / checkpoint.name)
    index.Index(persist, "some", F2LLM(moved, dtype="float32"))

    weights = next(moved.glob("*.safetensors"))
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(DemoError, match="was made with"):
        index.Index(persist, "some", F2LLM(moved, dtype="float32"))


def test_an_index_by_something_else_is_refused(encoder, tmp_path):
    made = index.Index(tmp_path, "some", encoder)
    other = made.client.create_collection("other", embedding_function=None)
    other.add(ids=["1"], embeddings=encoder.encode_document(["text"]), documents=["text"])
    with pytest.raises(DemoError, match=r"nobody knows which model.*--rebuild"):
        index.Index(tmp_path, "other", encoder)


def test_a_file_where_the_index_should_be_is_an_error(encoder, tmp_path):
    (tmp_path / "file").write_text("text")
    with pytest.raises(DemoError, match="file cannot hold an index"):
        index.Index(tmp_path / "file", "some", encoder)


# Questions and answers


def test_both_frameworks_find_the_same_passages(demo_index):
    chain = chains.langchain_chain(demo_index, 3)
    engine = chains.llama_index_engine(demo_index, 3)
    metadatas, vectors = demo_index.vectors()
    for question in shipped_questions():
        first, second = chain.invoke(question["question"]), engine.ask(question["question"])
        assert len(set(first.ids)) == 3
        assert first.ids == second.ids
        assert first.text == second.text
        cosines = vectors @ demo_index.encoder.encode_query(question["question"])
        assert first.hits[0].score == pytest.approx(cosines.max(), abs=1e-4)
        assert first.hits[0].metadata == metadatas[int(cosines.argmax())]
        for ours, theirs in zip(first.hits, second.hits, strict=True):
            assert ours.score == pytest.approx(theirs.score, abs=1e-5)
            assert (ours.content, ours.metadata) == (theirs.content, theirs.metadata)


def test_most_questions_find_the_passage_they_were_written_for(demo_index):
    chain = chains.langchain_chain(demo_index, 3)
    firsts = [
        chain.invoke(q["question"]).hits[0].metadata["parallel"] == q["expects"]
        for q in shipped_questions()
    ]
    assert sum(firsts) >= 0.6 * len(firsts)


def test_source_nodes_are_the_passages_that_are_cited(demo_index):
    response = chains.llama_index_engine(demo_index, 2).query("Morse code")
    assert [node.node_id for node in response.source_nodes] == [
        hit.id for hit in response.metadata["hits"]
    ]


def test_an_extractive_answer_quotes_what_it_cites(demo_index):
    chain = chains.langchain_chain(demo_index, 3)
    for question in shipped_questions():
        answer = chain.invoke(question["question"])
        quotes = re.findall(r"“(.+?)” \[(\d)\]", answer.text, re.DOTALL)
        assert quotes
        for sentence, number in quotes:
            text = " ".join(answer.hits[int(number) - 1].text.split())
            assert sentence in text
        assert answer.text.endswith("(extractive: no language model was asked)")


def test_only_passages_about_as_good_as_the_first_are_quoted(encoder):
    def hit(score: float, text: str) -> Hit:
        return Hit(text, f"T\n{text}", {"title": "T"}, score)

    near = answers.quote(encoder, "?", [hit(0.5, "The first one."), hit(0.48, "The second one.")])
    assert near.startswith("“The first one.” [1] “The second one.” [2] (")
    far = answers.quote(encoder, "?", [hit(0.5, "The first one."), hit(0.3, "The second one.")])
    assert far.startswith("“The first one.” [1] (")
    assert answers.quote(encoder, "?", []).startswith("No passage was found.")


@pytest.mark.parametrize("order", [1, -1])
def test_the_sentence_nearest_to_the_question_is_quoted(demo_index, order):
    sentences = ["Das Handbuch liegt in einem anderen Paket.", "Es lehrt den Morse-Code."][::order]
    hit = Hit("id", " ".join(sentences), {"title": ""}, 0.5)
    answer = answers.quote(demo_index.encoder, "How do I learn Morse code?", [hit])
    assert answer.startswith("“Es lehrt den Morse-Code.” [1]")


def test_sentences():
    text = "Tools, e.g. z. B. one. It wraps\nhere! 文が終わる所です。次の文はここです。\n - an item"
    assert answers.split_sentences(text) == [
        "Tools, e.g. z. B. one.",
        "It wraps here!",
        "文が終わる所です。",
        "次の文はここです。",
        "an item",
    ]
    for text in (
        "यह पहला वाक्य है। यह दूसरा वाक्य है।",
        "یہ پہلا جملہ ہے۔ یہ دوسرا جملہ ہے۔",
        "هل هذا سؤال طويل؟ نعم، هو كذلك.",
    ):
        assert len(answers.split_sentences(text)) == 2


def test_translations_of_one_passage_are_found_once():
    def hit(id_: str, parallel: str, lang: str) -> Hit:
        return Hit(id_, "text", {"parallel": parallel, "lang": lang}, 0.5)

    hits = [hit("a/de", "a", "de"), hit("a/ko", "a", "ko"), hit("x", "", ""), hit("y", "", "")]
    best = answers.distinct([*hits, hit("a/fr", "a", "fr")], 2)
    assert [(h.id, h.also_in) for h in best] == [("a/de", ("ko", "fr")), ("x", ())]


def test_a_language_model_answers_in_both_frameworks(encoder, tmp_path):
    made = index.Index(tmp_path, "some", encoder)
    made.update(some_passages())
    seen: list[str] = []

    class ChatModel(FakeListChatModel):
        def _call(self, messages, *args, **kwargs):
            seen.extend(message.content for message in messages)
            return super()._call(messages, *args, **kwargs)

    chat_model = ChatModel(responses=["As [1] says."])
    answer = chains.langchain_chain(made, 2, chat_model).invoke("What is number 1?")
    assert answer.text == "As [1] says."
    system, human = seen
    assert "Cite the passages" in system
    assert "What is number 1?" in human
    for number, hit in enumerate(answer.hits, 1):
        assert f"[{number}] ({hit.metadata['source']})\n{hit.content}" in human

    echo = chains.llama_index_engine(made, 2, MockLLM()).ask("What is number 1?")
    assert human in echo.text  # this model answers with its prompt
    assert echo.ids == answer.ids


# Recall


def test_recall_counts_right_passages():
    queries = {"one": [1.0, 0.0], "two": [0.0, 1.0], "eins": [1.0, 0.0], "zwei": [1.0, 0.1]}

    def row(parallel: str, lang: str, title: str) -> dict[str, str]:
        return {"parallel": parallel, "lang": lang, "title": title}

    rows = [row("1", "en", "one"), row("2", "en", "two"), row("3", "en", "one")]
    rows += [row("1", "de", "eins"), row("2", "de", "zwei"), row("", "fr", "un")]
    vectors = np.array([[1, 0], [0, 1], [-1, 0], [1, 0], [0.5, 0], [1, 1]], dtype=np.float32)
    made = SimpleNamespace(
        vectors=lambda: (rows, vectors),
        encoder=SimpleNamespace(
            encode_query=lambda titles: np.array([queries[t] for t in titles], dtype=np.float32)
        ),
    )
    (german,) = recall.measure_recall(made)
    assert (german.lang, german.pivot) == ("de", "en")
    # "two" is nearer to nothing than to its own passage by 0, and "zwei" finds the wrong one.
    assert german.to_lang == recall.Recall(queries=2, candidates=2, first=1.0, top=1.0)
    assert german.from_lang == recall.Recall(queries=2, candidates=3, first=0.5, top=1.0)


def test_recall_of_the_demo_model_is_far_above_chance(demo_index):
    rows = recall.measure_recall(demo_index)
    assert {row.lang for row in rows} == {"da", "ja", "ru"}
    for row in rows:
        for of in (row.to_lang, row.from_lang):
            assert of.queries >= 20
            assert of.first >= 0.5  # chance is about 1 in 40
            assert of.top >= 0.8


# The whole run


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "plants.txt").write_text(
        "The fern needs shade.\n\nWater it weekly.", encoding="utf-8"
    )
    (folder / "토끼.md").write_text("# 토끼\n\n토끼는 풀을 먹는다.", encoding="utf-8")
    return folder


def run(capsys: pytest.CaptureFixture[str], *args: object) -> tuple[int, str, str]:
    code = main.main([str(arg) for arg in args])
    out, err = capsys.readouterr()
    return code, " ".join(out.split()), err


def test_the_demo_is_told_twice_and_changes_are_seen(capsys, checkpoint, notes, tmp_path):
    args = ["--model", checkpoint, "--persist", tmp_path / "index", "--documents", notes]
    code, out, err = run(capsys, *args, "--question", "Who eats grass?")
    assert (code, err) == (0, "")
    assert "2 added" in out
    assert "토끼.md:1" in out
    assert "found the same passages: 1 of 1" in out
    assert "extractive: no language model was asked" in out

    _, out, _ = run(capsys, *args)
    assert "Nothing to do: all 2 passages are in the index already." in out

    (notes / "plants.txt").write_text("The fern needs light.", encoding="utf-8")
    (notes / "토끼.md").unlink()
    _, out, _ = run(capsys, *args)
    assert "Passages: 1 replaced, 1 removed (" in out

    code, out, err = run(capsys, *args, "--dimensions", "32")
    assert code == 1
    assert err.startswith("error: The index in")
    assert err.count("\n") == 1


def test_folders_do_not_replace_one_another(capsys, checkpoint, notes, tmp_path):
    other = shutil.copytree(notes, tmp_path / "other")
    args = ["--model", checkpoint, "--persist", tmp_path / "index"]
    assert "2 added" in run(capsys, *args, "--documents", notes)[1]
    assert "2 added" in run(capsys, *args, "--documents", other)[1]
    assert "Nothing to do" in run(capsys, *args, "--documents", notes)[1]


@pytest.mark.parametrize("framework", ["langchain", "llama-index"])
def test_one_framework_is_enough(capsys, checkpoint, notes, tmp_path, framework):
    args = ["--model", checkpoint, "--persist", tmp_path / "index", "--documents", notes]
    code, out, _ = run(capsys, *args, "--framework", framework, "--question", "Who eats grass?")
    assert code == 0
    assert "[1]" in out
    assert "found the same" not in out


@pytest.mark.filterwarnings("ignore:A test tried to use socket")
def test_without_the_hub_the_demo_model_is_used_and_named(
    capsys, checkpoint, notes, tmp_path, monkeypatch
):
    # Sockets are blocked for all tests, so that the hub is out of reach; the cache is empty.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(model, "DEMO_MODEL", checkpoint)
    persist = tmp_path / "index"
    code, out, err = run(capsys, "--persist", persist, "--documents", notes)
    assert (code, err) == (0, "")
    assert f"{DEFAULT_MODEL} is not in the local cache and it could not be downloaded" in out
    assert f"the small demo model {checkpoint.name} is used instead" in out
    assert f"Model: {checkpoint.name}" in out

    for asked in (DEFAULT_MODEL, "no/such-model", "nothing"):
        code, out, err = run(capsys, "--model", asked, "--persist", persist, "--documents", notes)
        assert code == 1
        assert err.startswith("error: ")
        assert asked in err
        assert err.count("\n") == 1
        assert "demo model" not in out + err


@pytest.mark.filterwarnings("ignore:A test tried to use socket")
def test_no_model_at_all_is_an_error(capsys, notes, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(model, "DEMO_MODEL", tmp_path / "missing")
    code, _, err = run(capsys, "--persist", tmp_path / "index", "--documents", notes)
    assert code == 1
    assert "hf download" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("framework", "package"),
    [("langchain", "langchain"), ("llama-index", "llama-index-llms-nosuch-llm")],
)
def test_a_missing_package_is_named_before_anything_is_indexed(
    capsys, checkpoint, notes, tmp_path, monkeypatch, framework, package
):
    monkeypatch.setitem(sys.modules, "langchain.chat_models", None)
    args = ["--model", checkpoint, "--persist", tmp_path / "index", "--documents", notes]
    code, _, err = run(capsys, *args, "--framework", framework, "--llm", "nosuch_llm:x")
    assert code == 1
    assert f"pip install {package}" in err
    assert err.count("\n") == 1
    assert not (tmp_path / "index").exists()


def test_llms_are_found_by_name(monkeypatch):
    chat_models = SimpleNamespace(init_chat_model=lambda name: f"chat model {name}")
    monkeypatch.setitem(sys.modules, "langchain.chat_models", chat_models)
    assert answers.langchain_llm("ollama:llama3.2") == "chat model ollama:llama3.2"

    class GoogleGenAI:
        def __init__(self, model: str) -> None:
            self.model = model

    module = SimpleNamespace(GoogleGenAI=GoogleGenAI, Other=object)
    monkeypatch.setitem(sys.modules, "llama_index.llms.google_genai", module)
    assert answers.llama_index_llm("google_genai:gemini:x").model == "gemini:x"


def test_a_language_model_that_fails_is_an_error(capsys, checkpoint, notes, tmp_path, monkeypatch):
    class Broken(FakeListChatModel):
        def _call(self, *args, **kwargs):
            raise OSError("connection refused")

    monkeypatch.setattr(main, "langchain_llm", lambda name: Broken(responses=[]))
    args = ["--model", checkpoint, "--persist", tmp_path / "index", "--documents", notes]
    args += ["--framework", "langchain", "--llm", "ollama:x", "--question", "?"]
    code, _, err = run(capsys, *args)
    assert code == 1
    assert err == "error: --llm ollama:x gave no answer: connection refused\n"


@pytest.mark.parametrize("wrong", [["--passages", "0"], ["--question", " "]])
def test_wrong_arguments_are_refused(capsys, wrong):
    with pytest.raises(SystemExit, match="2"):
        main.main(wrong)
    assert wrong[0] in capsys.readouterr().err


def test_the_program_runs_from_any_folder(checkpoint, notes, tmp_path):
    command = [sys.executable, EXAMPLE / "main.py", "--model", checkpoint, "--dimensions", "32"]
    command += ["--persist", "index", "--documents", "notes", "--question", "Who eats grass?"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "32 dimensions). Index: index" in done.stdout
    assert "2 added" in done.stdout
    assert "found the same passages: 1 of 1" in done.stdout
    assert (tmp_path / "index").is_dir()
