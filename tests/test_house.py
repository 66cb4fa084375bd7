"""What each part must not know: a process of its own imports it and tells what came with it."""

import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def modules_below(folder: str) -> list[str]:
    """The importable names of a folder's modules, the package itself first."""
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in (ROOT / folder).rglob("*.py")}
    return sorted(name.removesuffix(".__init__") for name in names)


@cache
def loaded_by(*modules: str) -> frozenset[str]:
    """Names of everything that is in `sys.modules` after these imports in a fresh process."""
    script = "import importlib, sys\nfor name in sys.argv[1:]:\n    importlib.import_module(name)\nprint(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", script, *modules], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return frozenset(result.stdout.split())


def foreign(*modules: str) -> set[str]:
    """Top-level packages that came with these imports and do not belong to Python."""
    return {name.partition(".")[0] for name in loaded_by(*modules)} - sys.stdlib_module_names


def test_decoding_knows_token_ids_only():
    loaded = foreign(*modules_below("app/decoding"))
    assert "torch" in loaded
    assert not loaded & {"transformers", "peft", "tokenizers", "gradio", "storage", "personas", "sqlite_utils"}
    inside = {name for name in loaded_by(*modules_below("app/decoding")) if name.startswith("app.")}
    assert all(name.startswith("app.decoding") or name == "app.errors" for name in inside - {"app"}), inside


@pytest.mark.parametrize(
    "module",
    [
        *("app.decoding.rules", "app.decoding.amulet", "app.decoding.guidance"),
        *("app.refresh.objectives", "app.refresh.likelihoods"),
    ],
)
def test_pure_maths_loads_torch_and_nothing_else(module: str):
    assert foreign(module) - foreign("torch") == {"app"}
    assert {name for name in loaded_by(module) if name.startswith("app.")} == {module, module.rpartition(".")[0]}


def test_storage_and_personas_know_no_models_and_no_page():
    modules = [*modules_below("storage"), *modules_below("personas")]
    assert not foreign(*modules) & {"torch", "transformers", "peft", "tokenizers", "gradio"}
    inside = {name for name in loaded_by(*modules) if name.startswith("app.")}
    assert inside == {"app.errors"}


def test_insights_know_no_model_no_page_and_no_database():
    assert not foreign(*modules_below("app/insights")) & {
        *("torch", "transformers", "gradio", "sqlite_utils", "storage", "personas"),
    }
    assert not foreign("app.insights_report", "app.insights_slow", "app.insights_command") & {"torch", "gradio"}


def test_adapter_folders_and_pairs_and_prompts_know_no_model():
    assert not foreign(
        "app.blends",
        "app.prompts",
        "app.refresh.caps",
        "app.refresh.pairs",
        "app.refresh.pair_files",
        "app.refresh.pair_rows",
        "app.refresh.methods",
        "app.refresh.refresh_settings",
        "app.refresh.rewards",
        "app.refresh.labels",
        "app.objective_options",
        "app.errors",
        "app.settings",
    ) & {
        "pyarrow",
        "torch",
        "transformers",
        "gradio",
        "sqlite_utils",
        "storage",
    }


def test_only_the_page_knows_gradio():
    modules = [
        name
        for folder in ("app", "storage", "personas")
        for name in modules_below(folder)
        if not name.startswith("app.ui")
    ]
    assert "app.services" in modules and "app.learn" in modules
    assert not foreign(*modules) & {"gradio", "gradio_client"}


def test_the_sync_knows_no_model_and_no_page():
    assert not foreign("app.hub", "app.sync_command", "app.deploy", "app.deploy_command") & {
        "torch",
        "transformers",
        "peft",
        "gradio",
    }


def test_storage_and_votes_do_not_know_the_hub():
    assert not foreign(*modules_below("storage"), "app.label", "app.settings") & {"huggingface_hub"}


def test_rendering_is_free_of_gradio():
    names = ["render", "online_render", "label_render", "data_render", "insights_render", "insights_plots", "sync_line"]
    names += ["model_render", "pull_render", "share_render", "sweep_render", "compare_panes", "owner_render"]
    names += ["learn_render", "timeline_render", "charts", "persona_render"]
    assert not foreign(*(f"app.ui.{name}" for name in names)) & {"gradio", "gradio_client"}


def test_exports_and_imports_know_no_model_and_no_page():
    loaded = foreign("app.data", "app.data_card", "app.data_command", "app.import_pairs")
    assert not loaded & {"torch", "transformers", "gradio", "datasets", "trl"}


def test_the_pull_is_drawn_without_a_model():
    assert not foreign("app.ui.pull_render", "app.ui.share_render", "app.example") & {"torch", "transformers", "gradio"}


def test_what_choices_teach_and_how_curves_are_drawn_know_no_model():
    loaded = foreign(
        "app.insights.lessons", "app.insights.texts", "app.ui.charts", "app.ui.timeline_render", "app.blends"
    )
    assert not loaded & {"torch", "transformers", "gradio", "scipy", "statsmodels", "sqlite_utils"}


def test_votes_personas_and_turns_know_no_model():
    modules = (
        "app.label",
        "app.share",
        "app.catalogue",
        "app.persona_offers",
        "app.persona_search",
        "app.worker",
        "app.visits",
        "app.raters",
        "app.consent",
        "app.far_first",
        "app.authority",
        "app.bans",
        "app.log_tail",
    )
    assert not foreign(*modules, "app.study_prompts") & {"torch", "transformers", "gradio"}


def test_the_page_starts_without_what_only_statistics_search_and_yardsticks_need():
    loaded = foreign("app.services", "app.ui.page")
    assert "torch" in loaded
    assert not loaded & {"statsmodels", "sklearn", "sentence_transformers", "trl", "datasets", "matplotlib"}


def test_limits_and_the_guards_checks_know_no_model_no_page_and_no_database():
    loaded = foreign("app.limits", "app.limit_settings", "app.address", "app.ui.envelope")
    assert not loaded & {"torch", "transformers", "gradio", "sqlite_utils", "storage", "starlette"}


def test_managing_versions_and_checking_their_files_know_no_model():
    assert not foreign(
        "app.manage_versions", "app.refresh.adapter_files", "app.adapter_card", "app.versions_command"
    ) & {
        *("torch", "transformers", "peft", "gradio"),
    }
    assert not foreign("app.refresh.adapter_files") & {"storage", "sqlite_utils"}


def test_plans_figures_and_reports_of_an_evaluation_know_no_model_and_no_database():
    modules = ("report", "tables", "questions", "contestants", "journal")
    loaded = foreign(*(f"app.evaluation.{name}" for name in modules), "app.evaluate_command")
    assert not loaded & {"transformers", "peft", "sklearn", "gradio", "storage", "sqlite_utils"}
