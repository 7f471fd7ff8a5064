"""
Gradio's page with a nonce in its own inline scripts, so that the browser runs no others.

Before them stands static/frames.js: what is given to Gradio as a head comes after its modules.
"""

from __future__ import annotations

from collections.abc import Callable

from gradio import routes
from jinja2 import BaseLoader, Environment, FileSystemLoader

_SCRIPT = "<script"
_HEAD = "<head>"
_FRAMES = f'{_HEAD}<script src="/static/frames.js"></script>'


class _WithNonces(FileSystemLoader):
    """Puts the nonce into the template, not into the page: a script that gets in with a value has none."""

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        source, path, is_current = super().get_source(environment, template)
        source = source.replace(_SCRIPT, f'{_SCRIPT} nonce="{{{{ request.state.nonce }}}}"')
        return source.replace(_HEAD, _FRAMES, 1), path, is_current


def put_nonces() -> None:
    """Let Gradio's page carry the nonce that the guard made for the request."""
    loader: BaseLoader | None = routes.templates.env.loader
    if isinstance(loader, FileSystemLoader) and not isinstance(loader, _WithNonces):
        routes.templates.env.loader = _WithNonces(loader.searchpath)
