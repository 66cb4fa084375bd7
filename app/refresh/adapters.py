"""Adapter versions as folders: written whole or not at all, found by a checked name, gone in one step.

Knows files, no tensors and no database.
"""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError

from app.errors import InputError, NotFoundError, StorageError

VERSION_NAME = re.compile(r"v[1-9][0-9]{0,8}")


class AdapterFolder:
    """The folder that holds one subfolder a version. What a killed process left half written or half deleted is swept when it is opened.

    Args:
        root: usually `data/adapters`.
    """

    def __init__(self, root: Path):
        self.root = root
        for partial in root.glob(".v*.partial-*"):
            if not _is_running(int(partial.name.rpartition("-")[2])):
                shutil.rmtree(partial, ignore_errors=True)

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
        return self.root / f".{self._folder(version).name}.partial-{os.getpid()}"

    def _folder(self, version: str) -> Path:
        if not VERSION_NAME.fullmatch(version):
            raise InputError(
                f"the adapter is {version[:40]!r}; it must be a version such as v3, or 'none' for the original model"
            )
        return self.root / version


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return process != os.getpid()
