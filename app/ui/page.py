"""The page: header, tabs, theme and how it is served. Knows the tabs, not what they do."""

import os

import gradio as gr
from starlette.middleware import Middleware

from app.errors import InputError
from app.label import new_secret, rater_of
from app.refresh.adapter_files import LARGEST
from app.services import Services
from app.ui import render
from app.ui.api import add_endpoints
from app.ui.compare_form import refreshed_choices
from app.ui.compare_tab import build_compare_tab
from app.ui.data_api import add_data_endpoints
from app.ui.data_tab import build_data_tab
from app.ui.door import Door
from app.ui.guard import Guard
from app.ui.health import health_route
from app.ui.insights_tab import add_insights_endpoint, build_insights_tab
from app.ui.label_tab import build_label_tab
from app.ui.learn_api import add_learn_endpoints
from app.ui.learn_tab import build_learn_tab
from app.ui.model_api import add_model_endpoint
from app.ui.model_picker import build_model_picker
from app.ui.online_api import add_online_endpoint
from app.ui.owner_api import add_owner_endpoints
from app.ui.owner_tab import build_owner_tab, shown_to_owners
from app.ui.persona_api import add_persona_endpoints
from app.ui.private_section import add_private_endpoints, build_private_section
from app.ui.round_api import add_round_endpoints
from app.ui.study_api import add_study_endpoints
from app.ui.sync_api import add_sync_endpoint
from app.ui.theme import SCRIPTS, STYLE_SHEETS, plumbline_theme
from app.ui.versions_api import add_version_endpoints

# Gradio copies the page's state for every session, 0.6 MB measured, and a call over HTTP that names no session begins one.
SESSIONS_KEPT = 1000


def build_page(services: Services) -> Door:
    """Builds the page over the use cases."""
    # Files that were sent or made for a download are kept for an hour.
    options = {"title": "Plumbline", "analytics_enabled": False, "delete_cache": (3600, 3600)}
    with Door(services.limits, services.settings.trust_proxy, **options) as demo:
        # First: a private event of the same name would otherwise take it, and /compare would become /compare_1.
        add_endpoints(services)
        add_round_endpoints(services)
        add_online_endpoint(services)
        add_learn_endpoints(services)
        add_version_endpoints(services)
        add_sync_endpoint(services)
        add_study_endpoints(services)
        add_data_endpoints(services)
        add_insights_endpoint(services)
        add_owner_endpoints(services)
        add_private_endpoints(services)
        add_model_endpoint(services)
        add_persona_endpoints(services)
        # The key has to stay the same over restarts, or browsers would lose their rater; it keeps no secret of the server's.
        rater = gr.BrowserState("", storage_key="plumbline-rater", secret="plumbline")  # noqa: S106
        gr.HTML(render.HEADER)
        with gr.Tab("Compare"):
            compare = build_compare_tab(services, rater, demo)
            menus = [compare["persona"], compare["version"]]
            build_model_picker(
                services, demo, rater, menus, lambda secret: refreshed_choices(services, rater_of(secret))
            )
        with gr.Tab("Learn") as learn_tab:
            learn = build_learn_tab(services, rater, learn_tab, compare["version"])
            build_private_section(services, rater, learn_tab, menus)
        with gr.Tab("Label", elem_id="label-tab") as label_tab:
            build_label_tab(services, rater, label_tab)
        with gr.Tab("Insights") as insights_tab:
            build_insights_tab(services, insights_tab)
        with gr.Tab("Data") as data_tab:
            build_data_tab(services, data_tab)
        # Nobody else is bothered with it; whoever opens it without being the owner finds a field for the token.
        with gr.Tab("Owner", visible=False, elem_id="owner-tab") as owner_tab:
            build_owner_tab(services, owner_tab)

        quiet = {"api_visibility": "private", "show_progress": "hidden"}
        known = demo.load(lambda secret: secret or new_secret(), rater, rater, **quiet)
        known.then(lambda secret: refreshed_choices(services, rater_of(secret)), rater, menus, **quiet)
        demo.load(shown_to_owners, None, owner_tab, **quiet)
        learn["table"].change(lambda secret: refreshed_choices(services, rater_of(secret)), rater, menus, **quiet)
    demo.further_routes = [health_route(services)]  # for `launch`, which knows the page only
    services.studies.prepare()
    return demo.queue(max_size=64, default_concurrency_limit=16)


def launch(demo: Door, port: int | None = None, prevent_thread_lock: bool = False) -> tuple[object, str, str]:
    """Serves the page; `GRADIO_SERVER_PORT` and `GRADIO_SERVER_NAME` are honoured where no port is given.

    Raises:
        InputError: the port is taken or none.
    """
    largest = sum(LARGEST.values())
    # Uvicorn believes X-Forwarded-For of whoever asks from this machine; whom to believe is the owner's to say, by PLUMBLINE_TRUST_PROXY.
    os.environ["FORWARDED_ALLOW_IPS"] = ""
    try:
        return demo.launch(
            server_port=port,
            prevent_thread_lock=prevent_thread_lock,
            theme=plumbline_theme(),
            css_paths=STYLE_SHEETS,
            head="".join(f"<script>{path.read_text()}</script>" for path in SCRIPTS),
            footer_links=["api", "settings"],
            run_history=False,
            enable_monitoring=False,
            ssr_mode=False,
            _frontend=False,  # else Gradio asks the page for itself and ends where that takes 3 seconds, as on a busy machine
            state_session_capacity=SESSIONS_KEPT,
            max_file_size=largest,
            mcp_server=True,
            app_kwargs={"routes": demo.further_routes, "middleware": [Middleware(Guard, demo, largest)]},
        )
    except (OSError, OverflowError) as error:
        raise InputError(f"the page cannot be served: {error} Choose another port with GRADIO_SERVER_PORT.") from error
