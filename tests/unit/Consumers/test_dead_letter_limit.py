"""A share of invalid messages above the limit is a fault of somebody's program, not of messages."""

import pytest

from Consumers.dead_letter_limit import DeadLetterLimit, TooManyDeadLettersError

REASON = "Expected `float`, got `str`"


@pytest.fixture
def limit():
    return DeadLetterLimit(share=0.1, window=100)


def refused(count):
    return [(None, REASON)] * count


def test_a_stream_with_few_invalid_messages_goes_on_for_ever(limit):
    for _ in range(1000):
        limit.check("readings", 50, refused(5))


def test_it_stops_before_the_window_is_full_once_no_valid_rest_could_make_up(limit):
    limit.check("readings", 10, refused(10))
    with pytest.raises(TooManyDeadLettersError, match=r"11 of the last 100 messages of readings .* got `str`"):
        limit.check("readings", 1, refused(1))


def test_what_was_long_ago_does_not_count(limit):
    for _ in range(20):
        limit.check("readings", 10, refused(10))
        limit.check("readings", 100, [])


def test_a_poll_larger_than_the_window_is_judged_by_its_own_size(limit):
    limit.check("readings", 2000, refused(200))
    with pytest.raises(TooManyDeadLettersError, match="201 of the last 2000"):
        DeadLetterLimit(share=0.1, window=100).check("readings", 2000, refused(201))


def test_valid_messages_of_one_topic_do_not_hide_another(limit):
    limit.check("readings", 10, refused(10))
    limit.check("dead letters", 1000, [])
    with pytest.raises(TooManyDeadLettersError):
        limit.check("readings", 1, refused(1))


def test_a_batch_that_the_store_refuses_is_judged_by_itself(limit):
    for _ in range(10):
        limit.check_batch(1000, refused(100))
    with pytest.raises(TooManyDeadLettersError, match="101 of 1000 messages to be stored"):
        limit.check_batch(1000, refused(101))


def test_what_an_earlier_run_diverted_counts_and_is_not_judged_again(limit):
    limit.look_at("readings", limit.look_back, 50)
    limit.check("readings", 5, [])
    with pytest.raises(TooManyDeadLettersError, match="51 of the last 106"):
        limit.check("readings", 1, refused(1))


def test_a_share_of_one_never_stops():
    limit = DeadLetterLimit(share=1, window=1)
    assert limit.look_back == 0
    limit.check("readings", 5, refused(5))
