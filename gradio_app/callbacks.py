"""What every callback of a page does first."""

from __future__ import annotations

import gradio as gr

from gradio_app.session import Pool, address_of, user_of
from lakehouse.access import audit, roles
from lakehouse.access.roles import Role, User


def require(pool: Pool, request: gr.Request, role: Role, action: str) -> User:
    """
    Return the user of a page's callback, who has at least *role*; what is refused is put on the audit record.

    Every callback calls this: what a page hides is no control. The session is read anew, so a session that was
    revoked, or a role that was taken away, counts at once.
    """
    user = user_of(pool, request)
    try:
        return roles.require(user, role)
    except (roles.NotAllowed, roles.NotLoggedIn) as error:
        with pool.connection() as conn:
            audit.record_refused(conn, user, action, address_of(request))
        raise gr.Error(str(error), print_exception=False) from error
