"""The queue and its thread, with a model that is only a table: row i of a batch is its tokens."""

from __future__ import annotations

import gc
import os
import random
import threading
import time
import weakref
from concurrent.futures import CancelledError, ThreadPoolExecutor, wait

import numpy as np
import pytest

from f2llm_core import ClosedError, worker
from f2llm_core.jobs import Job, Prompt, Untokenized
from f2llm_core.worker import CAREFUL_SLICES, SHORT_TOKENS, Worker

HANG = 10  # seconds; only a guard


class Table:
    """Runs nothing; stops before every batch for which it has no permit."""

    def __init__(self, batch_tokens: int = 1000) -> None:
        self.batch_tokens = batch_tokens
        self.batches: list[list[Prompt]] = []
        self.done: list[int] = []
        self.tokenized: list[int] = []
        self.entered = threading.Semaphore(0)
        self.permits: threading.Semaphore | None = None
        self.broken: BaseException | None = None
        self.poison: dict[int, Exception] = {}
        self.rests = 0
        self.worker = Worker(self)

    def prepare(self) -> None:
        if self.broken is not None:
            raise self.broken

    def tokenize(self, jobs: list[Job]) -> None:
        self.tokenized.append(len(jobs))
        for job in jobs:
            job.fill([prompt(int(text)) for text in job.untokenized.prompts])

    def forked(self) -> None:
        pass

    def rest(self) -> None:
        self.rests += 1

    def run(self, prompts: list[Prompt]) -> np.ndarray:
        self.batches.append(prompts)
        self.entered.release()
        if self.permits is not None:
            assert self.permits.acquire(timeout=HANG)
        for prompt in prompts:
            if prompt.ids[0] in self.poison:
                raise self.poison[prompt.ids[0]]
        self.done += [prompt.ids[0] for prompt in prompts]
        return np.array([row(prompt) for prompt in prompts], np.float32)

    def hold(self) -> Job:
        """Stop in a batch of an own job, so that whatever comes now has to wait."""
        self.permits = threading.Semaphore(0)
        job = self.submit(-1)
        self.wait_for_batches(1)
        self.batches.clear()
        return job

    def go(self, batches: int = 1) -> None:
        assert self.permits is not None
        self.permits.release(batches)

    def wait_for_batches(self, count: int) -> None:
        for _ in range(count):
            assert self.entered.acquire(timeout=HANG)

    def submit(self, *firsts: int, length: int = 1, progressed=lambda _: None) -> Job:
        job = filled([prompt(first, length) for first in firsts], progressed)
        self.worker.submit(job)
        return job

    def submit_untokenized(self, *firsts: int) -> Job:
        untokenized = Untokenized([str(first) for first in firsts], (), 8, lambda _: None)
        job = Job(len(firsts), 2, lambda _: None, untokenized)
        self.worker.submit(job)
        return job

    @property
    def firsts(self) -> list[list[int]]:
        """The first tokens of every batch, in no order within it."""
        return [sorted(p.ids[0] for p in batch) for batch in self.batches]


def prompt(first: int, length: int = 1) -> Prompt:
    return Prompt((first, *[0] * (length - 1)))


def filled(prompts: list[Prompt], progressed=lambda _: None) -> Job:
    job = Job(len(prompts), 2, progressed)
    job.fill(prompts)
    return job


def wait_until(true) -> None:
    end = time.monotonic() + HANG
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def row(prompt: Prompt) -> tuple[int, int]:
    return prompt.ids[0], len(prompt.ids)


def firsts(job: Job) -> list[int]:
    return [int(first) for first, _ in job.future.result(HANG)]


@pytest.fixture
def table():
    table = Table()
    yield table
    table.permits = None
    table.worker.close(wait=False)


def test_a_job_ends_once_though_two_threads_end_it_at_one_time():
    job = filled([prompt(1)])
    begin = job.future.set_running_or_notify_cancel

    def interrupted():
        job.future.set_running_or_notify_cancel = begin
        other = threading.Thread(target=job.fail, args=[KeyError("second")])
        other.start()
        other.join(HANG)
        return begin()

    job.future.set_running_or_notify_cancel = interrupted
    job.fail(ValueError("first"))
    with pytest.raises(ValueError, match="first"):
        job.future.result(0)


