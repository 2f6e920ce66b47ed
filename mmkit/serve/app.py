"""The application: routes, and what becomes of errors."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response

from mmkit import __version__
from mmkit.model.model import Model
from mmkit.serve import chat, embeddings, making, models, tasks, transcriptions
from mmkit.serve.guard import Guard
from mmkit.serve.refusal import ErrorBody, Refusal, answer, bad
from mmkit.serve.schemas import faults
from mmkit.serve.service import GoneError, Service
from mmkit.serve.settings import Settings

_CODES = {404: "not_found", 405: "method_not_allowed"}


def create_app(model: Model, settings: Settings | None = None) -> FastAPI:
    """A FastAPI application that answers with a model. Its lifespan starts and ends the model's thread.

    ``app.state.service`` is the ``Service``.
    """
    settings = settings or Settings()
    service = Service(model, settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        await service.stop()

    app = FastAPI(
        title=f"mmkit serve: {settings.name}",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        responses={"4XX": {"model": ErrorBody}, "5XX": {"model": ErrorBody}},
    )
    app.state.service = service
    for part in (chat, transcriptions, making, embeddings, models, tasks):
        part.add(app, service)
    _add_state(app, service)
    _add_errors(app)
    app.add_middleware(Guard, settings=settings, meters=service.meters)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.origins),
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=["x-request-id", "retry-after"],
        )
    return app


def _add_state(app: FastAPI, service: Service) -> None:
    @app.get("/healthz", summary="Whether the model answers.")
    async def healthz() -> Any:
        if not service.engine.alive:
            raise Refusal(503, "not_ready", "the model does not answer")
        return {"status": "ready", "model": service.settings.name}

    @app.get("/metrics", summary="Figures for Prometheus.")
    async def metrics() -> Response:
        return Response(service.meters.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _add_errors(app: FastAPI) -> None:
    async def refused(request: Request, error: Exception) -> Response:
        if isinstance(error, RequestValidationError):
            route: Any = request.scope.get("route")
            form = getattr(getattr(getattr(route, "body_field", None), "field_info", None), "annotation", None)
            error = bad("invalid_request", *faults(error.errors(), form))
        elif not isinstance(error, Refusal):
            error = _of_http(error)
        request.scope["mmkit"]["code"] = error.code
        return answer(error)

    async def gone(request: Request, error: Exception) -> Response:
        request.scope["mmkit"]["code"] = "client_gone"
        return Response(status_code=499)

    app.add_exception_handler(RequestValidationError, refused)
    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(GoneError, gone)


def _of_http(error: Exception) -> Refusal:
    if isinstance(error, HTTPException) and error.status_code < 500:
        code = _CODES.get(error.status_code, "invalid_request")
        return Refusal(error.status_code, code, str(error.detail), headers=error.headers)
    return Refusal(500, "internal_error", "an error in the server; its log has more under the request's id")
