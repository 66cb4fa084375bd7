"""Where the labels are kept besides this machine, as one line of HTML; a pure function. Texts are escaped here; no Gradio."""

from html import escape

from storage.log_outbox import SyncState


def sync_line(state: SyncState, loses_all: bool = False) -> str:
    """Says when the Hub sync last succeeded and what waits, and why it fails if it does.

    Args:
        state: of the sync.
        loses_all: whether nothing outlives a restart, see `Sync.loses_all`.
    """
    if loses_all:
        return (
            '<p class="pl-bad" role="status">This Space forgets everything when it restarts: its disk is wiped then. To keep the votes, its owner sets '
            "PLUMBLINE_SYNC_DATASET and PLUMBLINE_SYNC_TOKEN, or mounts a volume and sets PLUMBLINE_DATA to a folder on it.</p>"
        )
    if not state.dataset:
        return '<p class="pl-quiet">Hub sync is off: everything is kept on this machine only.</p>'
    when = f"{state.last_synced[:16].replace('T', ' ')} UTC" if state.last_synced else "not yet"
    parts = [f"Last synced to the dataset {escape(state.dataset)} on the Hub: {escape(when)}", _waiting(state.waiting)]
    if state.unreadable:
        parts.append(f"{state.unreadable} lines of the dataset could not be used and were left out")
    line = f'<p class="pl-quiet">{" · ".join(parts)}.</p>'
    return f'<p class="pl-bad" role="status">The sync fails: {escape(state.fault)}.</p>{line}' if state.fault else line


def _waiting(count: int) -> str:
    return {0: "nothing waits", 1: "1 change waits"}.get(count, f"{count} changes wait")
