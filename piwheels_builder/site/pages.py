"""Render the site's pages. Whatever a stranger may have written is escaped: error lines, reasons, names of files."""

import json
from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from piwheels_builder.index.layout import wheel_url
from piwheels_builder.site import words
from piwheels_builder.site.home_view import MEMORY, Home, building_on, is_silent, told_home
from piwheels_builder.site.overview import Overview
from piwheels_builder.site.project_view import ProjectView, log_url, shown, sorted_states, told

#: The page's words for each state, and a sign that tells them apart without any colour.
SIGNS = {"published": "●", "served": "○", "failed": "✕", "building": "▶", "waiting": "◷", "parked": "⏸", "skipped": words.NOTHING}


@lru_cache(maxsize=1)
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("piwheels_builder.site", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"span": words.span, "size": words.size, "number": words.number, "percent": words.percent, "heat": words.heat}
    made.filters |= {"moment": words.moment, "iso": words.iso, "outcome": words.outcome}
    made.globals |= {"signs": SIGNS, "memory": MEMORY, "wheel_url": wheel_url, "log_url": log_url}
    return made


def project_page(view: ProjectView) -> bytes:
    """A project's page."""
    return _rendered("project.html.j2", view=view, shown=shown(view), states=sorted_states(view.counts))


def project_data(view: ProjectView) -> bytes:
    """The same and more as JSON."""
    return compact(told(view))


def home_page(home: Home) -> bytes:
    """The first page."""
    return _rendered("home.html.j2", home=home)


def home_data(home: Home) -> bytes:
    """What the charts of the first page are drawn from."""
    return compact(told_home(home))


def fleet_page(seen: Overview) -> bytes:
    """Each builder now."""
    rows = [(builder, building_on(seen, builder.name), is_silent(builder)) for builder in seen.builders]
    return _rendered("fleet.html.j2", seen=seen, rows=rows)


def log_page() -> bytes:
    """What shows a log (assets/log.js); the same for all."""
    return _rendered("log.html.j2")


def search_page() -> bytes:
    """What shows all that a search found (assets/search.js)."""
    return _rendered("search.html.j2")


def unknown_page() -> bytes:
    """For a project that nothing was built of."""
    return _rendered("unknown.html.j2")


def compact(content: Any) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()


def _rendered(template: str, **said: Any) -> bytes:
    return _environment().get_template(template).render(**said).encode()
