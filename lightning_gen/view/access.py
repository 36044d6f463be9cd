"""Who may talk to the server: whoever knows the token, by a name of this machine, from the server's own pages."""

import secrets
from collections.abc import Collection
from html import escape
from urllib.parse import urlencode, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN = "token"  # in the address that is printed
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data: blob:; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",  # addresses of runs go nowhere
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
ENTRANCE = """<!doctype html>
<html lang="en"><title>lightning-gen</title><link rel="icon" href="data:,">
<meta http-equiv="refresh" content="0;url=%s">"""


class Access:
    """Refuses requests without the token, to foreign names (DNS rebinding), and posts from pages of other sites.

    The token in an address becomes a cookie that scripts can't read and other sites can't send; `cookie` is its name,
    which differs from port to port, as cookies are shared by the ports of a host. `names` are the hosts that count.
    """

    def __init__(self, app: ASGIApp, token: str, cookie: str, names: Collection[str]):
        self.app = app
        self.token = token
        self.cookie = cookie
        self.names = {name.lower() for name in (*names, *LOOPBACK)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        answer = self._answer(Request(scope)) or self.app
        await answer(scope, receive, send_guarded)

    def _answer(self, request: Request) -> Response | None:
        """The answer to a request that does not get through; None for one that does."""
        host = request.headers.get("host", "")
        if _name(host) not in self.names:
            line = f"{host[:80]!r} is no name of this server; start it with name=NAME if it is meant to have it"
            return PlainTextResponse(line, 403)
        if request.method == "POST" and not _is_own(request.headers.get("origin", ""), host):
            return PlainTextResponse("refused: posts come from the pages of this server alone", 403)
        given = request.query_params.get(TOKEN)
        if given is not None and request.method == "GET" and self._is_token(given):
            return self._entrance(request)
        if not self._is_token(request.cookies.get(self.cookie, "")):
            line = "refused: open the whole address that lightning-gen view has printed, with its token"
            return PlainTextResponse(line, 401)
        return None

    def _is_token(self, text: str) -> bool:
        return secrets.compare_digest(text.encode(), self.token.encode())

    def _entrance(self, request: Request) -> Response:
        """Sets the cookie and goes on without the token.

        A page does so and no redirect: after a link on another site a browser follows that without strict cookies.
        """
        others = [(key, value) for key, value in request.query_params.multi_items() if key != TOKEN]
        path = "/" + request.url.path.lstrip("/") + (f"?{urlencode(others)}" if others else "")
        answer = HTMLResponse(ENTRANCE % escape(path))
        answer.set_cookie(self.cookie, self.token, path="/", httponly=True, samesite="strict")
        return answer


def _name(host: str) -> str:
    """The name in a Host header, without the port."""
    if host.startswith("["):
        return host.partition("]")[0].lower() + "]"
    return host.partition(":")[0].lower()


def _is_own(origin: str, host: str) -> bool:
    parts = urlsplit(origin)
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()
