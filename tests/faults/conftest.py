"""The seed of the suite, and the undisturbed run that others are held against."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.faults.running import Outcome, run
from tests.faults.stack import Stack
from tests.faults.stream import Stream

HOURS = 40
MARKS = [
    pytest.mark.integration,
    pytest.mark.timeout(600),
    pytest.mark.usefixtures("leaking_clients"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="session")
def seed() -> int:
    """FAULTS_SEED, or 1."""
    return int(os.environ.get("FAULTS_SEED", "1"))


@pytest.fixture(autouse=True)
def _seed_in_a_failure(seed) -> None:
    print(f"to be repeated with FAULTS_SEED={seed}")


@pytest.fixture
def make_stack(engines, engine_password, tmp_path) -> Iterator[Callable[..., Stack]]:
    """Makes the test's pipeline from services and changed settings; it is stopped at the end."""
    with ExitStack() as stacks:
        yield lambda services=None, **changes: stacks.enter_context(
            Stack(engines, engine_password, tmp_path, services, **changes)
        )


@pytest.fixture(scope="session")
def undisturbed(engines, engine_password, seed, tmp_path_factory) -> Outcome:
    with Stack(engines, engine_password, tmp_path_factory.mktemp("undisturbed")) as stack:
        return run(stack, Stream(seed, HOURS), None, pace_s=0.0)
