"""What a step of a build says of what it dropped."""

import pytest

from chanote.building.funnel import Dropped, Funnel, Kept, Step

STEP = Step("2-functions", "Functions", "constraints")


@pytest.fixture
def funnel(tmp_path):
    return Funnel(tmp_path, lambda step, counts: None)


def test_a_step_that_left_nothing_says_what_it_dropped_most_and_what_was_said_first(funnel):
    refused = "the endpoint gave no answer"
    funnel.run(
        STEP,
        lambda: [
            Dropped({"id": 1}, refused, "HTTP 400: 812 tokens are more than the context of 512", part=True),
            Dropped({"id": 1}, refused, "HTTP 400 again", part=True),
            Dropped({"id": 1}, "no reply had both a function and cases"),
        ],
    )
    assert funnel.explain_dropped(STEP) == (
        "the endpoint gave no answer (2); no reply had both a function and cases (1), "
        "first: HTTP 400: 812 tokens are more than the context of 512"
    )


def test_without_details_the_reasons_stand_alone(funnel):
    funnel.run(STEP, lambda: [Kept({"id": 1}), Dropped({"id": 2}, "too long")])
    assert funnel.explain_dropped(STEP) == "too long (1)"


def test_a_step_that_got_nothing_has_nothing_to_say(funnel):
    funnel.run(STEP, list)
    assert funnel.explain_dropped(STEP) == ""
