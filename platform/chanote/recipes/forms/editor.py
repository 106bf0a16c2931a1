"""One state for text and form: which of the two a person changed decides, and never silently both."""

from dataclasses import dataclass, field
from typing import Any

from django.http import QueryDict

from chanote.accounts.models import Project
from chanote.recipes.checking import Checked, check_yaml
from chanote.recipes.forms.operations import apply_operation
from chanote.recipes.forms.options import Options
from chanote.recipes.forms.reading import read_form
from chanote.recipes.forms.schema_form import RecipeForm, anchor_of, build_form
from chanote.recipes.yaml_text import Parsed, parse_yaml
from chanote.recipes.yaml_writing import rewrite, same
from chanote.web.problems import Problem

CONFLICT = (
    "The text and the form were both changed. Keep one of them: press “Update the form from the text” or "
    "“Update the text from the form”."
)
UNREADABLE = "The text cannot be read, so the form still shows what it last said. Mend the text, or "
LAST_READABLE = "press “Update the text from the form” to write the text anew."


@dataclass
class Editor:
    text: str
    seen: str
    """The text that the form was last drawn from."""
    data: Any
    """What the form shows."""
    checked: Checked
    form: RecipeForm
    notices: list[str] = field(default_factory=list)
    conflict: bool = False
    drawn_anew: bool = True
    """The form shows something else than what was posted."""

    @property
    def can_go_on(self) -> bool:
        """Saving and launching may proceed: one text, and it keeps the contract."""
        return not self.conflict and self.checked.recipe is not None

    @property
    def linked_problems(self) -> list[tuple[str, Problem]]:
        anchors = self.form.anchors()
        return [(anchor_of(problem.field, anchors), problem) for problem in self.checked.problems]


def open_editor(text: str, project: Project, options: Options) -> Editor:
    """The editor as it first appears."""
    return _finish(_normal(text), _normal(text), parse_yaml(text).data, project, options)


def update_editor(post: QueryDict, operation: str, project: Project, options: Options) -> Editor:
    """Bring text and form together after the button or the typing that `operation` names.

    `text` and `form` are live typing in one of them, `to-form` and `to-text` explicit wishes, `verb:path` the form's
    own buttons, anything else (save, launch, check) takes whichever was changed.
    """
    text, seen = _normal(post.get("yaml", "")), _normal(post.get("seen", ""))
    before, parsed = parse_yaml(seen), parse_yaml(text)
    form_data = read_form(post, before.data)
    state = _State(text, seen, parsed, form_data)
    state.text_changed = text.rstrip() != seen.rstrip()
    state.form_changed = not same(form_data, before.data if isinstance(before.data, dict) else {})
    if operation == "to-text":
        state.take_form("" if state.text_changed else seen)
    elif operation == "to-form" or not state.form_changed:
        state.take_text()
    elif state.text_changed and not same(parsed.data, form_data):
        state.notices.append(CONFLICT)
        state.conflict = True
    else:
        state.take_form(seen)
        state.drawn_anew = False
    if ":" in operation and not state.conflict:
        state.operate(operation)
    editor = _finish(state.text, state.seen, state.data, project, options)
    editor.notices, editor.conflict, editor.drawn_anew = state.notices, state.conflict, state.drawn_anew
    return editor


@dataclass
class _State:
    text: str
    seen: str
    parsed: Parsed
    data: Any
    text_changed: bool = False
    form_changed: bool = False
    conflict: bool = False
    drawn_anew: bool = True
    notices: list[str] = field(default_factory=list)

    def take_text(self) -> None:
        if self.parsed.problems:
            self.drawn_anew = False
            if self.text_changed:
                self.notices.append(UNREADABLE + LAST_READABLE)
            return
        self.data, self.seen = self.parsed.data, self.text

    def take_form(self, base: str) -> None:
        written = rewrite(base, self.data)
        if written.lost_remarks:
            one = written.lost_remarks == 1
            self.notices.append(
                f"{written.lost_remarks} {'remark' if one else 'remarks'} (# …) could not be kept in the new text."
            )
        self.text = self.seen = _normal(written.text)

    def operate(self, operation: str) -> None:
        if self.text.rstrip() != self.seen.rstrip():
            # The text could not be read; a button of the form would overwrite it.
            return
        changed = apply_operation(self.data, operation)
        if changed is None:
            self.notices.append("The form no longer fits that button; it is drawn anew from the text.")
            return
        self.data = changed
        self.take_form(self.seen)
        self.drawn_anew = True


def _finish(text: str, seen: str, data: Any, project: Project, options: Options) -> Editor:
    checked = check_yaml(text, project)
    problems = checked.problems if text.rstrip() == seen.rstrip() else []
    return Editor(text, seen, data, checked, build_form(data, problems, options))


def _normal(text: str) -> str:
    return text.replace("\r\n", "\n").rstrip() + "\n" if text.strip() else ""
