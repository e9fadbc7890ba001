"""HTML from templates: escaped, in the reader's language, every moment in the site's time zone."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any, Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.responses import HTMLResponse

from hipnode import DISCLAIMER, __version__
from hipnode.answers.shown import plain
from hipnode.services.desk import charts
from hipnode.services.desk.routes import ROUTES
from hipnode.services.desk.visit import Answer, Visit
from hipnode.settings import Settings

LANGUAGES: Final = ("en", "de")
_CATALOGUE: Final = files("hipnode.services.desk").joinpath("german.toml").read_text("utf-8")
GERMAN: Final[dict[str, str]] = {
    text: said for part in tomllib.loads(_CATALOGUE).values() for text, said in part.items()
}
_SAID: Final = {
    403: "This page is not for you.",
    404: "There is no such page.",
    405: "That cannot be done here.",
    500: "The page could not be made. The node's log says more.",
    503: "Nothing is shown: the database, or the audit log, cannot be used at present.",
}


def word(language: str, text: str, **values: Any) -> str:
    """Return a text of the desk's own in a language; names in it are filled in."""
    found = GERMAN.get(text, text) if language == "de" else text
    return found.format(**values) if values else found


def _shown(value: Any) -> Any:
    return value if isinstance(value, Markup) else plain(value)


class Pages:
    """Makes pages.

    Parameters
    ----------
    settings
        The node's settings: name, language, time zone.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._zone = ZoneInfo(settings.desk.timezone)
        self._environment = Environment(
            loader=PackageLoader("hipnode.services.desk"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=_shown,
        )
        self._environment.globals.update(
            node=settings.node.name,
            release=__version__,
            disclaimer=DISCLAIMER,
            query=urlencode,
            bars=charts.bars,
        )
        self._environment.filters.update(when=self._when, size=_size, short=_short)

    def language(self, cookies: Mapping[str, str], headers: Mapping[str, str]) -> str:
        """Return which language somebody reads: as chosen, as set, as the browser asks."""
        chosen = cookies.get("hipnode-language") or self._settings.desk.language
        if chosen in LANGUAGES:
            return chosen
        asked = headers.get("accept-language", "").lower().replace(" ", "").split(",")
        known = [each[:2] for each in asked if each[:2] in LANGUAGES]
        return known[0] if known else "en"

    def page(self, visit: Visit, answer: Answer) -> HTMLResponse:
        """Return an answer's page."""
        language = visit.language
        person = visit.person
        menu = [
            (route.path, word(language, route.title))
            for route in ROUTES
            if route.title and person is not None and route.allows(person.roles)
        ]

        def ago(moment: datetime | None) -> str:
            return _ago(language, visit.now, moment)

        values = {
            "_": lambda text, **names: word(language, text, **names),
            "language": language,
            "person": person,
            "menu": menu,
            "path": visit.path,
            "now": visit.now,
            "ago": ago,
            "with_session": person is not None and person.session is not None,
            "zone": self._settings.desk.timezone,
        }
        html = self._environment.get_template(answer.template).render(values | dict(answer.values))
        return HTMLResponse(html, answer.status)

    def without_data(self, language: str, status: int) -> HTMLResponse:
        """Return a page that says only what is the matter: nothing was asked for it."""
        said = word(language, _SAID.get(status, "That cannot be done here."))
        html = self._environment.get_template("plain.html").render(
            {"language": language, "said": said, "status": status}
        )
        return HTMLResponse(html, status)

    def _when(self, moment: datetime | str | None) -> Markup | str:
        """Return a moment in the site's time zone; UTC stands behind it."""
        if moment is None or moment == "":
            return ""
        if isinstance(moment, str):
            moment = datetime.fromisoformat(moment)
        utc = moment.astimezone(UTC)
        return Markup('<time datetime="{}" title="{}">{}</time>').format(
            f"{utc:%Y-%m-%dT%H:%M:%SZ}",
            f"{utc:%Y-%m-%d %H:%M:%S} UTC",
            f"{moment.astimezone(self._zone):%Y-%m-%d %H:%M:%S}",
        )


def _ago(language: str, now: datetime, moment: datetime | str | None) -> str:
    if moment is None or moment == "":
        return word(language, "never")
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    seconds = (now - moment).total_seconds()
    if seconds < 90:
        return word(language, "just now")
    if seconds < 5400:
        return word(language, "{n} min ago", n=round(seconds / 60))
    if seconds < 129600:
        return word(language, "{n} h ago", n=round(seconds / 3600))
    return word(language, "{n} days ago", n=round(seconds / 86400))


def _size(number: float) -> str:
    return f"{number / 1024**3:.1f} GiB"


def _short(text: Any, length: int = 12) -> str:
    """Return the end of a name that identifies somebody: enough to compare, not to look up."""
    text = plain(text)
    return f"\N{HORIZONTAL ELLIPSIS}{text[-length:]}" if len(text) > length else text


def paragraphs(text: str) -> Markup:
    """Return a text of several lines, each shown as it is."""
    return Markup("\n").join(escape(plain(line)) for line in text.splitlines())
