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
