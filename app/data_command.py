"""The commands `python -m app export` and `import`: labels out of the database, and pairs into it. They parse and print; they decide nothing.

Who has a shell on the machine is the owner, so no token is asked for here.
"""

import argparse
from pathlib import Path

from app.errors import InputError, checked
from app.settings import Settings

# Written out: the parser of every command should not load what writes Parquet.
FORMATS = ("preference", "unpaired", "demonstrations", "votes")
FILE_TYPES = ("jsonl", "parquet", "csv")


def add_data_parsers(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the commands to the others."""
    out = commands.add_parser("export", help="write the votes for training or study")
    out.set_defaults(run=export)
    out.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FOLDER|FILE",
        help="a folder gets the data and a dataset card; a name that ends with .jsonl, .parquet or .csv, the data alone",
    )
    out.add_argument(
        "--format", choices=FORMATS, default="preference", help="default: preference, as TRL's DPO takes it"
    )
    out.add_argument("--file-type", choices=FILE_TYPES, help="default: as the file is named, or jsonl in a folder")
    out.add_argument(
        "--with-principle", action="store_true", help="the principle in the prompt, as the prompted arm saw it"
    )
    out.add_argument("--persona", default="", metavar="ID", help="only of this persona")
    out.add_argument("--study", default="", metavar="NAME", help="only of this study")
    out.add_argument("--with-ai-votes", action="store_true", help="judges' choices, too, marked by their annotator")
    out.add_argument("--license", default="unknown", metavar="L", help="for the card, such as cc-by-4.0")

    into = commands.add_parser("import", help="keep preference pairs that were collected elsewhere, to learn from them")
    into.set_defaults(run=import_)
    into.add_argument("file", nargs="?", type=Path, metavar="FILE", help="TRL's preference format, .jsonl or .parquet")
    into.add_argument("--persona", default="", metavar="ID", help="whom the pairs are for; default: all")
    into.add_argument("--skip-bad", action="store_true", help="leave out rows that cannot be read, in place of all")
    into.add_argument("--delete", metavar="SOURCE", help="delete the pairs of a file that was imported, by its name")


def export(options: argparse.Namespace) -> int:
    """Writes a file, or a folder with the data and its card."""
    from app.data import Data, ExportRequest
    from storage.store import Store

    named = options.out.suffix.removeprefix(".")
    is_file = named in FILE_TYPES and not options.out.is_dir()
    if is_file and options.file_type not in (None, named):
        raise InputError(
            f"--file-type is {options.file_type}, but the file {str(options.out)!r} ends with .{named}; leave one of them out"
        )
    request = checked(
        ExportRequest,
        format=options.format,
        file_type=options.file_type or (named if is_file else "jsonl"),
        with_principle=options.with_principle,
        persona=options.persona,
        study=options.study,
        with_ai_votes=options.with_ai_votes,
        license=options.license,
    )
    data = Data(Store(Settings().data), authorise=lambda token: None)
    count = (data.export_file if is_file else data.export_folder)(request, options.out)
    print(f"{count} {'pairs' if options.format == 'preference' else 'rows'} written to {options.out}")
    return 0


def import_(options: argparse.Namespace) -> int:
    """Imports a file, deletes what one brought, or lists what there is."""
    from app.catalogue import Catalogue
    from app.embedding import Embedder
    from app.import_pairs import ImportPairs
    from personas import load_library
    from storage.store import Store

    settings = Settings()
    store = Store(settings.data)
    if options.persona:
        Catalogue(load_library(), store, Embedder(settings.embedder)).get(options.persona)
    imports = ImportPairs(store, authorise=lambda token: None)
    if (options.file is None) == (options.delete is None):
        if options.file is not None:
            raise InputError("a file and --delete were both given; give one of them")
        for source in imports.sources():
            print(
                f"{source.source}: {source.pairs} pairs for {source.persona or 'all personas'}, {source.created[:10]}"
            )
        return 0
    if options.delete is not None:
        print(f"{imports.delete(options.delete)} pairs of {options.delete} deleted")
        return 0
    report = imports.add(options.file, options.persona, skip_bad=options.skip_bad)
    for fault in report.skipped:
        print(f"left out: {fault}")
    print(f"{report.pairs} pairs imported from {report.source}; learn from them with refresh --with-imported")
    return 0
