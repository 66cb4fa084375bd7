"""The look: colours, type and spacing as a Gradio theme. The layout stands in `assets/style.css`; nothing is fetched from outside."""

from pathlib import Path

from gradio.themes import Base
from gradio.themes.utils import colors, sizes

ASSETS = Path(__file__).parent / "assets"
STYLE_SHEETS = [ASSETS / f"{name}.css" for name in ("style", "pull", "label", "persona", "learn", "owner")]
SCRIPTS = [ASSETS / name for name in ("pull.js", "label.js")]
FONTS = ["ui-sans-serif", "system-ui", "Segoe UI", "Helvetica Neue", "Arial", "sans-serif"]
MONOSPACE = ["ui-monospace", "SF Mono", "Menlo", "Consolas", "monospace"]


def plumbline_theme() -> Base:
    """Paper and ink with brass for the plumb bob; system fonts only, so that no request leaves the page's origin."""
    return Base(
        primary_hue=colors.amber,
        neutral_hue=colors.stone,
        radius_size=sizes.radius_md,
        text_size=sizes.text_md,
        font=FONTS,
        font_mono=MONOSPACE,
    ).set(
        body_background_fill="#faf8f3",
        body_background_fill_dark="#15171b",
        body_text_color="#1f2328",
        body_text_color_dark="#e9e6df",
        body_text_color_subdued="#5b5f66",
        body_text_color_subdued_dark="#a9a69f",
        block_background_fill="#ffffff",
        block_background_fill_dark="#1d2026",
        block_border_color="#e4dfd4",
        block_border_color_dark="#33363d",
        block_label_text_color="#5b5f66",
        block_label_text_color_dark="#b5b1a8",
        block_info_text_color="#5b5f66",
        block_info_text_color_dark="#a9a69f",
        input_background_fill="#ffffff",
        input_background_fill_dark="#15171b",
        input_border_width="1px",
        input_border_width_dark="1px",
        input_border_color="#cfc8b8",
        input_border_color_dark="#454952",
        input_placeholder_color="#6f7278",
        input_placeholder_color_dark="#96938c",
        button_primary_background_fill="#8a4b08",
        button_primary_background_fill_hover="#733d04",
        button_primary_background_fill_dark="#e0a458",
        button_primary_background_fill_hover_dark="#eab873",
        button_primary_text_color="#ffffff",
        button_primary_text_color_dark="#1b1408",
        button_secondary_background_fill="#f0ebe0",
        button_secondary_background_fill_hover="#e6dfcf",
        button_secondary_background_fill_dark="#2a2e36",
        button_secondary_background_fill_hover_dark="#363b45",
        button_secondary_text_color="#1f2328",
        button_secondary_text_color_dark="#e9e6df",
        color_accent_soft="#f6e8d2",
        color_accent_soft_dark="#3a2d19",
        checkbox_background_color_selected="#8a4b08",
        checkbox_background_color_selected_dark="#b9772a",
        checkbox_border_color_selected="#8a4b08",
        checkbox_border_color_selected_dark="#b9772a",
        slider_color="#8a4b08",
        slider_color_dark="#e0a458",
        block_shadow="none",
        button_primary_shadow="none",
    )
