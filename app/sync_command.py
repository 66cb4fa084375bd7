"""The command `python -m app sync`: how far the Hub sync has come, and to sync, compact or replay by hand. It parses and prints."""

import argparse
import json

from app.settings import Settings


def add_sync_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command to the others."""
    parser = commands.add_parser("sync", help="the labels' copy in a private dataset on the Hub")
    parser.set_defaults(run=run)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--status", action="store_true", help="when it last synced and what waits; the default")
    what.add_argument("--now", action="store_true", help="send what waits, and bring in what is missing here")
    what.add_argument(
        "--compact", action="store_true", help="take what was deleted or overtaken out of all files and their history"
    )
    what.add_argument("--replay", action="store_true", help="only bring in what is missing here")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def run(options: argparse.Namespace) -> int:
    """One of the actions, and then the status."""
    from app.hub import Sync
    from storage.store import Store

    settings = Settings()
    sync = Sync.of(settings, Store(settings.data).database)
    done = {}
    try:
        if options.replay:
            done = {"left_out": sync.replay()}
        elif options.now:
            sync.connect()
            sync.now()
        elif options.compact:
            sync.connect()
            done = {"taken_out": sync.compact()}
    finally:
        sync.close()
    state = sync.status()
    if options.json:
        print(json.dumps({**done, **state.described()}, ensure_ascii=False))
        return 0
    for name, count in done.items():
        print(f"{count} lines {name.replace('_', ' ')}")
    print(_line(state.described()))
    return 0


def _line(state: dict) -> str:
    if not state["on"]:
        return "sync is off; PLUMBLINE_SYNC_DATASET=owner/name and a start turn it on"
    fault = f"; it fails: {state['fault']}" if state["fault"] else ""
    return f"{state['dataset']}: last synced {state['last_synced'] or 'never'}, {state['waiting']} changes wait{fault}"
