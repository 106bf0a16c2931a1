"""What two contracts say of tool calls is the same: neither imports the other."""

from typing import get_args

from toolsandbox.contract import Status
from trainer.contract.tool_calls import CallStatus


def test_a_call_is_stored_with_the_status_that_the_service_gave():
    assert get_args(CallStatus) == get_args(Status)
