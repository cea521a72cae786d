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


OFFICIAL = """\
Given a question, retrieve passages that can help answer the question.
Given a question, retrieve passages that answer the question.
Given a question, retrieve the answer.
Given a multi-hop question, retrieve passages that answer the question.
Retrieve the most relevant code snippet for the given query.
Retrieve the most relevant code snippet for the given code snippet.
Retrieve the most relevant code summary for the given code snippet.
Retrieve the most relevant code edit.
Retrieve similar code to the given source code.
Retrieve the most relevant sql code snippet for the given query.
Retrieve the most relevant response for the given query.
Given a claim, retrieve documents that support or refute the claim.
Given a claim about climate change, retrieve documents that support or refute the claim.
Given a scientific claim, retrieve passages that support or refute the claim.
Given a claim, find documents that refute the claim.
Given a question, retrieve questions that are semantically equivalent.
Given a scientific paper title, retrieve paper abstracts that are cited by the given paper.
Given a query, retrieve relevant entity descriptions.
Given a financial question, retrieve passages that answer the question.
Given a product name query, retrieve the corresponding product description.
Given a news title, retrieve the original article.
Given a summary, retrieve the original article.
Retrieve relevant legal documents.
Identify the most relevant statutes for the given situation.
Retrieve semantically similar text.
Retrieve translations of the following text.
Classify the topic of the given text.
Classify the topic of the given text.
Retrieve semantically entailed text.
Retrieve paraphrases of the given sentence.
Retrieve duplicate questions from StackOverflow forum.
Classify the sentiment of the given text.
Given a user utterance as query, find the user intents.
Classify the text into its language.
Classify the given comments as either toxic or not toxic.
Classify the given sentence as linguistically acceptable or not acceptable.
Identify the topic or theme of the given news articles.
Given a news summary, retrieve other semantically similar summaries.
"""


def test_every_preset_is_an_official_string_to_the_letter():
    assert [task.instruction for task in TASKS.values()] == OFFICIAL.splitlines()


def test_official_strings_of_the_type_defaults():
    assert TASKS["sts"].instruction == "Retrieve semantically similar text."
    assert TASKS["bitext"].instruction == "Retrieve translations of the following text."
    assert TASKS["classification"].instruction == "Classify the topic of the given text."
    assert TASKS["pair-classification"].instruction == "Retrieve semantically entailed text."
    assert not TASKS["code"].symmetric
    assert TASKS["clustering"].symmetric


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
