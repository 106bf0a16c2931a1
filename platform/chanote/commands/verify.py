"""`chanote verify`: is a bundle what its maker signed? Needs neither a database nor settings nor a network."""

import argparse
from pathlib import Path
from typing import Any

from chanote.commands.answers import FAILED, MACHINE, NOT_FOUND, USAGE, CommandEnd


def add_parser(nouns: "argparse._SubParsersAction[argparse.ArgumentParser]", common: argparse.ArgumentParser) -> None:
    verify = nouns.add_parser("verify", help="check a signed bundle of a model or a dataset, offline")
    verify.add_argument("bundle", help="a directory, or a .tar")
    verify.add_argument("--public-key", default="", metavar="FILE", help="the maker's key, from elsewhere")
    verify.add_argument("--json", action="store_true", help="answer in JSON")
    verify.set_defaults(action=verify_signed)


def verify_signed(args: argparse.Namespace) -> dict[str, Any]:
    try:
        from chanote.custody.bundle import BundleRefused, KeyRefused, load_public_key, verify_bundle
    except ImportError as error:
        raise CommandEnd("The library `cryptography` is needed; run: pip install cryptography", MACHINE) from error
    path = Path(args.bundle)
    try:
        key = load_public_key(Path(args.public_key)) if args.public_key else None
        bundle = verify_bundle(path, public_key=key)
    except KeyRefused as refused:
        raise CommandEnd(str(refused), USAGE) from refused
    except BundleRefused as refused:
        problems = [{"field": "", "message": fault} for fault in refused.faults]
        raise CommandEnd(f"{path} is refused.", FAILED, problems) from refused
    except FileNotFoundError as error:
        raise CommandEnd(f"There is no {path}.", NOT_FOUND) from error
    except OSError as error:
        raise CommandEnd(f"{path} cannot be read: {error.strerror}.", MACHINE) from error
    said = (
        "given with --public-key" if key else "the bundle's own: compare its fingerprint with what the maker tells you"
    )
    return {
        "bundle": "whole",
        "kind": bundle.manifest["kind"],
        "name": bundle.manifest["name"],
        "made": bundle.manifest.get("made", ""),
        "files": len(bundle.manifest["files"]),
        "bytes": bundle.size,
        "fingerprint": bundle.fingerprint,
        "key": said,
    }
