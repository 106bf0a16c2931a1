"""Which test stands for which row of the list of hostile inputs: all eighty, and every name is of a test there is."""

import ast
from pathlib import Path

import pytest

from tests.hostile_programs import ALL

HERE = Path(__file__).parent
PROGRAMS = "test_sandbox_hostile.py::test_a_hostile_program_ends_as_it_should"
VERDICTS = "test_sandbox_life.py::test_only_a_right_program_passes"

ROWS: dict[int, list[str]] = {
    **{int(program.number): [PROGRAMS] for program in ALL if program.number.isdigit()},
    8: [PROGRAMS, "test_sandbox_hostile.py::test_a_child_killed_for_memory_is_told_beside_a_program_that_went_on"],
    15: [PROGRAMS, "test_sandbox_hostile.py::test_output_is_kept_up_to_the_cap_and_no_further"],
    19: [PROGRAMS, "test_sandbox_hostile.py::test_no_file_but_those_of_its_temporary_folder_can_be_written"],
    56: [VERDICTS],
    57: [VERDICTS],
    65: ["test_sandbox_http.py::test_a_bomb_that_was_uploaded_goes_off_inside_only"],
    66: [
        "test_sandbox_http.py::test_a_file_has_a_plain_name_below_the_temporary_folder",
        "test_sandbox_http.py::test_the_same_name_twice_is_the_second_file_and_case_tells_names_apart",
        "test_sandbox_life.py::test_only_regular_files_come_out",
    ],
    67: ["test_sandbox_life.py::test_only_regular_files_come_out"],
    68: ["test_sandbox_http.py::test_a_file_that_changes_while_it_is_read_is_itself_or_nothing"],
    70: ["test_sandbox_hostile.py::test_nothing_passes_from_one_container_to_the_next"],
    71: [VERDICTS],
    72: [
        "test_sandbox_hostile.py::test_a_verifier_says_yes_by_true_and_by_nothing_else",
        "test_sandbox_hostile.py::test_what_a_verifier_does_to_its_argument_the_next_one_does_not_see",
        "test_sandbox_life.py::test_a_verifier_is_used_only_if_it_tells_good_from_bad",
    ],
    73: [VERDICTS],
    74: [
        "test_sandbox_hostile.py::test_input_that_is_never_read_blocks_nothing",
        "test_sandbox_hostile.py::test_a_long_input_arrives_whole",
    ],
    75: [
        "test_sandbox_http.py::test_a_body_of_a_gigabyte_is_refused_and_never_held",
        "test_sandbox_http.py::test_a_body_that_is_an_attack_is_refused_in_one_sentence",
        "test_sandbox_http.py::test_arguments_that_a_policy_gets_wrong_are_a_result_that_says_so",
        PROGRAMS,
    ],
    76: [
        "test_sandbox_http.py::test_a_policy_cannot_give_itself_time",
        "test_sandbox_http.py::test_no_time_is_endless",
    ],
    77: [
        "test_sandbox_http.py::test_a_client_that_goes_away_takes_its_program_with_it",
        "test_sandbox_chaos.py::test_a_service_killed_in_the_middle_of_fifty_calls_leaves_nothing_that_runs",
        "test_sandbox_chaos.py::test_an_engine_that_stops_is_an_infra_error_until_it_is_back",
        "test_sandbox_chaos.py::test_half_the_pool_killed_while_it_waits_costs_no_call",
        "test_sandbox_chaos.py::test_half_the_containers_killed_in_the_middle_of_their_calls_are_our_failure",
        "test_sandbox_chaos.py::test_a_host_whose_disk_is_full_is_an_infra_error_until_there_is_room",
        "test_sandbox_chaos.py::test_a_clock_that_jumps_ends_no_session_and_keeps_no_container",
    ],
    78: ["test_sandbox_http.py::test_three_hundred_good_and_bad_calls_at_once_come_right"],
    79: [
        "test_sandbox_http.py::test_nothing_is_open_without_a_token",
        "test_sandbox_http.py::test_a_session_that_was_guessed_is_another_session",
    ],
    80: [
        "test_sandbox_http.py::test_what_a_law_says_is_data_word_for_word",
        "test_sandbox_http.py::test_a_law_that_is_too_long_is_cut",
    ],
}


def find_tests(name: str) -> set[str]:
    tree = ast.parse((HERE / name).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_all_eighty_rows_have_a_test():
    assert sorted(ROWS) == list(range(1, 81))


@pytest.mark.parametrize("row", range(1, 81))
def test_the_tests_of_a_row_are_there(row):
    for name in ROWS[row]:
        file, test = name.split("::")
        assert test in find_tests(file), f"row {row} names {name}, which is not there"


def test_every_verdict_that_a_row_asks_for_is_tried():
    """The rows that are verdicts have their number in the parameters of one test."""
    text = (HERE / "test_sandbox_life.py").read_text(encoding="utf-8")
    for row in ("56", "57", "71a", "73"):
        assert f'"{row}"' in text
