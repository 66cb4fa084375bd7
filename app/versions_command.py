"""The command `python -m app versions`: list, use, take away, bring and delete adapter versions. It parses and prints; it decides nothing.

Who has a shell on the machine is the owner, so no token is asked for here.
"""

import argparse
import json
from pathlib import Path

from app.errors import InputError
from app.settings import Settings


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command to the others."""
    parser = commands.add_parser("versions", help="list the adapter versions, or use, download, delete or upload one")
    parser.set_defaults(run=run)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--use", metavar="V", help="from now on answer with this version, or none for the original model")
    what.add_argument("--download", metavar="V", help="write a version as a zip that stock peft loads; needs --out")
    what.add_argument("--delete", metavar="V", help="delete a version for good; not one that is in use")
    what.add_argument(
        "--upload", type=Path, metavar="F.zip|FOLDER", help="make a version of a PEFT LoRA adapter; it is not yet used"
    )
    parser.add_argument("--out", type=Path, metavar="F.zip", help="where --download writes")
    parser.add_argument("--persona", default="", metavar="ID", help="whom --use or --upload is for; default: all")
    parser.add_argument("--model", metavar="M", help="starter, a folder or a hub id; default PLUMBLINE_MODEL")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def run(options: argparse.Namespace) -> int:
    """One of the actions, or the list."""
    if (options.download is None) != (options.out is None):
        raise InputError("--download V and --out F.zip belong together; give both or neither")
    if options.persona and options.use is None and options.upload is None:
        raise InputError(
            f"--persona is {options.persona[:40]!r}, but only --use and --upload are for a persona; leave it out"
        )
    if options.use is not None or options.upload is not None:
        report, told = _with_model(options)
    else:
        report, told = _with_files(options)
    print(json.dumps(report, ensure_ascii=False) if options.json else told)
    return 0


def _with_model(options: argparse.Namespace) -> tuple[dict, str]:
    from app.services import build

    settings = Settings()
    services = build(settings, options.model)
    token = settings.admin_token.get_secret_value() if settings.admin_token else ""
    if options.persona:
        services.catalogue.get(options.persona)
    if options.use is not None:
        services.learn.use(options.persona, options.use, token)
        report = {"persona": options.persona, "version": options.use}
        return report, f"{options.persona or 'all personas'}: answers come from {options.use} from now on"
    version = services.upload.add(options.upload, options.persona, token).id
    return {
        "version": version
    }, f"{version}: added and not yet in use; python -m app versions --use {version} puts it into use"


def _with_files(options: argparse.Namespace) -> tuple[dict, str]:
    from app.manage_versions import ManageVersions
    from app.refresh.adapters import AdapterFolder
    from app.repairs import repairs
    from storage.store import Store

    data = Settings().data
    store = Store(data)
    adapters = AdapterFolder(data / "adapters")
    manage = ManageVersions(store, adapters, authorise=lambda token: None)
    repairs(store, adapters, manage)
    if options.download is not None:
        manage.download(options.download, options.out)
        return {"version": options.download, "file": str(options.out)}, f"{options.download} written to {options.out}"
    if options.delete is not None:
        manage.delete(options.delete)
        return {"deleted": options.delete}, f"{options.delete} deleted"
    # Only here: whoever knows a round's id may vote on it.
    listed = [{**version, "rounds": store.rounds_of(version["version"])} for version in manage.described()]
    lines = [_line(version) for version in listed] or ["no version yet: the original model answers"]
    return {"versions": listed}, "\n".join(lines)


def _line(version: dict) -> str:
    from app.adapter_card import measured

    used = (
        f", in use for {', '.join(scope or 'all personas' for scope in version['in_use_for'])}"
        if version["in_use_for"]
        else ""
    )
    return (
        f"{version['version']} ({version['origin']}{used}): {version['scope'] or 'all personas'}, {version['model']}, "
        f"{version['pairs_train']} pairs, {version['objective'] or 'no training here'}, held-out accuracy {measured(version['after'])}"
    )
