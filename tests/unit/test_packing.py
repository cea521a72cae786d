from hypothesis import given
from hypothesis import strategies as st

from f2llm_core.engine.packing import plan_batches

lengths = st.lists(st.integers(1, 300), max_size=60)


@given(lengths, st.integers(1, 400))
def test_every_sequence_is_in_exactly_one_batch(lengths, budget):
    batches = plan_batches(lengths, budget)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))


@given(lengths, st.integers(1, 400))
def test_a_batch_keeps_to_the_budget_unless_one_sequence_alone_is_over_it(lengths, budget):
    for batch in plan_batches(lengths, budget):
        assert sum(lengths[i] for i in batch) <= budget or len(batch) == 1


def test_longest_first_and_equal_lengths_together():
    assert plan_batches([3, 9, 3, 5, 9], 18) == [[1, 4], [3, 0, 2]]


def test_nothing_is_no_batch():
    assert plan_batches([], 100) == []
