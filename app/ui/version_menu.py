"""Versions as entries of menus. Knows names of versions, nothing of what they do."""

from app.services import Services


def version_ids(services: Services, rater: str = "") -> list[str]:
    """The versions that the loaded model can answer with, a rater's own among them, newest first."""
    return [version.id for version in services.versions.listed(rater)]


def version_menu(services: Services, rater: str = "") -> list[tuple[str, str]]:
    """The same with the original model before them."""
    return [("the original model", "none"), *((id_, id_) for id_ in version_ids(services, rater))]


def called(version: str) -> str:
    """What a person calls a version or a mixture; "none" and "" are the original model."""
    return "the original model" if version in ("", "none") else version
