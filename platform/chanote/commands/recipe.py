"""`chanote recipe`: check, save and show recipes."""

import argparse
import sys
from pathlib import Path
from typing import Any

from chanote.commands.answers import NOT_FOUND, REFUSED, USAGE, CommandEnd


def add_parser(nouns: "argparse._SubParsersAction[argparse.ArgumentParser]", common: argparse.ArgumentParser) -> None:
    verbs = nouns.add_parser("recipe", help="recipes").add_subparsers(required=True, metavar="VERB")
    check = verbs.add_parser("check", parents=[common], help="check a YAML file against the project")
    check.add_argument("file", help="- for standard input")
    check.set_defaults(action=check_file)
    save = verbs.add_parser("save", parents=[common], help="save a YAML file as the next revision")
    save.add_argument("name")
    save.add_argument("file", help="- for standard input")
    save.add_argument("--title", default="")
    save.add_argument("--message", default="", help="what changed and why")
    save.set_defaults(action=save_file)
    show = verbs.add_parser("list", parents=[common], help="list recipes")
    show.set_defaults(action=list_recipes)
    one = verbs.add_parser("show", parents=[common], help="print a revision's YAML")
    one.add_argument("name")
    one.add_argument("--revision", type=int)
    one.set_defaults(action=show_recipe)


def _read(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise CommandEnd(f"{file} cannot be read: {error.strerror}.", NOT_FOUND) from error
    except UnicodeDecodeError as error:
        raise CommandEnd(f"{file} is not UTF-8 text.", USAGE) from error


def check_file(args: argparse.Namespace) -> dict[str, Any]:
    from chanote.commands.finding import find_actor, find_project
    from chanote.recipes.services import check_yaml

    checked = check_yaml(_read(args.file), find_project(args, find_actor(args)))
    if checked.problems:
        problems = [{"field": problem.field, "message": problem.message} for problem in checked.problems]
        raise CommandEnd("The recipe cannot run as it stands.", REFUSED, problems)
    assert checked.recipe is not None
    return {"ready": True, "stages": [stage["kind"] for stage in checked.recipe.model_dump()["stages"]]}


def save_file(args: argparse.Namespace) -> dict[str, Any]:
    from chanote.accounts.roles import require
    from chanote.commands.finding import find_actor, find_project
    from chanote.recipes.services import RecipeRefused, save_revision

    actor = find_actor(args)
    project = find_project(args, actor)
    require(actor, "recipes.change", project)
    try:
        revision = save_revision(
            project=project, slug=args.name, title=args.title, yaml=_read(args.file), message=args.message, author=actor
        )
    except RecipeRefused as refusal:
        problems = [{"field": problem.field, "message": problem.message} for problem in refusal.problems]
        raise CommandEnd("The recipe was not saved.", REFUSED, problems) from refusal
    return {"recipe": revision.recipe.slug, "revision": revision.number, "sha256": revision.sha256}


def list_recipes(args: argparse.Namespace) -> list[dict[str, Any]]:
    from chanote.commands.finding import find_actor, find_project
    from chanote.recipes.models import Recipe

    actor = find_actor(args)
    recipes = Recipe.objects.visible_to(actor).filter(project=find_project(args, actor)).prefetch_related("revisions")
    return [
        {"name": r.slug, "title": r.title, "revisions": len(r.revisions.all()), "library": bool(r.from_library)}
        for r in recipes
    ]


def show_recipe(args: argparse.Namespace) -> Any:
    from chanote.commands.finding import find_actor, find_named, find_project
    from chanote.recipes.models import Recipe

    actor = find_actor(args)
    project = find_project(args, actor)
    recipe = find_named(Recipe.objects.visible_to(actor).filter(project=project), "recipe", args.name)
    revisions = recipe.revisions.all()
    revision = revisions.filter(number=args.revision).first() if args.revision else revisions.first()
    if revision is None:
        raise CommandEnd(f"{recipe.slug} has no revision {args.revision}.", NOT_FOUND)
    if args.json:
        return {
            "recipe": recipe.slug,
            "revision": revision.number,
            "yaml": revision.yaml,
            "resolved": revision.resolved,
        }
    return revision.yaml
