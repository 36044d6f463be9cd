"""The addresses of the app: pages of runs, their pictures, and what a model is asked to draw."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lightning_gen.errors import UserError
from lightning_gen.report.pictures import kind_of, picture_bytes, series_files
from lightning_gen.runs.record import ELSEWHERE, Run
from lightning_gen.utilities.printable import printable
from lightning_gen.view import pages
from lightning_gen.view.access import Access
from lightning_gen.view.comparison import MOST_RUNS
from lightning_gen.view.library import Library
from lightning_gen.view.table import newest_picture, run_table
from lightning_gen.view.thumbnails import Thumbnails
from lightning_gen.view.worker import Busy, Worker

if TYPE_CHECKING:
    from lightning_gen.view.shelf import Shelf

MOST_BODY = 16 * 2**20  # bytes
KEPT = {"Cache-Control": "private, max-age=86400"}  # their addresses change with the files


class App:
    """The answers to requests; `device` and `trust` are of models."""

    def __init__(self, folders: Sequence[Path], device: str, trust: Sequence[str]):
        self.library = Library(folders)
        self.thumbnails = Thumbnails()
        self.worker = Worker()
        self.device = device
        self.trust = trust
        self._shelf: Shelf | None = None

    def routes(self) -> list[Route]:
        """All addresses."""
        return [
            Route("/", self.runs),
            Route("/compare", self.compare),
            Route("/runs/{run}", self.report),
            Route("/runs/{run}/state", self.state),
            Route("/runs/{run}/thumbnail", self.thumbnail),
            Route("/runs/{run}/samples/{name}", self.picture),
            Route("/play/{run}/{checkpoint}", self.play),
            Route("/play/{run}/{checkpoint}/{action}", self.action, methods=["POST"]),
            Route("/own/{name}", self.own),
        ]

    def runs(self, request: Request) -> Response:
        """The table of runs; its rows alone for `part=rows`."""
        query, sort = (request.query_params.get(name, "")[:500] for name in ("q", "sort"))
        table = run_table(self.library, query, sort)
        template = "rows.html" if request.query_params.get("part") == "rows" else "runs.html"
        return pages.page(
            template,
            table=table,
            query=query,
            sort=sort,
            library=self.library,
            most=MOST_RUNS,
            elsewhere=ELSEWHERE.format("view"),
        )

    def compare(self, request: Request) -> Response:
        """Runs side by side."""
        names = list(dict.fromkeys(request.query_params.getlist("run")))
        if not 1 < len(names) <= MOST_RUNS:
            raise HTTPException(400, f"Choose 2 to {MOST_RUNS} runs to compare.")
        return pages.comparison([self._named(name) for name in names], names, self.library)

    def report(self, request: Request) -> Response:
        """The report of a run, made now."""
        run = self._run(request)
        return pages.report(run, request.path_params["run"], self.library)

    def state(self, request: Request) -> Response:
        """What tells the page of a run that it has something new to show."""
        run = self._run(request)
        newest = [names[-1] for names in series_files(run.path).values()]
        version = f"{len(run.evaluations)} {newest}"
        return JSONResponse({"state": run.state, "images": run.images, "version": version})

    def thumbnail(self, request: Request) -> Response:
        """The small picture of a run."""
        run = self._run(request)
        small = self.thumbnails.get(run.path, newest_picture(run))
        if small is None:
            raise HTTPException(404, "There is no picture of this run.")
        return Response(small, media_type="image/png", headers=KEPT)

    def picture(self, request: Request) -> Response:
        """A picture of the course of a run."""
        run, name = self._run(request), request.path_params["name"]
        known = name in [file for files in series_files(run.path).values() for file in files]
        content = picture_bytes(run.path, f"samples/{name}") if known else None
        if content is None:
            raise HTTPException(404, "There is no such picture.")
        return Response(content, media_type=f"image/{kind_of(content)}", headers=KEPT)

    def play(self, request: Request) -> Response:
        """The page of a checkpoint; its model is loaded when the page asks for it."""
        run, name = self._run(request), request.path_params["checkpoint"]
        self._checkpoint(run, name)
        return pages.page(
            "play.html",
            run=run,
            address=request.path_params["run"],
            title=self.library.title(run),
            checkpoint=name,
            checkpoints=self.library.checkpoints(run),
        )

    async def action(self, request: Request) -> Response:
        """What a model draws."""
        run = await run_in_threadpool(self._run, request)
        path = self._checkpoint(run, request.path_params["checkpoint"])
        body = await _body(request)
        job = partial(self._act, path, request.path_params["action"], dict(request.query_params), body)
        try:
            return JSONResponse(await self.worker.run(job))
        except Busy:
            return JSONResponse({"error": "too many requests wait for the model; try again in a moment"}, 503)
        except UserError as error:
            return JSONResponse({"error": printable(str(error))}, 400)
        except Exception as error:  # of a stranger's model, or no memory is left
            line = " ".join(str(error).split()) or type(error).__name__
            return JSONResponse({"error": printable(f"the model failed: {line[:500]}")}, 500)

    def _act(self, path: Path, name: str, values: dict[str, str], body: bytes) -> dict[str, Any]:
        from lightning_gen.sampling.evaluation_mode import full_precision
        from lightning_gen.view.actions import ACTIONS, Asked
        from lightning_gen.view.shelf import Shelf

        if name not in ACTIONS:
            raise UserError(f"{name[:40]}: there is no such action")
        if self._shelf is None:
            self._shelf = Shelf(self.device, self.trust)
        with full_precision():
            return ACTIONS[name](self._shelf.get(path), Asked(values, body))

    def own(self, request: Request) -> Response:
        """Our style sheets and scripts."""
        found = pages.own_file(request.path_params["name"])
        if found is None:
            raise HTTPException(404, "There is no such file.")
        text, kind = found
        return Response(text, media_type=kind, headers=KEPT if "v" in request.query_params else None)

    def _run(self, request: Request) -> Run:
        return self._named(request.path_params["run"])

    def _named(self, name: str) -> Run:
        run = self.library.run(name)
        if run is None:
            raise HTTPException(404, "There is no such run any more.")
        return run

    def _checkpoint(self, run: Run, name: str) -> Path:
        path = self.library.checkpoint(run, name)
        if path is None:
            raise HTTPException(404, "This run has no such checkpoint.")
        return path


async def _body(request: Request) -> bytes:
    """The body of a request; refused as soon as it is longer than `MOST_BODY`."""
    problem = HTTPException(413, f"upload: has more than {MOST_BODY >> 20} MiB; give a smaller file")
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > MOST_BODY:
        raise problem
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MOST_BODY:
            raise problem
        parts.append(part)
    return b"".join(parts)


def _failed(request: Request, error: Exception) -> Response:
    """The page, or for scripts the line, of a request that can't be answered."""
    status, line = (error.status_code, error.detail) if isinstance(error, HTTPException) else (400, str(error))
    if request.method == "POST":
        return JSONResponse({"error": printable(line)}, status)
    return pages.page("failed.html", status=status, line=line)


def make_app(
    folders: Sequence[Path], token: str, cookie: str, names: Sequence[str], device: str, trust: Sequence[str]
) -> Starlette:
    """The app over the runs in `folders`; `token`, `cookie` and `names`: see `Access`."""
    handlers: dict[Any, Callable] = {HTTPException: _failed, UserError: _failed}
    guard = Middleware(Access, token=token, cookie=cookie, names=names)
    return Starlette(routes=App(folders, device, trust).routes(), middleware=[guard], exception_handlers=handlers)
