"""What of this repository a Space needs: the files that git tracks less those only developers read, and a README and requirements made for it.

It knows git and the disk; it does not know the Hub. Nothing that git does not track ever goes, so no data folder and no key in a file.
"""

import re
import shutil
import subprocess  # for git, with fixed words  # nosec B404
from pathlib import Path, PurePosixPath

import yaml

from app.errors import InputError, first_line

ROOT = Path(__file__).parent.parent
# Beside these, everything whose name begins with a dot. The Docker image leaves out the same.
LEFT_OUT = ("tests", "app/starter/corpus", "requirements-dev.txt", "pyproject.toml", "Dockerfile")
CPU_WHEELS = "https://download.pytorch.org/whl/cpu"  # without CUDA, a tenth of the size


def space_files(root: Path, data: Path, model: str, hardware: str) -> dict[str, Path | bytes]:
    """Every file of the Space by its path there: where it lies here, or its content where it is made for the Space.

    Args:
        root: of the repository.
        data: the data folder, which stays here even where somebody tracks it.
        model: a hub id is told in the README, so that the Hub links it.
        hardware: what the Space runs on, as the Hub calls it.

    Raises:
        InputError: this is no git checkout.
    """
    found = {path: root / path for path in tracked(root) if not _stays(path, root, data)}
    files: dict[str, Path | bytes] = {path: file for path, file in found.items() if file.is_file()}
    for name in ("README.md", "requirements.txt", "app.py"):
        if name not in files:
            raise InputError(f"git does not track {name} in {root}; deploy from a whole checkout of Plumbline")
    needs = found["requirements.txt"].read_text()
    files["README.md"] = _readme(found["README.md"].read_text(), needs, model)
    files["requirements.txt"] = _requirements(needs, hardware)
    return dict(sorted(files.items()))


def tracked(root: Path) -> list[str]:
    """Paths of all files that git tracks below `root`.

    Raises:
        InputError: there is no git, or no checkout.
    """
    git = shutil.which("git")
    if git is None:
        raise InputError("git is not installed, and only what git tracks is deployed; install git")
    listed = subprocess.run([git, "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=False)  # noqa: S603 (fixed words)  # nosec B603
    if listed.returncode:
        raise InputError(
            f"{root} is no git checkout ({listed.stderr.strip()[:120]}), and only what git tracks is deployed; clone Plumbline with git"
        )
    return [path for path in listed.stdout.split("\0") if path]


def _stays(path: str, root: Path, data: Path) -> bool:
    place = PurePosixPath(path)
    return (
        any(part.startswith(".") for part in place.parts)
        or any(place.is_relative_to(name) for name in LEFT_OUT)
        or (root / path).is_symlink()
        or (root / path).absolute().is_relative_to(data.absolute())
    )


def _readme(text: str, needs: str, model: str) -> bytes:
    _, head, body = text.split("---\n", 2)
    try:
        card = yaml.safe_load(head)
    except yaml.YAMLError as error:
        raise InputError(f"README.md does not begin with YAML that can be read: {first_line(error)}") from error
    card |= {"sdk": "gradio", "sdk_version": _pinned("gradio", needs), "app_file": "app.py"}
    # The login is offered to raters only where the card asks for it.
    card |= {"hf_oauth": True, **({"models": [model]} if "/" in model else {})}
    return f"---\n{yaml.safe_dump(card, sort_keys=False, allow_unicode=True)}---\n{body}".encode()


def _pinned(name: str, needs: str) -> str:
    found = re.search(rf"^{name}==(\S+)$", needs, re.M)
    if found is None:
        raise InputError(f"requirements.txt pins no version of {name}; write {name}==VERSION")
    return found[1]


def _requirements(needs: str, hardware: str) -> bytes:
    # The Space installs Gradio itself, in the README's version.
    return (f"--extra-index-url {CPU_WHEELS}\n{needs}" if hardware.startswith("cpu-") else needs).encode()
