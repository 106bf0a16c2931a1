"""The `chanote` command: what it answers, in words and in JSON, and how it ends."""

import json

import pytest

from chanote import cli

RECIPE = """\
base: ""
stages:
  - kind: cpt
    data: [{dataset: notes}]
    steps: 2
    initialise: {hidden_size: 32, layers: 1, heads: 2, kv_heads: 1, head_dim: 16, ffn_size: 32}
"""


@pytest.fixture
def ask(db, project, project_admin, capsys):
    """Run a command as the project's admin; returns its exit code, answer and complaint."""

    def run(*arguments: str, actor: str = "project-admin", as_json: bool = True):
        words = [*arguments, "--as", actor, *(["--json"] if as_json else [])]
        code = cli.main(words)
        printed = capsys.readouterr()
        return code, json.loads(printed.out) if as_json and printed.out else printed.out, printed.err

    return run


@pytest.fixture
def notes(tmp_path):
    file = tmp_path / "notes.jsonl"
    file.write_text("".join(f'{{"text": "note number {n}"}}\n' for n in range(50)))
    return str(file)


def test_a_file_becomes_a_dataset_and_a_recipe_a_revision(ask, notes, tmp_path):
    code, version, _ = ask("dataset", "import", notes, "--kind", "text", "--licence", "CC0-1.0")
    assert (code, version["dataset"], version["rows"], version["licence"]) == (0, "notes@1", 50, "CC0-1.0")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE)
    code, saved, _ = ask("recipe", "save", "first", str(recipe), "--message", "begin")
    assert (code, saved["recipe"], saved["revision"]) == (0, "first", 1)
    code, launched, _ = ask("run", "launch", "first", "--seed", "7")
    assert (code, launched["number"], launched["state"], launched["recipe"]) == (0, 1, "queued", "first@1")
    assert [run["number"] for run in ask("run", "list")[1]] == [1]
    assert ask("run", "cancel", "1")[1]["state"] == "cancelled"


def test_a_new_version_keeps_the_rights_that_are_not_said_again(ask, notes, tmp_path):
    ask(
        "dataset",
        "import",
        notes,
        "--kind",
        "text",
        "--licence",
        "CC-BY-NC-4.0",
        "--use",
        "evaluate",
        "--non-commercial",
    )
    more = tmp_path / "more.jsonl"
    more.write_text('{"text": "another note"}\n')
    code, version, _ = ask("dataset", "import", str(more), "--name", "notes", "--kind", "text", "--reason", "more")
    assert (code, version["dataset"], version["rows"]) == (0, "notes@2", 1)
    assert (version["licence"], version["uses"], version["non_commercial"]) == ("CC-BY-NC-4.0", ["evaluate"], True)


def test_a_folder_without_known_data_is_refused(ask, tmp_path):
    code, answer, _ = ask("dataset", "import-shared", str(tmp_path))
    assert (code, answer["problems"][0]["field"]) == (4, "folder")


def test_a_bad_file_is_refused_whole_with_its_rows(ask, tmp_path):
    file = tmp_path / "bad.jsonl"
    file.write_text('{"text": "good"}\n{"word": "no text"}\n')
    code, answer, _ = ask("dataset", "import", str(file), "--kind", "text")
    assert code == 4
    assert any(problem["field"] == "rows[2]" for problem in answer["problems"])
    assert ask("dataset", "list")[1] == []


def test_a_recipe_with_a_wrong_name_says_the_field(ask, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE)
    code, answer, _ = ask("recipe", "check", str(recipe))
    assert code == 4
    assert [problem["field"] for problem in answer["problems"]] == ["stages[0].data[0].dataset"]


def test_what_is_not_there_ends_with_three(ask):
    code, answer, _ = ask("run", "show", "9")
    assert (code, answer["error"]) == (3, "No run 9 in law; `chanote run list` shows them.")


def test_a_viewer_may_not_import(ask, viewer, notes):
    code, answer, _ = ask("dataset", "import", notes, "--kind", "text", actor="viewer")
    assert code == 4
    assert "Your role in Law assistant is viewer" in answer["error"]


def test_a_stranger_learns_of_no_project(ask, stranger):
    code, answer, _ = ask("dataset", "list", actor="stranger")
    assert code == 3
    assert "Law" not in answer["error"]


def test_people_read_a_table_and_a_sentence(ask, notes):
    ask("dataset", "import", notes, "--kind", "text")
    code, table, _ = ask("dataset", "list", as_json=False)
    assert code == 0
    assert table.splitlines()[0].split() == ["name", "kind", "version", "rows", "licence", "uses"]
    code, _, complaint = ask("run", "show", "9", as_json=False)
    assert complaint == "chanote: No run 9 in law; `chanote run list` shows them.\n"


def test_a_token_is_shown_once_and_only_its_hash_is_kept(ask, project_admin):
    from chanote.accounts.models import ApiToken

    code, made, _ = ask("token", "create", "laptop", "--scope", "runs:read")
    assert code == 0
    kept = ApiToken.objects.get(user=project_admin)
    assert made["token"] not in json.dumps([kept.digest, kept.token_key, kept.name])
    assert ask("token", "create", "x", "--scope", "nonsense")[0] == 2
    assert ask("token", "revoke", "laptop")[1] == {"revoked": 1}


def test_a_new_user_gets_a_one_time_password(ask, project):
    from chanote.accounts.models import User

    code, made, _ = ask("user", "create", "nok", "--role", "researcher")
    assert code == 0
    user = User.objects.get(username="nok")
    assert user.check_password(made["one_time_password"])
    assert user.must_change_password
    assert ask("user", "create", "nok")[0] == 4
