"""What the environment decides: data folder, model, owner's token. Every setting is read once, at start."""

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveInt, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.limit_settings import LimitSettings


class Settings(BaseSettings):
    """Read from `PLUMBLINE_*` environment variables.

    data: folder of the database and the adapter versions.
    model: "starter", a folder, or a Hugging Face hub id.
    embedder: "starter", a folder, or the hub id of a sentence-transformers model.
    device: "auto", "cpu", "cuda" or another name that torch knows.
    dtype: of the weights: "auto", "float32", "bfloat16" or "float16"; see `LanguageModel.load`.
    cache_mb: how many megabytes the key-value cache of all running comparisons may take; more people wait in line.
    admin_token: where set, publishing, rollback, export and adapter files ask for it.
    consent: a text file that people agree to before they label, in place of the one that comes with Plumbline.
    judge_url, judge_model, judge_key: a chat endpoint as OpenAI's API has it, which may choose in the online loop; the key may be none.
    sync_dataset: owner/name of a private dataset on the Hub that every label is copied to; empty: the sync is off.
    sync_token: one that may write there; else the one that this machine is logged in with.
    sync_minutes: between two commits, 5 at least.
    trust_proxy: how many proxies of the owner's own stand in front of the page and append to X-Forwarded-For; 0 believes no header.
    limits: see `LimitSettings`.
    rater_share: the most of a refresh that one rater's choices may make up where there are at least three raters, see
        `app.refresh.caps`; 1 is no bound.
    space_id, space_author_name: set by Hugging Face, without a prefix, where the page runs on a Space.
    """

    model_config = SettingsConfigDict(env_prefix="PLUMBLINE_", env_ignore_empty=True)

    data: Path = Path("data")
    model: str = "starter"
    embedder: str = "starter"
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    cache_mb: PositiveInt = 2048
    admin_token: SecretStr | None = None
    consent: Path | None = None
    judge_url: str = ""
    judge_model: str = ""
    judge_key: SecretStr | None = None
    sync_dataset: str = Field("", pattern=r"^([\w.-]+/[\w.-]+)?$")
    sync_token: SecretStr | None = None
    sync_minutes: float = Field(5, ge=5)
    trust_proxy: int = Field(0, ge=0, le=16)
    limits: LimitSettings = Field(default_factory=LimitSettings)
    rater_share: float = Field(0.2, gt=0, le=1)
    space_id: str = Field("", validation_alias="space_id")
    space_author_name: str = Field("", validation_alias="space_author_name")

    def secrets(self) -> list[str]:
        """Every text among the settings that is to be told to nobody."""
        return [value.get_secret_value() for value in dict(self).values() if isinstance(value, SecretStr)]
