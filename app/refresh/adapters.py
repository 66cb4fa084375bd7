"""Adapter versions as folders: written whole or not at all, found by a checked name, gone in one step.

Knows files, no tensors and no database.
"""

import errno
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError, safe_open

from app.errors import InputError, NotFoundError, StorageError, first_line
from app.refresh.adapter_files import CONFIG, WEIGHTS
from storage.files import abandoned, partial_name

TAKEN = (errno.ENOTEMPTY, errno.EEXIST)
VERSION_NAME = re.compile(r"v[1-9][0-9]{0,8}")


class AdapterFolder:
    """The folder that holds one subfolder a version. What a killed process left half written or half deleted is swept when it is opened.

    Args:
        root: usually `data/adapters`.

    Attributes:
        swept: what that was, in words.
    """

    def __init__(self, root: Path):
        self.root = root
        self.swept: list[str] = []
        for left in abandoned(root):
            name = left.name.split(".")[1]
            if left.is_dir():
                self.swept.append(f"the writing or the deletion of {name}")
                shutil.rmtree(left, ignore_errors=True)
                continue
            with suppress(OSError):  # another start may sweep at the same time, and a folder may be read-only
                self.swept.append(left.read_text(encoding="utf-8", errors="replace")[:300] or name)
                left.unlink()

    @contextmanager
    def underway(self, kind: str, told: str) -> Iterator[None]:
        """While the block lasts the folder says that something goes on, so that a start after a kill can tell what was cut off.

        Args:
            kind: one word; a process does only one of a kind at a time.
            told: in words.

        Raises:
            StorageError: the disk is full or read-only.
        """
        note = self.root / partial_name(kind)
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            note.write_text(told, encoding="utf-8")
        except OSError as error:
            raise StorageError(
                f"the folder {str(self.root)!r} could not be written ({error}), and nothing was begun; check room and rights of the disk"
            ) from error
        try:
            yield
        finally:
            note.unlink(missing_ok=True)

    def names(self) -> set[str]:
        """The versions that have a folder."""
        return {path.name for path in self.root.glob("v*") if VERSION_NAME.fullmatch(path.name) and path.is_dir()}

    def fault(self, version: str) -> str:
        """Why the files of a version cannot be used, as far as that is seen without reading all of them; "" where they can."""
        folder = self._folder(version)
        try:
            json.loads((folder / CONFIG).read_text(encoding="utf-8"))
            with safe_open(folder / WEIGHTS, framework="numpy"):  # looks at the header and at the length of the file
                return ""
        except (OSError, ValueError, SafetensorError) as error:
            return first_line(error)

    def path(self, version: str) -> Path:
        """The folder of a version.

        Raises:
            InputError: no version's name; nothing but names such as v3 ever becomes part of a path.
            NotFoundError: there is no such version.
        """
        folder = self._folder(version)
        if not folder.is_dir():
            raise self.absent(version)
        return folder

    def absent(self, version: str) -> NotFoundError:
        """The error of a version that is not there."""
        return NotFoundError(
            f"the adapter version {version!r} does not exist in {self.root}; give one that is listed, or 'none'"
        )

    def unused(self, version: str) -> str:
        """The first name from `version` on that has no folder: a process killed before it listed its version leaves one behind."""
        number = int(self._folder(version).name[1:])
        while (self.root / f"v{number}").exists():
            number += 1
        return f"v{number}"

    def add(self, first: str, save: Callable[[Path], None]) -> str:
        """As `write`, under the first name from `first` on that has no folder; returns it. Another process may take names meanwhile."""
        while True:
            version = self.unused(first)
            try:
                self.write(version, save)
            except StorageError as error:
                if not isinstance(error.__cause__, OSError) or error.__cause__.errno not in TAKEN:
                    raise
            else:
                return version

    def write(self, version: str, save: Callable[[Path], None]) -> Path:
        """Lets `save` fill a folder beside the final place and moves it there in one step.

        Raises:
            InputError: no version's name.
            StorageError: the disk is full or read-only, or the version exists; nothing is left behind.
        """
        final = self._folder(version)
        partial = self._partial(version)
        try:
            partial.mkdir(parents=True)
            save(partial)
            for file in partial.iterdir():
                with file.open("rb") as opened:
                    os.fsync(opened.fileno())
            partial.rename(final)
        except (OSError, SafetensorError) as error:  # a full disk is a SafetensorError where the weights are written
            raise StorageError(
                f"the new version could not be written to {str(final)!r} ({error}); the version in use stays. "
                "Check room and rights of the disk"
            ) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return final

    def remove(self, version: str) -> None:
        """Takes a version's folder away in one step; does nothing where there is none.

        Raises:
            InputError: no version's name.
            StorageError: the disk is read-only; the folder is whole or gone.
        """
        partial = self._partial(version)
        try:
            self._folder(version).rename(partial)
        except FileNotFoundError:
            return
        except OSError as error:
            raise StorageError(
                f"the files of {version!r} in {str(self.root)!r} could not be removed ({error}); check the rights of the disk. "
                "They are tried again at the next start"
            ) from error
        shutil.rmtree(partial, ignore_errors=True)  # what stays under this name is swept at the next start

    def _partial(self, version: str) -> Path:
        return self.root / partial_name(self._folder(version).name)

    def _folder(self, version: str) -> Path:
        if not VERSION_NAME.fullmatch(version):
            raise InputError(
                f"the adapter is {version[:40]!r}; it must be a version such as v3, or 'none' for the original model"
            )
        return self.root / version
