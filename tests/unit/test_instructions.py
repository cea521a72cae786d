import pytest

from f2llm_core import TASKS, ConfigurationError
from f2llm_core.instructions import Prompts, choose_prompts, find_task, format_prompt

SHIPPED = (
    "Instruct: Given a question, retrieve passages that can help answer the question.\nQuery: "
)
DECLARED = Prompts(query=SHIPPED, document="")


def choose(declared=DECLARED, task=None, instruction=None, document_instruction=None):
    return choose_prompts(
        declared, task=task, instruction=instruction, document_instruction=document_instruction
    )


def test_the_default_is_the_shipped_prompt_on_queries_only():
    assert choose() == Prompts(query=SHIPPED, document="")
    assert format_prompt(TASKS["retrieval"].instruction) == SHIPPED


def test_a_checkpoint_without_prompts_still_gets_the_default_on_queries():
    assert choose(Prompts("", "")) == Prompts(SHIPPED, "")


def test_a_checkpoint_with_another_prompt_keeps_it():
    own = Prompts("Instruct: find\nQuery:", "passage: ")
    assert choose(own) == own


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_every_preset_goes_where_its_kind_says(task):
    prompts = choose(task=task.name)
    assert prompts.query == f"Instruct: {task.instruction}\nQuery: "
    assert prompts.document == (prompts.query if task.symmetric else "")


QUERY_ONLY = """\
retrieval: Given a question, retrieve passages that can help answer the question.
qa: Given a question, retrieve passages that answer the question.
answer: Given a question, retrieve the answer.
multi-hop: Given a multi-hop question, retrieve passages that answer the question.
code: Retrieve the most relevant code snippet for the given query.
code-to-code: Retrieve the most relevant code snippet for the given code snippet.
code-to-text: Retrieve the most relevant code summary for the given code snippet.
code-edit: Retrieve the most relevant code edit.
similar-code: Retrieve similar code to the given source code.
text-to-sql: Retrieve the most relevant sql code snippet for the given query.
response: Retrieve the most relevant response for the given query.
fact-verification: Given a claim, retrieve documents that support or refute the claim.
climate-fact-verification: Given a claim about climate change, \
retrieve documents that support or refute the claim.
scientific-fact-verification: Given a scientific claim, \
retrieve passages that support or refute the claim.
counter-argument: Given a claim, find documents that refute the claim.
duplicates: Given a question, retrieve questions that are semantically equivalent.
citation: Given a scientific paper title, \
retrieve paper abstracts that are cited by the given paper.
entity: Given a query, retrieve relevant entity descriptions.
finance: Given a financial question, retrieve passages that answer the question.
product: Given a product name query, retrieve the corresponding product description.
news: Given a news title, retrieve the original article.
summary: Given a summary, retrieve the original article.
legal: Retrieve relevant legal documents.
statutes: Identify the most relevant statutes for the given situation.
"""

BOTH_SIDES = """\
sts: Retrieve semantically similar text.
bitext: Retrieve translations of the following text.
classification: Classify the topic of the given text.
clustering: Classify the topic of the given text.
pair-classification: Retrieve semantically entailed text.
paraphrase: Retrieve paraphrases of the given sentence.
forum-duplicates: Retrieve duplicate questions from StackOverflow forum.
sentiment: Classify the sentiment of the given text.
intent: Given a user utterance as query, find the user intents.
language-identification: Classify the text into its language.
toxicity: Classify the given comments as either toxic or not toxic.
acceptability: Classify the given sentence as linguistically acceptable or not acceptable.
news-clustering: Identify the topic or theme of the given news articles.
summary-similarity: Given a news summary, retrieve other semantically similar summaries.
"""


def test_every_preset_is_an_official_string_to_the_letter():
    for symmetric, official in ((False, QUERY_ONLY), (True, BOTH_SIDES)):
        presets = [task for task in TASKS.values() if task.symmetric is symmetric]
        assert [f"{task.name}: {task.instruction}" for task in presets] == official.splitlines()
    assert all(task.name == name for name, task in TASKS.items())


def test_official_strings_of_the_type_defaults():
    assert TASKS["sts"].instruction == "Retrieve semantically similar text."
    assert TASKS["bitext"].instruction == "Retrieve translations of the following text."
    assert TASKS["classification"].instruction == "Classify the topic of the given text."
    assert TASKS["pair-classification"].instruction == "Retrieve semantically entailed text."


def test_an_instruction_may_be_bare_or_the_whole_prompt_and_is_never_doubled():
    bare = choose(instruction="Find the recipe.")
    assert bare == choose(instruction="Instruct: Find the recipe.\nQuery: ")
    assert bare == choose(instruction="Instruct: Find the recipe.\nQuery:")
    assert bare == choose(instruction=bare.query)
    for near in (
        "Instruct:Find the recipe.\nQuery: ",
        "Instruct: Find the recipe.",
        " Instruct: Find the recipe.\n Query: \n",
    ):
        assert bare == choose(instruction=near)
    assert bare.query == "Instruct: Find the recipe.\nQuery: "
    assert bare.document == ""


def test_a_whole_prompt_of_two_lines_is_not_doubled_either():
    whole = "Instruct: Find the recipe.\nIt is for a cake.\nQuery: "
    assert choose(instruction=whole).query == whole


def test_a_task_leaves_nothing_of_the_declared_document_prompt():
    assert choose(Prompts(SHIPPED, "passage: "), task="code").document == ""


def test_an_instruction_replaces_the_string_of_a_task_but_not_its_sides():
    prompts = choose(task="sts", instruction="Find the same recipe.")
    assert prompts.query == prompts.document == "Instruct: Find the same recipe.\nQuery: "


def test_a_document_instruction_goes_before_documents_only():
    prompts = choose(document_instruction="Represent the recipe.")
    assert prompts == Prompts(SHIPPED, "Instruct: Represent the recipe.\nQuery: ")
    assert choose(task="sts", document_instruction="").document == ""


def test_an_empty_instruction_means_no_prompt():
    assert choose(instruction="").query == ""


def test_several_lines_in_an_instruction_are_kept():
    assert format_prompt("one\ntwo") == "Instruct: one\ntwo\nQuery: "


@pytest.mark.parametrize("name", ["text_to_sql", "TEXT-TO-SQL"])
def test_underscores_and_case_do_not_matter(name):
    assert find_task(name) is TASKS["text-to-sql"]


@pytest.mark.parametrize("name", ["retreival", "", 3, None])
def test_an_unknown_task_is_refused_with_the_known_ones(name):
    with pytest.raises(ConfigurationError, match=r"Unknown task .*Known: retrieval, qa"):
        find_task(name)
    with pytest.raises(ConfigurationError, match="Did you mean 'retrieval'"):
        find_task("retreival")


def test_an_unknown_side_is_refused():
    with pytest.raises(ConfigurationError, match="allowed are 'query', 'document'"):
        DECLARED.of("passage")
