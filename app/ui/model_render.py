"""What a model needs and how far a change of models has come, as lines of HTML; pure functions. Texts are escaped here; no Gradio."""

from html import escape

from app.models import Needs, Progress


def needs_line(needs: Needs) -> str:
    """Says what a model takes, what is free, and whether it fits."""
    takes = needs.weights + needs.cache
    verdict = (
        "It fits."
        if needs.fits
        else "It does not fit beside the model that serves; choose a smaller one, or start with it."
    )
    return (
        f'<p class="{"pl-quiet" if needs.fits else "pl-bad"}"><b>{escape(needs.name)}</b>: {_millions(needs.parameters)} million parameters in '
        f"{escape(needs.dtype)}, {_size(needs.weights)} and {_size(needs.cache)} for the text being read: {_size(takes)} of {_size(needs.free)} free. "
        f"{verdict}</p>"
    )


def progress_line(progress: Progress, name: str) -> str:
    """Says what is happening; a download with a bar."""
    told = {
        "looking": "Looking it up …",
        "downloading": f"Downloading: {_size(progress.done)} of {_size(progress.total)}",
        "loading": "Loading it into memory, beside the one that serves …",
        "trying": "Letting it answer its first token …",
        "serving": "It answers from now on. What was learnt on the other model waits there.",
    }[progress.stage]
    bar = (
        f'<progress max="{progress.total}" value="{progress.done}" aria-label="Download"></progress>'
        if progress.stage == "downloading"
        else ""
    )
    return f'<p class="pl-quiet" role="status"><b>{escape(name)}</b>: {told}</p>{bar}'


def _millions(count: int) -> str:
    return f"{count / 1e6:,.0f}" if count >= 1e7 else f"{count / 1e6:.1f}"


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