class TestRest:
    @pytest.fixture(autouse=True)
    def soon(self, monkeypatch):
        monkeypatch.setattr(worker, "REST", 0.02)

    def test_memory_is_given_back_once_after_long_jobs(self, table):
        for rests in (1, 2):
            firsts(table.submit(1, length=SHORT_TOKENS + 1))
            wait_until(lambda expected=rests: table.rests == expected)
            time.sleep(0.1)
            assert table.rests == rests
        assert firsts(table.submit(3)) == [3]

    def test_short_jobs_leave_nothing_to_give_back(self, table):
        firsts(table.submit(1))
        time.sleep(0.1)
        assert table.rests == 0

    def test_nothing_is_given_back_while_a_process_forks(self, table):
        firsts(table.submit(1, length=SHORT_TOKENS + 1))
        table.worker.pause()
        before = table.rests
        time.sleep(0.1)
        assert table.rests == before
        table.worker.resume()
        wait_until(lambda: table.rests == 1)

    def test_short_jobs_that_shared_a_large_batch_leave_something_to_give_back(self, table):
        table.hold()
        jobs = [table.submit(i, length=SHORT_TOKENS // 2) for i in range(3)]
        table.go(2)
        for job in jobs:
            firsts(job)
        wait_until(lambda: table.rests == 1)

    def test_a_job_that_waits_goes_first(self, table):
        table.hold()
        table.submit(1)
        table.worker._rest()
        assert table.rests == 0


class TestBatches:
    def test_rows_are_in_the_order_of_the_prompts_and_equal_ones_computed_once(self, table):
        assert firsts(table.submit(3, 1, 3, 2, 1)) == [3, 1, 3, 2, 1]
        assert table.firsts == [[1, 2, 3]]

    def test_who_waits_shares_a_batch_and_gets_the_own_rows(self, table):
        table.hold()
        jobs = [table.submit(i, i + 100) for i in range(20)]
        table.go(2)
        assert [firsts(job) for job in jobs] == [[i, i + 100] for i in range(20)]
        assert len(table.batches) == 1

    def test_nobody_is_woken_before_all_rows_of_a_batch_are_in_place(self, table):
        written, seen = [], []
        table.hold()
        jobs = [table.submit(i, progressed=lambda _, i=i: written.append(i)) for i in range(3)]
        for job in jobs:
            job.future.add_done_callback(lambda _: seen.append(len(written)))
        table.go(2)
        assert [firsts(job) for job in jobs] == [[0], [1], [2]]
        wait_until(lambda: len(seen) == 3)
        assert seen == [3, 3, 3]

    def test_what_ends_the_thread_among_the_rows_keeps_none_from_who_has_them(self, table):
        def leave(_):
            raise SystemExit

        table.hold()
        jobs = [table.submit(0), table.submit(1, progressed=leave)]
        table.go(2)
        assert firsts(jobs[0]) == [0]
        jobs[1].future.exception(HANG)  # it ends, too

    def test_callers_who_shared_a_batch_are_waited_for(self, table, monkeypatch):
        monkeypatch.setattr(worker, "PATIENCE", 1e9)
        table.hold()
        jobs = [table.submit(i) for i in range(3)]
        table.go(2)
        assert [firsts(job) for job in jobs] == [[0], [1], [2]]
        table.batches.clear()
        table.go(1)
        again = [table.submit(i) for i in (3, 4)]
        time.sleep(0.05)
        assert not table.batches
        again.append(table.submit(5))
        assert [firsts(job) for job in again] == [[3], [4], [5]]
        assert len(table.batches) == 1

    def test_who_comes_alone_waits_for_nobody(self, table, monkeypatch):
        monkeypatch.setattr(worker, "PATIENCE", 1e9)
        assert firsts(table.submit(0)) == [0]
        assert firsts(table.submit(1)) == [1]

    def test_a_long_job_waits_for_no_company(self, table):
        assert firsts(table.submit(0)) == [0]
        wait_until(lambda: not table.worker._computing)
        table.worker._company = 2, time.monotonic() + 1e6
        alone, long = table.submit(1), table.submit(2, length=SHORT_TOKENS + 1)
        assert (firsts(alone), firsts(long)) == ([1], [2])

    def test_equal_prompts_of_several_callers_are_computed_once(self, table):
        table.hold()
        jobs = [table.submit(7, i) for i in (1, 2)]
        table.go(2)
        assert [firsts(job) for job in jobs] == [[7, 1], [7, 2]]
        assert table.firsts == [[1, 2, 7]]

    def test_a_batch_stays_within_the_budget(self, table):
        table.batch_tokens = 100
        table.hold()
        jobs = [table.submit(i, length=30) for i in range(7)]
        table.go(4)
        assert [firsts(job) for job in jobs] == [[i] for i in range(7)]
        assert table.firsts == [[0, 1, 2], [3, 4, 5], [6]]

    @pytest.mark.parametrize("budget", [1, 29, 30, 31, 10_000])
    def test_a_prompt_over_the_budget_runs_alone(self, table, budget):
        table.batch_tokens = budget
        assert firsts(table.submit(1, 2, length=30)) == [1, 2]
        assert len(table.batches) == (2 if budget < 60 else 1)

    def test_the_longest_run_first_and_equal_lengths_and_prefixes_stand_together(self, table):
        prompts = [
            Prompt((start, i, *[0] * n), 1) for n in (1, 3) for i in (8, 9) for start in (1, 2)
        ]
        random.Random(0).shuffle(prompts)
        job = filled(prompts)
        table.worker.submit(job)
        assert [tuple(r) for r in job.future.result(HANG)] == [row(p) for p in prompts]
        [batch] = table.batches
        assert [len(p.ids) for p in batch] == [5] * 4 + [3] * 4
        assert [p.ids[0] for p in batch] == [1, 1, 2, 2] * 2

    def test_the_longest_of_a_job_run_first(self, table):
        table.batch_tokens = 10
        job = filled([prompt(n, n) for n in (1, 9, 5, 3, 8, 2)])
        table.worker.submit(job)
        assert firsts(job) == [1, 9, 5, 3, 8, 2]
        assert table.firsts == [[9], [8], [2, 3, 5], [1]]

    def test_what_comes_untokenised_is_tokenised_together_and_keeps_its_turn(self, table):
        held = table.hold()
        jobs = [table.submit_untokenized(1, 2), table.submit(3), table.submit_untokenized(4)]
        jobs[2].future.cancel()
        jobs.append(table.submit_untokenized(5))
        table.go(2)
        assert [firsts(job) for job in (held, jobs[0], jobs[1], jobs[3])] == [
            [-1],
            [1, 2],
            [3],
            [5],
        ]
        assert table.firsts == [[1, 2, 3, 5]]
        assert table.tokenized == [0, 3]

    def test_a_job_that_comes_while_others_are_tokenised_waits_for_its_own_turn(self, table):
        held = table.hold()
        first, late = table.submit_untokenized(1), []
        tokenize = table.tokenize

        def tokenize_and_be_late(jobs):
            tokenize(jobs)
            if not late:
                late.append(table.submit_untokenized(2))

        table.tokenize = tokenize_and_be_late
        table.go(3)
        assert [firsts(job) for job in (held, first)] == [[-1], [1]]
        assert firsts(late[0]) == [2]
        assert table.firsts == [[1], [2]]

    def test_a_job_without_prompts_waits_for_the_model_only(self, table):
        assert table.submit().future.result(HANG).shape == (0, 2)
        assert table.batches == []

    def test_progress_counts_rows(self, table):
        table.batch_tokens = 2
        seen = []
        firsts(table.submit(1, 1, 2, 3, 3, 3, progressed=seen.append))
        assert sum(seen) == 6
        assert len(seen) == 2


class TestLanes:
    LONG = SHORT_TOKENS + 1

    def test_a_query_waits_for_one_slice_of_a_long_job(self, table):
        table.batch_tokens = 200
        table.hold()
        long = table.submit(*range(self.LONG))
        table.go()
        table.wait_for_batches(1)  # a slice of the long job
        short = table.submit(10_000)
        table.go(2)
        assert firsts(short) == [10_000]
        assert not long.future.done()
        table.go(100)
        assert firsts(long) == list(range(self.LONG))
        assert table.firsts[1] == [10_000]

    def test_queries_that_keep_coming_do_not_stop_a_long_job(self, table):
        table.batch_tokens = 1
        table.hold()
        long = table.submit(*range(self.LONG))
        for i in range(20):
            table.submit(10_000 + i)
        table.go(1000)
        assert len(firsts(long)) == self.LONG
        kinds = [batch[0] >= 10_000 for batch in table.firsts[:40]]
        assert kinds in ([True, False] * 20, [False, True] * 20)

    def test_long_jobs_get_a_slice_each_in_turn(self, table):
        table.batch_tokens = 300
        table.hold()
        one = table.submit(*range(self.LONG))
        other = table.submit(*range(10_000, 10_000 + self.LONG))
        table.go(100)
        firsts(one), firsts(other)
        owners = [{first >= 10_000 for first in batch} for batch in table.firsts]
        assert owners[:2] == [{False}, {True}]
        assert owners[2] == {False, True}  # what the first leaves of a batch, the second fills

    def test_slices_are_small_while_queries_come(self, table):
        table.batch_tokens = 400
        table.hold()
        long = table.submit(*range(20 * 400))
        table.submit(10_000)
        table.go(1000)
        firsts(long)
        sizes = [len(batch) for batch in table.batches if batch[0].ids[0] < 10_000]
        assert 100 in sizes
        assert sizes[: CAREFUL_SLICES + 2] in (
            [100] * CAREFUL_SLICES + [400] * 2,
            [400] + [100] * CAREFUL_SLICES + [400],
        )

    def test_alone_a_long_job_has_whole_batches_even_after_a_query(self, table):
        table.batch_tokens = 400
        firsts(table.submit(10_000))
        firsts(table.submit(*range(800)))
        assert [len(batch) for batch in table.batches[1:]] == [400, 400]


class TestErrors:
    def test_a_poisoned_batch_fails_its_own_callers_only(self, table):
        table.poison = {5: ValueError("five"), 6: KeyError("six")}
        table.hold()
        good = [table.submit(i) for i in range(5)]
        bad = [table.submit(1, 5), table.submit(6, 2)]
        table.go(100)
        assert [firsts(job) for job in good] == [[i] for i in range(5)]
        for job, error in zip(bad, table.poison.values(), strict=True):
            assert job.future.exception(HANG) is error

    def test_a_failed_job_is_not_computed_further(self, table):
        table.batch_tokens = 1
        table.poison = {9: ValueError()}
        assert isinstance(table.submit(*range(10)).future.exception(HANG), ValueError)
        assert firsts(table.submit(1)) == [1]
        assert len(table.batches) == 2

    @pytest.mark.parametrize("bad", range(50))
    def test_wherever_it_fails_the_service_goes_on(self, table, bad):
        table.batch_tokens = 1
        table.poison = {bad: RuntimeError("injected")}
        table.hold()
        jobs = [table.submit(i) for i in range(50)]
        table.go(1000)
        failed = [i for i, job in enumerate(jobs) if job.future.exception(HANG)]
        assert failed == [bad]
        assert firsts(table.submit(bad + 1)) == [bad + 1]

    def test_a_wrong_number_of_rows_is_an_error_of_the_call(self, table):
        table.run = lambda prompts: np.zeros((1, 2), np.float32)
        assert isinstance(table.submit(1, 2).future.exception(HANG), ValueError)

    def test_a_model_that_does_not_load_fails_all_who_wait_and_is_tried_again(self, table):
        table.broken = OSError("no such file")
        assert table.submit(1).future.exception(HANG) is table.broken
        table.broken = None
        assert firsts(table.submit(1)) == [1]

    @pytest.mark.parametrize("crash", [SystemExit("stop"), KeyboardInterrupt()])
    @pytest.mark.parametrize("where", ["prepare", "run"])
    def test_a_thread_that_dies_leaves_nobody_waiting_and_is_replaced(self, table, crash, where):
        table.hold()
        jobs = [table.submit(1), table.submit(*range(SHORT_TOKENS + 1))]
        if where == "prepare":
            table.broken = crash
        else:
            table.poison = dict.fromkeys([0, 1], crash)
        table.go(1000)
        for job in jobs:
            assert job.future.exception(HANG) is crash
        table.broken, table.poison = None, {}
        assert firsts(table.submit(1)) == [1]

    def test_a_thread_that_died_in_a_batch_is_not_waited_for(self, table):
        table.poison = {1: SystemExit("stop")}
        assert table.submit(1).future.exception(HANG) is table.poison[1]
        pausing = threading.Thread(target=table.worker.pause, daemon=True)
        pausing.start()
        pausing.join(HANG)
        assert not pausing.is_alive()
        table.worker.resume()
        assert firsts(table.submit(2)) == [2]

    def test_progress_that_raises_ends_its_call_only(self, table):
        def raises(_: int) -> None:
            raise OSError("broken pipe")

        table.hold()
        bad, good = table.submit(1, progressed=raises), table.submit(2)
        table.go(2)
        assert isinstance(bad.future.exception(HANG), OSError)
        assert firsts(good) == [2]

    def test_a_thread_that_cannot_start_queues_nothing(self, table, monkeypatch):
        def fail(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", fail)
            with pytest.raises(RuntimeError, match="new thread"):
                table.submit(1)
        assert firsts(table.submit(2)) == [2]
        assert table.firsts == [[2]]


class TestCancelling:
    def test_what_is_cancelled_while_it_waits_is_not_computed(self, table):
        table.hold()
        jobs = [table.submit(i) for i in range(10)]
        for job in jobs[::2]:
            assert job.future.cancel()
        table.go(2)
        assert [firsts(job) for job in jobs[1::2]] == [[i] for i in range(1, 10, 2)]
        assert table.firsts == [[1, 3, 5, 7, 9]]

    def test_the_rest_of_a_job_that_is_cancelled_in_the_middle_is_not_computed(self, table):
        table.batch_tokens = 100
        table.hold()
        long, short = table.submit(*range(SHORT_TOKENS + 1)), table.submit(10_000)
        for _ in range(2):  # a slice, and the query
            table.go()
            table.wait_for_batches(1)
        assert long.future.cancel()
        table.go(100)
        assert firsts(short) == [10_000]
        assert firsts(table.submit(10_001)) == [10_001]
        assert sum(batch[0] < 10_000 for batch in table.firsts) == 1

    def test_cancelled_jobs_alone_do_not_stop_the_thread(self, table):
        table.hold()
        for job in [table.submit(i) for i in range(3)]:
            job.future.cancel()
        table.go(100)
        assert firsts(table.submit(5)) == [5]

    def test_random_callers_and_cancellations(self, table):
        table.batch_tokens = 64

        def call(seed: int) -> bool:
            chance = random.Random(seed)
            wanted = [chance.randrange(100) for _ in range(chance.choice([1, 1, 1, 3, 40, 700]))]
            job = table.submit(*wanted, length=chance.choice([1, 2, 30]))
            cancelled = chance.random() < 0.3 and job.future.cancel()
            try:
                return firsts(job) == wanted
            except CancelledError:
                return cancelled

        with ThreadPoolExecutor(16) as pool:
            assert all(pool.map(call, range(1000)))


class TestEnd:
    def test_close_ends_who_waits_and_refuses_who_comes(self, table):
        begun = table.hold()
        jobs = [table.submit(1), table.submit(*range(SHORT_TOKENS + 1))]
        closing = threading.Thread(target=table.worker.close)
        closing.start()
        for job in jobs:
            with pytest.raises(ClosedError, match="Make a new one"):
                job.future.result(HANG)
        with pytest.raises(ClosedError, match="Make a new one"):
            table.submit(2)
        assert closing.is_alive()  # until the batch is done
        table.go()
        closing.join(HANG)
        assert firsts(begun) == [-1]
        assert table.worker._thread is None
        table.worker.close()

    def test_a_long_job_in_the_middle_ends_with_close(self, table):
        table.batch_tokens = 10
        table.hold()
        long = table.submit(*range(SHORT_TOKENS + 1))
        table.go()
        table.wait_for_batches(1)
        table.worker.close(wait=False)
        table.go(1000)
        with pytest.raises(ClosedError):
            long.future.result(HANG)
        assert len(table.batches) == 1

    @pytest.mark.parametrize(("length", "rests"), [(1, 0), (SHORT_TOKENS + 1, 1)])
    def test_nothing_keeps_the_runner_whose_end_ends_the_thread(self, length, rests, monkeypatch):
        monkeypatch.setattr(worker, "REST", 0.02)
        table = Table()
        assert firsts(table.submit(1, length=length)) == [1]
        wait_until(lambda table=table: table.rests == rests)
        thread, kept = table.worker._thread, weakref.ref(table)
        del table
        gc.collect()
        assert kept() is None
        thread.join(HANG)
        assert not thread.is_alive()

    def test_pause_and_resume_lose_nothing(self, table):
        assert firsts(table.submit(0)) == [0]
        table.worker.pause()
        table.batches.clear()
        job = table.submit(1)
        time.sleep(0.05)
        assert not table.batches
        assert not job.future.done()
        table.worker.resume()
        assert firsts(job) == [1]

    def test_progress_may_close_the_worker_that_tells_it(self, table):
        assert firsts(table.submit(1, progressed=lambda _: table.worker.close())) == [1]
        with pytest.raises(ClosedError):
            table.submit(2)

    def test_progress_may_pause_the_worker_that_tells_it(self, table):
        def pause(_: int) -> None:
            table.worker.pause()
            table.worker.resume()

        job = table.submit(1, progressed=pause)
        if wait([job.future], HANG).not_done:
            table.worker.abandon()  # or this process would not end
        assert job.future.done()
        assert firsts(table.submit(2)) == [2]

    def test_every_pause_counts(self, table):
        assert firsts(table.submit(0)) == [0]
        table.worker.pause()
        table.worker.pause()
        table.worker.resume()
        job = table.submit(1)
        time.sleep(0.05)
        assert not job.future.done()
        table.worker.resume()
        assert firsts(job) == [1]

    def test_a_pause_while_company_is_waited_for_is_one(self, table):
        assert firsts(table.submit(0)) == [0]
        wait_until(lambda: not table.worker._computing)
        table.batches.clear()
        table.worker._company = 2, time.monotonic() + HANG
        alone = table.submit(1)
        time.sleep(0.05)
        table.worker.pause()
        table.submit(2)  # the company has come
        time.sleep(0.05)
        assert not table.batches
        assert not table.worker._computing
        table.worker.resume()
        assert firsts(alone) == [1]

    def test_a_pause_comes_between_the_batches_of_a_long_job(self, table):
        table.batch_tokens = 10
        table.hold()
        job = table.submit(*range(SHORT_TOKENS + 1))
        pausing = threading.Thread(target=table.worker.pause)
        pausing.start()
        while not table.worker._paused:
            time.sleep(0.001)
        table.go(100_000)
        pausing.join(HANG)
        assert not pausing.is_alive()
        assert not table.batches  # none began after the pause was asked for
        table.worker.resume()
        assert firsts(job) == list(range(SHORT_TOKENS + 1))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
class TestFork:
    def test_parent_and_child_both_go_on(self, table):
        assert firsts(table.submit(0)) == [0]
        table.batch_tokens = 10
        table.hold()
        waiting = table.submit(*range(SHORT_TOKENS + 1))
        table.go(100_000)
        child = os.fork()
        if not child:  # must not return into pytest
            status = 1
            try:
                alone = not (table.worker._short or table.worker._long)
                status = 0 if alone and firsts(table.submit(7)) == [7] else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert firsts(waiting) == list(range(SHORT_TOKENS + 1))

    def test_a_fork_waits_for_the_end_of_the_batch(self, table):
        table.hold()

        def let_the_batch_end() -> None:
            until = time.monotonic() + HANG
            while not table.worker._paused and time.monotonic() < until:
                time.sleep(0.001)
            table.go(100)

        ending = threading.Thread(target=let_the_batch_end)
        ending.start()
        child = os.fork()
        if not child:
            os._exit(0 if table.done == [-1] else 3)
        ending.join(HANG)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert firsts(table.submit(1)) == [1]

    def test_models_made_while_a_fork_waits_do_not_compute_either(self, table):
        table.hold()
        made = []

        def make_another() -> None:
            wait_until(lambda: table.worker._paused)
            made.append(Table())
            made[0].hold()
            table.go(100)
            wait_until(lambda: made[0].worker._paused)
            made[0].go(100)

        making = threading.Thread(target=make_another)
        making.start()
        child = os.fork()
        if not child:
            os._exit(0 if made and not made[0].worker._running else 3)
        making.join(HANG)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        for one in (table, made[0]):
            assert firsts(one.submit(1)) == [1]
            assert not one.worker._paused

    def test_threads_that_fork_at_once_both_wait(self, table):
        table.hold()
        children: list[int] = []

        def fork() -> None:
            child = os.fork()
            if not child:
                os._exit(0 if table.done[:1] == [-1] and not table.worker._running else 3)
            children.append(child)

        threads = [threading.Thread(target=fork) for _ in range(2)]
        for thread in threads:
            thread.start()
        wait_until(lambda: table.worker._paused == 2)
        table.go(100)
        for thread in threads:
            thread.join(HANG)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        assert codes == [0, 0]
        assert table.worker._paused == 0
        assert firsts(table.submit(1)) == [1]

    def test_a_lock_held_by_another_thread_does_not_stop_the_child(self, table):
        locked, release = threading.Event(), threading.Event()

        def hold_lock() -> None:
            with table.worker._changed:
                locked.set()
                release.wait(HANG)

        holder = threading.Thread(target=hold_lock)
        holder.start()
        locked.wait(HANG)
        table.worker.pause = lambda: None  # it would wait for the lock, as it should
        table.worker.resume = lambda: None
        child = os.fork()
        if not child:
            status = 1
            try:
                status = 0 if firsts(table.submit(7)) == [7] else 2
            finally:
                os._exit(status)
        release.set()
        holder.join(HANG)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
