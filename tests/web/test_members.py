"""Members of a project: who may change them, what is written down, and the admin that always stays."""

import pytest
from django.core.exceptions import ValidationError
from django.urls import reverse

from chanote.accounts.models import Membership, Project, User
from chanote.accounts.services import (
    MembershipRefused,
    create_project,
    create_user,
    remove_member,
    set_role,
    update_project,
)
from chanote.audit.models import AuditEvent

pytestmark = pytest.mark.django_db
MEMBERS = "/p/law/members/"


def role_in(project, user):
    return Membership.objects.filter(project=project, user=user).values_list("role", flat=True).first()


def change(client, user, **form):
    return client.post(reverse("member_change", args=["law", user.pk]), form, follow=True)


def test_an_admin_adds_a_member_by_name(client_of, project, project_admin, stranger):
    answer = client_of(project_admin).post(MEMBERS, {"username": "stranger", "role": "curator"}, follow=True)
    assert "stranger is now curator in Law assistant." in answer.content.decode()
    assert role_in(project, stranger) == "curator"
    event = AuditEvent.objects.get(verb="member.added")
    assert (event.actor, event.project, event.object_name, event.detail) == (
        project_admin,
        project,
        "stranger",
        {"role": "curator"},
    )


def test_an_unknown_name_is_refused_at_the_field_and_kept(client_of, project, project_admin):
    answer = client_of(project_admin).post(MEMBERS, {"username": "nobdy", "role": "viewer"})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "Nobody here is called nobdy." in page
    assert 'value="nobdy"' in page
    assert 'aria-invalid="true"' in page


def test_a_member_is_not_added_twice(client_of, project_admin, viewer):
    answer = client_of(project_admin).post(MEMBERS, {"username": "viewer", "role": "admin"})
    assert answer.status_code == 422
    assert role_in(project_admin.projects.get(), viewer) == "viewer"


def test_an_admin_changes_and_ends_a_membership(client_of, project, project_admin, viewer):
    client = client_of(project_admin)
    change(client, viewer, role="researcher")
    assert role_in(project, viewer) == "researcher"
    assert AuditEvent.objects.get(verb="member.changed").detail == {"role": "researcher", "before": "viewer"}
    change(client, viewer, remove="1")
    assert role_in(project, viewer) is None
    assert AuditEvent.objects.get(verb="member.removed").detail == {"role": "researcher"}


def test_an_unknown_role_changes_nothing(client_of, project, project_admin, viewer):
    page = change(client_of(project_admin), viewer, role="emperor").content.decode()
    assert "is not a role; choose viewer, researcher, curator, admin" in page
    assert role_in(project, viewer) == "viewer"


@pytest.mark.parametrize("form", [{"remove": "1"}, {"role": "viewer"}])
def test_the_last_admin_stays(client_of, project, project_admin, form):
    page = change(client_of(project_admin), project_admin, **form).content.decode()
    assert "is the only admin of Law assistant. Make another member admin first." in page
    assert role_in(project, project_admin) == "admin"


def test_an_admin_may_leave_once_there_is_another(client_of, project, project_admin, viewer):
    set_role(user=viewer, project=project, role="admin", actor=project_admin)
    answer = change(client_of(project_admin), project_admin, remove="1")
    assert role_in(project, project_admin) is None
    assert answer.redirect_chain == [("/", 302)]


def test_an_admin_with_a_closed_account_does_not_count(project, project_admin, viewer):
    set_role(user=viewer, project=project, role="admin", actor=project_admin)
    User.objects.filter(pk=viewer.pk).update(is_active=False)
    with pytest.raises(MembershipRefused):
        remove_member(Membership.objects.get(user=project_admin), actor=project_admin)


@pytest.mark.parametrize("role", ["viewer", "researcher", "curator"])
def test_others_look_but_do_not_change(role, request, client_of, project, project_admin):
    client = client_of(request.getfixturevalue(role))
    page = client.get(MEMBERS).content.decode()
    assert "project-admin" in page
    assert "Add a member" not in page
    refused = client.post(MEMBERS, {"username": "project-admin", "role": "viewer"})
    assert refused.status_code == 403
    assert f"Your role in Law assistant is {role}" in refused.content.decode()
    assert change(client, project_admin, remove="1").status_code == 403
    assert role_in(project, project_admin) == "admin"


def test_a_project_is_made_by_an_administrator_who_becomes_its_admin(client_of):
    root, _ = create_user("root", is_superuser=True)
    User.objects.filter(pk=root.pk).update(must_change_password=False)
    form = {"name": "Tax desk", "slug": "tax", "description": ""}
    assert client_of(root).post("/projects/new/", form)["Location"] == "/p/tax/"
    project = Project.objects.get(slug="tax")
    assert role_in(project, root) == "admin"
    assert set(AuditEvent.objects.filter(project=project).values_list("verb", flat=True)) == {
        "project.created",
        "member.added",
    }


def test_nobody_else_makes_projects(client_of, project_admin):
    assert client_of(project_admin).get("/projects/new/").status_code == 404
    assert client_of(project_admin).post("/projects/new/", {"name": "X", "slug": "x"}).status_code == 404


@pytest.mark.parametrize("slug", ["Tax", "-tax", "law", "täx", ""])
def test_a_bad_or_taken_short_name_is_refused_at_its_field(slug, project, viewer):
    with pytest.raises(ValidationError) as refused:
        create_project(slug=slug, name="Tax desk", owner=viewer)
    assert set(refused.value.message_dict) == {"slug"}


def test_a_changed_name_is_written_down_once(project, project_admin):
    update_project(project, name="Law desk", description="", actor=project_admin)
    update_project(project, name="Law desk", description="", actor=project_admin)
    assert AuditEvent.objects.get(verb="project.changed").detail == {"fields": ["name"]}


def test_a_taken_user_name_is_refused_at_its_field(viewer):
    with pytest.raises(ValidationError) as refused:
        create_user("viewer")
    assert set(refused.value.message_dict) == {"username"}
