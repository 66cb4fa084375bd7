"""A model's files from the hub, with how far it has come: only what a load needs, safetensors and no code. Knows no model."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import httpx2
from huggingface_hub import constants, get_session, snapshot_download
from huggingface_hub.file_download import repo_folder_name

from app.errors import ModelError, first_line

# At the top of the repository: other formats lie below, or under other names.
WANTED = [
    *(
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "model-*.safetensors",
        "model.safetensors.index.json",
    ),
    *("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*", "merges.txt", "chat_template*"),
]
TIMEOUT_SECONDS = 60  # until the hub sends something
LOOK_EVERY_SECONDS = 0.25


def download(hub_id: str) -> Iterator[tuple[int, int]]:
    """Fetches what is not here yet; yields (bytes so far, bytes in all). What was fetched stays, and a repeat goes on from there.

    Raises:
        ModelError: the hub cannot be reached, does not have it, or broke off.
    """
    get_session().timeout = TIMEOUT_SECONDS
    try:
        files = snapshot_download(hub_id, allow_patterns=WANTED, dry_run=True)
        total = sum(file.file_size or 0 for file in files if file.will_download)
        if not total:
            return
        folder = Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=hub_id, repo_type="model"), "blobs")
        before = _size(folder)
        yield 0, total
        pool = ThreadPoolExecutor(1)
        fetching = pool.submit(snapshot_download, hub_id, allow_patterns=WANTED)
        pool.shutdown(wait=False)
        while wait([fetching], LOOK_EVERY_SECONDS).not_done:
            yield min(total, max(0, _size(folder) - before)), total
        fetching.result()
        yield total, total
    except (OSError, ValueError, RuntimeError, httpx2.HTTPError) as error:
        raise ModelError(
            f"the model {hub_id!r} could not be downloaded: {first_line(error)[:300]} Check the hub id and the connection, and try again: "
            "it goes on from what is already here"
        ) from error


def _size(folder: Path) -> int:
    sizes = 0
    for file in folder.glob("*"):
        try:
            sizes += file.stat().st_size
        except FileNotFoundError:  # a part that was renamed just now
            continue
    return sizes
