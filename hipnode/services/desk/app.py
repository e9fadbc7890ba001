"""The one way to every page: who asks, whether they may, what they see on the log, then the answer.

A look at a patient's data is a committed row before the first byte of the answer leaves; where the
row cannot be written, there is no answer but 503.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Final
from urllib.parse import parse_qsl, quote, urlsplit

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route as Path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hipnode.domain import AuditEvent, Outcome
from hipnode.errors import HipnodeError, InputRefused
from hipnode.faults import DeskPoint, reach
from hipnode.log import Event, get_logger
from hipnode.services.desk import sign_in
from hipnode.services.desk.render import Pages
from hipnode.services.desk.roles import Route
from hipnode.services.desk.routes import ROUTES
from hipnode.services.desk.visit import Answer, NotAllowed, NotHere, Seen, Visit
from hipnode.settings import Settings
from hipnode.storage import Store

COOKIE: Final = "hipnode-desk"
_FORM_BYTES: Final = 64 * 1024
_TEXT_LENGTH: Final = 2000
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self';"
        " base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
_STATIC: Final = {
    "/style.css": ("style.css", "text/css; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}


def _text(given: str) -> str:
    """Return what somebody typed as either database takes it: no NUL, of finite length."""
    return given.replace("\0", "\ufffd")[:_TEXT_LENGTH]


class _Headers:
    """Puts on every answer what tells the browser to be careful."""

    def __init__(self, app: ASGIApp, *, encrypted: bool) -> None:
        self._app = app
        self._more = dict(_HEADERS)
        if encrypted:
            self._more["Strict-Transport-Security"] = "max-age=31536000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def careful(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *(
                        (name.lower().encode(), value.encode())
                        for name, value in self._more.items()
                        if name.lower().encode() not in given
                    ),
                ]
            await send(message)

        await self._app(scope, receive, careful)


class Door:
    """Lets people in, and answers them.

    Parameters
    ----------
    settings
        The node's settings.
    store
        The node's memory.
    """

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._desk = settings.desk
        self._store = store
        self._pages = Pages(settings)
        self._log = get_logger(service="desk")
        self._public = urlsplit(settings.desk.public_url)
        self.encrypted = bool(settings.desk.tls) or self._public.scheme == "https"
        self._known: dict[str, float] = {}
        self._cookie = f"__Host-{COOKIE}" if self.encrypted else COOKIE

    def app(self) -> ASGIApp:
        """Return the ASGI application."""
        paths = [Path(path, self._static(*what)) for path, what in _STATIC.items()]
        paths += [
            Path(route.path, self._endpoint(route), methods=[route.method]) for route in ROUTES
        ]
        handlers = {HTTPException: self._http_error, Exception: self._failed}
        starlette = Starlette(routes=paths, exception_handlers=handlers)  # type: ignore[arg-type]
        starlette.router.redirect_slashes = False
        return _Headers(starlette, encrypted=self.encrypted)

    def _static(self, name: str, media_type: str):  # type: ignore[no-untyped-def]
        content = files("hipnode.services.desk").joinpath(name).read_bytes()

        async def answer(_: Request) -> Response:
            return Response(
                content, media_type=media_type, headers={"Cache-Control": "max-age=300"}
            )

        return answer

    def _endpoint(self, route: Route):  # type: ignore[no-untyped-def]
        async def answer(request: Request) -> Response:
            body = b""
            if request.method == "POST":
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > _FORM_BYTES:
                        return PlainTextResponse("That is too much.", 413)
            return await run_in_threadpool(self._answer, route, request, body)

        return answer

    # --- one request --------------------------------------------------------------------------

    def _answer(self, route: Route, request: Request, body: bytes) -> Response:
        try:
            why = self._why_not(request)
            if why:
                return PlainTextResponse(f"{why}\n", 403)
            visit = self._visit(request, body)
            return self._let_in(route, visit, request)
        except InputRefused as error:
            return PlainTextResponse(f"{error}\n", 422)
        except HipnodeError as error:
            self._log.error(Event.DESK_FAILED, error_type=type(error).__name__)
            language = self._pages.language(request.cookies, request.headers)
            return self._pages.without_data(language, 503)

    def _why_not(self, request: Request) -> str:
        """Return why a request is not looked at: who sends it, where to, or from which page."""
        peer = request.client.host if request.client else ""
        if self._desk.trusted_proxies and not sign_in.is_trusted(self._desk, peer):
            return "The desk answers its proxy alone."
        host = request.headers.get("host", "")
        if self._public.netloc:
            if host != self._public.netloc:
                return "This is not the desk's address."
        elif (urlsplit(f"//{host}").hostname or "") not in {
            self._desk.host, "localhost", "127.0.0.1", "::1",
        }:  # fmt: skip
            return "This is not the desk's address: set desk.public_url."
        if request.method == "POST" and not self._is_own(request):
            return "This was not sent by a page of the desk."
        return ""

    def _is_own(self, request: Request) -> bool:
        """Tell whether a form was sent by one of our own pages (Fetch Metadata, and Origin)."""
        site = request.headers.get("sec-fetch-site")
        origin = request.headers.get("origin")
        if origin is not None:
            return origin == self._base_url(request) and site in {None, "same-origin"}
        return site == "same-origin"

    def _base_url(self, request: Request) -> str:
        if self._public.netloc:
            return self._desk.public_url
        scheme = "https" if self._desk.tls else "http"
        return f"{scheme}://{request.headers.get('host', '')}"

    def _visit(self, request: Request, body: bytes) -> Visit:
        try:
            fields = parse_qsl(
                body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=99
            )
        except ValueError as error:
            raise InputRefused("That form has too many fields.") from error
        address = request.client.host if request.client else ""
        if self._desk.trusted_proxies:
            forwarded = request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
            address = forwarded[:64] or address
        headers: Mapping[str, str] = request.headers
        if self._desk.sign_in == "proxy":
            person = sign_in.by_proxy(self._store, self._desk, headers, address, self._known)
        else:
            token = request.cookies.get(self._cookie, "")
            used = "live" not in request.query_params
            person = sign_in.by_session(self._store, self._desk, token, used=used)
        return Visit(
            settings=self._settings,
            store=self._store,
            path=request.url.path,
            base_url=self._base_url(request),
            address=address,
            language=self._pages.language(request.cookies, headers),
            now=self._store.now(),
            person=person,
            parts={name: _text(str(value)) for name, value in request.path_params.items()},
            query={name: _text(value).strip() for name, value in request.query_params.items()},
            form={name: _text(value) for name, value in fields},
            cookies=request.cookies,
        )

    def _let_in(self, route: Route, visit: Visit, request: Request) -> Response:
        person = visit.person
        if route.roles is not None:
            if person is None:
                return self._send_to_sign_in(visit, request)
            must = person.session is not None and person.session.must_change
            if must and route.path not in {"/password", "/sign-out"}:
                return self._respond(visit, Answer(to="/password"))
            if not route.allows(person.roles):
                return self._refuse(visit, "", Seen(detail={"route": route.path}))
        try:
            answer = route.page(visit)
        except NotHere as error:
            answer = Answer("not_here.html", status=404, seen=error.seen)
            if route.event is not None:
                self._record(route, visit, answer, Outcome.FAILED)
            return self._respond(visit, answer)
        except NotAllowed as error:
            return self._refuse(visit, error.why, error.seen)
        except InputRefused as error:
            return self._respond(visit, Answer("refused.html", {"why": str(error)}, status=422))
        if route.event is not None:
            self._record(route, visit, answer, answer.seen.outcome)
            reach(DeskPoint.LOOK_RECORDED)
        return self._respond(visit, answer)

    def _record(self, route: Route, visit: Visit, answer: Answer, outcome: Outcome) -> None:
        seen = answer.seen
        said = Seen(
            seen.study_instance_uid,
            seen.patient_id,
            seen.accession_number,
            {"route": route.path, **seen.detail},
            outcome,
        )
        self._store.audit.append(visit.record(route.event or AuditEvent.RESULT_VIEWED, said))

    def _refuse(self, visit: Visit, why: str, seen: Seen) -> Response:
        refused = Seen(
            seen.study_instance_uid,
            seen.patient_id,
            seen.accession_number,
            seen.detail,
            Outcome.REFUSED,
        )
        self._store.audit.append(visit.record(AuditEvent.DESK_REFUSED, refused))
        return self._respond(visit, Answer("not_allowed.html", {"why": why}, status=403))

    def _send_to_sign_in(self, visit: Visit, request: Request) -> Response:
        if self._desk.sign_in == "proxy":
            return self._respond(visit, Answer("not_allowed.html", {"why": ""}, status=403))
        to = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        if request.method != "GET":
            return self._respond(visit, Answer(to="/sign-in"))
        if request.headers.get("sec-fetch-site") == "cross-site":
            # A link from elsewhere: the strict cookie was held back, and comes with the next one.
            return self._respond(visit, Answer("onward.html", {"onward": sign_in.safe_path(to)}))
        return self._respond(visit, Answer(to=f"/sign-in?to={quote(to, safe='/')}"))

    # --- answers ------------------------------------------------------------------------------

    def _respond(self, visit: Visit, answer: Answer) -> Response:
        if answer.to:
            response = Response(status_code=303, headers={"Location": answer.to})
        elif answer.template:
            response = self._pages.page(visit, answer)
        elif isinstance(answer.body, bytes):
            response = Response(answer.body, answer.status, media_type=answer.media_type)
        else:
            response = StreamingResponse(answer.body, answer.status, media_type=answer.media_type)
        if answer.filename:
            response.headers["Content-Disposition"] = f'attachment; filename="{answer.filename}"'
        for name, value in answer.headers.items():
            response.headers[name] = value
        self._set_cookies(response, answer)
        return response

    def _set_cookies(self, response: Response, answer: Answer) -> None:
        more = {"path": "/", "secure": self.encrypted, "httponly": True}
        if answer.session_token is not None:
            age = None if answer.session_token else 0
            response.set_cookie(
                self._cookie,
                answer.session_token,
                max_age=age,
                samesite="strict",
                **more,  # type: ignore[arg-type]
            )
        for name, value in answer.cookies.items():
            age = 600 if value else 0
            if name == "hipnode-language":
                age = 365 * 86400
            response.set_cookie(name, value, max_age=age, samesite="lax", **more)  # type: ignore[arg-type]

    async def _http_error(self, request: Request, error: HTTPException) -> Response:
        language = self._pages.language(request.cookies, request.headers)
        return self._pages.without_data(language, error.status_code)

    async def _failed(self, request: Request, error: Exception) -> Response:
        self._log.error(Event.DESK_FAILED, error_type=type(error).__name__, exc_info=True)
        language = self._pages.language(request.cookies, request.headers)
        return self._pages.without_data(language, 500)
