"""Nonsense for the readers of messages and files: no crash, nothing accepted that is wrong, nothing valid refused.

A short run; ``benchmarks/fuzz.py`` makes a long one of the same inputs.
"""

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from Sensor_core.testing import make_reading
from tests.fuzz.judging import FileJudge, MessageJudge

PROPER = {"accepted", "refused"}
MESSAGES = MessageJudge()
quick = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return FileJudge(tmp_path_factory.mktemp("fuzz"))


@quick
@given(st.randoms(use_true_random=False))
def test_readings_and_ticks(random):
    outcome, example = MESSAGES.judge(random)
    assert outcome in PROPER, example


@quick
@given(st.randoms(use_true_random=False))
def test_messages_of_the_other_topics(random):
    outcome, example = MESSAGES.judge_other_topic(random)
    assert outcome in PROPER, example


@pytest.mark.parametrize("kind", ["judge", "judge_other_file"])
def test_files(files, kind):
    random = Random(1)
    for _ in range(150):
        outcome, example = getattr(files, kind)(random)
        assert outcome in PROPER, example


def test_the_inputs_reach_both_outcomes():
    outcomes = [MESSAGES.judge(Random(seed))[0] for seed in range(300)]
    assert outcomes.count("accepted") > 50
    assert outcomes.count("refused") > 50


class _Lenient:
    """A decoder that takes everything for one reading."""

    def set_clock(self, partition, clock):
        pass

    def decode(self, _message):
        return make_reading()


def test_a_decoder_that_is_too_lenient_is_found_out(monkeypatch):
    judge = MessageJudge()
    monkeypatch.setattr(judge, "_decoder", _Lenient())
    assert {judge.judge(Random(seed))[0] for seed in range(50)} == {"wrong accept"}


def test_a_file_reader_that_is_too_lenient_is_found_out(files, monkeypatch):
    monkeypatch.setattr(files, "_folder", files._folder.__class__(files._folder.path, files._folder.interval))
    monkeypatch.setattr(files._folder, "readings", lambda _which: [])
    outcomes = [files.judge(Random(seed))[0] for seed in range(50)]
    assert outcomes.count("wrong accept") > 40
