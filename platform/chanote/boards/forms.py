"""What people fill in about boards. Forms only parse; services write."""

from collections.abc import Sequence
from typing import Any

from django import forms

from chanote.accounts.models import Project, slug_validator
from chanote.boards.models import Alias, Board, Task
from chanote.boards.table import unit_of
from chanote.models.models import Model


class BoardForm(forms.Form):
    title = forms.CharField(max_length=160, widget=forms.TextInput(attrs={"class": "input"}))
    question = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 2, "class": "input"}),
        help_text="What the board is meant to answer, in a sentence.",
    )


class NewBoardForm(BoardForm):
    slug = forms.CharField(
        label="Name",
        max_length=80,
        validators=[slug_validator],
        widget=forms.TextInput(attrs={"class": "input"}),
        help_text="As recipes name it: lower-case letters, digits, - and _.",
    )
    field_order = ["slug", "title", "question"]


class EditBoardForm(BoardForm):
    baseline = forms.ModelChoiceField(
        queryset=Model.objects.none(),
        required=False,
        widget=forms.Select(attrs={"class": "select"}),
        help_text="The model that the others are held against.",
    )

    def __init__(self, *args: object, board: Board, project: Project, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        models = Model.objects.filter(project=project, evaluations__boards=board).distinct().order_by("slug")
        self.fields["baseline"].queryset = models  # type: ignore[attr-defined]


class NewAliasForm(forms.Form):
    name = forms.CharField(
        max_length=80,
        validators=[slug_validator],
        widget=forms.TextInput(attrs={"class": "input"}),
        help_text="Such as candidate or production: lower-case letters, digits, - and _.",
    )
    guard = forms.ModelChoiceField(
        queryset=Board.objects.none(),
        widget=forms.Select(attrs={"class": "select"}),
        help_text="The board whose tasks guard the name.",
    )

    def __init__(self, *args: object, project: Project, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["guard"].queryset = Board.objects.filter(project=project)  # type: ignore[attr-defined]


class MoveAliasForm(forms.Form):
    model = forms.ModelChoiceField(
        queryset=Model.objects.none(),
        to_field_name="slug",
        widget=forms.Select(attrs={"class": "select"}),
        help_text="It passes unless it is significantly worse on a task of the guard board.",
    )

    def __init__(self, *args: object, project: Project, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        models = Model.objects.filter(project=project).order_by("slug")
        self.fields["model"].queryset = models  # type: ignore[attr-defined]


class SuiteForm(forms.Form):
    """A margin for each task of the guard board, in the unit of the task; empty: not in the suite."""

    against = forms.ChoiceField(
        label="Held against",
        choices=[("model", "the model that the name points at"), ("base", "the board's baseline: nothing forgotten")],
        widget=forms.Select(attrs={"class": "select"}),
    )

    def __init__(self, *args: Any, alias: Alias, tasks: Sequence[Task], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._tasks = {f"task-{task.pk}": task for task in tasks}
        self.initial = {"against": "base" if alias.against_base else "model"}
        for name, task in self._tasks.items():
            unit = unit_of(task)
            self.fields[name] = forms.FloatField(
                label=f"{task.reference}, {unit.name}",
                required=False,
                widget=forms.NumberInput(attrs={"class": "input", "step": "any", "min": "0"}),
            )
            if task.reference in alias.suite:
                self.initial[name] = float(f"{alias.suite[task.reference] * unit.scale:.10g}")

    def read_suite(self) -> dict[str, float]:
        given = {task: self.cleaned_data.get(name) for name, task in self._tasks.items()}
        return {
            task.reference: float(f"{margin / unit_of(task).scale:.10g}")
            for task, margin in given.items()
            if margin is not None
        }


class RescoringForm(forms.Form):
    task = forms.ModelChoiceField(
        queryset=Task.objects.none(),
        widget=forms.Select(attrs={"class": "select"}),
        help_text="Tasks that ask the same of the same rows and judge otherwise.",
    )
    board = forms.ModelChoiceField(
        queryset=Board.objects.none(),
        required=False,
        widget=forms.Select(attrs={"class": "select"}),
        help_text="Where the new score is to stand, as a table of its own.",
    )

    def __init__(self, *args: object, tasks: list[Task], project: Project, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["task"].queryset = Task.objects.filter(pk__in=[one.pk for one in tasks])  # type: ignore[attr-defined]
        self.fields["board"].queryset = Board.objects.filter(project=project)  # type: ignore[attr-defined]


class ImportForm(forms.Form):
    board = forms.ModelChoiceField(
        queryset=Board.objects.none(),
        widget=forms.Select(attrs={"class": "select"}),
        help_text="Where the scores are to stand.",
    )
    file = forms.FileField(
        widget=forms.ClearableFileInput(attrs={"class": "input"}),
        help_text="The file with the items; its format is found by what is in it.",
    )
    beside = forms.FileField(
        label="Its results file",
        required=False,
        widget=forms.ClearableFileInput(attrs={"class": "input"}),
        help_text="results_*.json of lm-evaluation-harness or lighteval: names the model, states errors to check.",
    )
    model = forms.CharField(
        required=False,
        max_length=120,
        widget=forms.TextInput(attrs={"class": "input"}),
        help_text="What the model is called here. Empty: as the file names it.",
    )

    def __init__(self, *args: object, project: Project, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["board"].queryset = Board.objects.filter(project=project)  # type: ignore[attr-defined]
