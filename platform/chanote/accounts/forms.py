"""Forms of login, tokens, members and projects."""

from typing import Any

from axes.handlers.proxy import AxesProxyHandler
from django import forms
from django.conf import settings
from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm
from django.core.exceptions import ValidationError

from chanote.accounts.models import Project, Role, User, slug_validator
from chanote.accounts.services import LONGEST_TOKEN_DAYS, change_own_password
from chanote.api.permissions import SCOPES

COOLOFF_MINUTES = round(settings.AXES_COOLOFF_TIME * 60)


def dress(form: forms.BaseForm) -> None:
    """Give the widgets the classes of the style sheet."""
    for field in form.fields.values():
        if isinstance(field.widget, forms.CheckboxSelectMultiple | forms.CheckboxInput):
            continue
        field.widget.attrs["class"] = "select" if isinstance(field.widget, forms.Select) else "input"


class LoginForm(AuthenticationForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"].label = "User name"
        dress(self)

    def get_invalid_login_error(self) -> ValidationError:
        """Says how many tries are left, whether or not the name exists."""
        failures = AxesProxyHandler.get_failures(self.request, {"username": self.cleaned_data.get("username", "")})
        left = settings.AXES_FAILURE_LIMIT - failures
        tries = f"{left} more {'try' if left == 1 else 'tries'} before a pause of {COOLOFF_MINUTES} minutes."
        return ValidationError(f"Name or password is wrong. {tries}", code="invalid_login")


class OwnPasswordForm(PasswordChangeForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["old_password"].label = "Password now"
        self.fields["new_password1"].label = "New password"
        self.fields["new_password1"].help_text = "At least 12 characters; a few unrelated words are good."
        self.fields["new_password2"].label = "New password again"
        self.fields["new_password2"].help_text = ""
        dress(self)

    def clean_new_password1(self) -> str:
        new = self.cleaned_data["new_password1"]
        if new and self.user.check_password(new):
            raise ValidationError("This is the password you have now. Choose another one.")
        return new

    def save(self, commit: bool = True) -> Any:
        change_own_password(self.user, self.cleaned_data["new_password1"])
        return self.user


class TokenForm(forms.Form):
    name = forms.CharField(max_length=80, help_text="Where it is used, such as: notebook on node 4")
    scopes = forms.MultipleChoiceField(
        label="May",
        choices=[(scope, f"{scope}: {words}") for scope, words in SCOPES.items()],
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose at least one thing that the token may do."},
    )
    days = forms.IntegerField(label="Lasts for days", min_value=1, max_value=LONGEST_TOKEN_DAYS, initial=90)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        dress(self)


class MemberForm(forms.Form):
    username = forms.CharField(label="User name", max_length=150, widget=forms.TextInput(attrs={"autocomplete": "off"}))
    role = forms.ChoiceField(choices=Role.choices, initial=Role.RESEARCHER)

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.project = project
        dress(self)

    def clean_username(self) -> str:
        name = self.cleaned_data["username"].strip()
        user = User.objects.filter(username=name, is_active=True).first()
        if user is None:
            raise ValidationError(
                f"Nobody here is called {name}. An administrator of the installation makes accounts: "
                f"chanote user create {name}"
            )
        if self.project.memberships.filter(user=user).exists():
            raise ValidationError(f"{name} is a member already; change the role in the list.")
        self.cleaned_data["user"] = user
        return name


class ProjectForm(forms.Form):
    name = forms.CharField(max_length=120)
    slug = forms.CharField(
        label="Short name",
        max_length=60,
        validators=[slug_validator],
        help_text="Stands in addresses and cannot be changed later, such as: thai-law",
    )
    description = forms.CharField(required=False, widget=forms.Textarea(attrs={"rows": 3}))
    reviews_data = forms.BooleanField(
        required=False,
        initial=True,
        label="Only approved versions of datasets may train",
        help_text="Somebody who neither made a version nor asked for its review must approve it first.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        dress(self)
