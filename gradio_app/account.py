"""
The pages Account (everybody's own password, API tokens and sessions) and Access (admins: users, the audit record).

Plain HTML and JavaScript (static/account.*, static/access.*): the browser asks /api/v1 itself, so the functions check
the role, and no password passes through Gradio's queue.
"""

from __future__ import annotations

from gradio_app.market import mounted


def account() -> None:
    """Put the Account page."""
    mounted("account.html", "account", "mountAccount")


def access() -> None:
    """Put the Access page."""
    mounted("access.html", "access", "mountAccess")
