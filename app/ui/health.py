"""The route `/health` for whoever watches over the server, such as Docker: cheap, without a session, and it tells nothing of people."""

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from app.services import Services


def health_route(services: Services) -> Route:
    """Answers GET with status, model (its name) and queue (how many are being answered or wait)."""

    async def health(_: Request) -> JSONResponse:
        return JSONResponse({"status": "ok", "model": services.model.name, "queue": services.serving.people()})

    return Route("/health", health)
