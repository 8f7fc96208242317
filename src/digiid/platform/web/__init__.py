"""The web plumbing that every site shares.

How to write a page:

1.  The institution's `web/site.py` makes a `Site(SiteSettings(name, title, origin, agent_origin,
    navigation, folders=[its web folder], …), sessions=SessionStore(name, db, store.SESSIONS, clock,
    entropy), pools=…, clock=…, entropy=…, csrf_secret=…)` and returns
    `site.build([handlers…], health=…)`, an ASGI application.
2.  A handler is a thin `async def` under Litestar's `@get`/`@post`, taking `request: Request`:

        @get("/applications/{number:str}")
        async def show(request: Request, number: FromPath[str]) -> Response:
            session = require_session(request, kind="card")
            case = await run(request, use_cases.show_application, deps, number)
            return await page(request, "application.html", {"case": case})

3.  A posted form: `form = await form_of(request)`; `model = check(form, ApplicationForm, messages)`
    (pydantic, frozen); on errors `return await page(request, "x.html", {"form": form}, status=422)`;
    on success run the use case and `redirect("/next")`. Errors of use cases are raised as DigiidError
    and become the problem page; put those that belong to a field into `form.error(name, message)`.
4.  The template (`web/templates/x.html`) extends `layout.html`, fills `{% block title %}` and
    `{% block content %}` (which starts with one `<h1>`), and uses the macros of `forms.html`, already
    imported as `f`: `{{ f.text_input(form, "surname", _("Surname")) }}`, `textarea`, `radios`, `checkboxes`,
    `select`, `file`, `date_input`, `button(_("Continue"))`, `csrf()`, `action(path, label)`, `summary(rows)`,
    `tag`, `warning`, `inset`, `success`, `back_link`. Every form is `method="post" novalidate` and holds
    `{{ f.csrf() }}`. Instants: `{{ at | instant }}`, days: `{{ on | day }}`.
5.  Every text a person sees is `_("English")`; Estonian stands in `web/locale/et.po`. A text that comes
    from Python is translated where it is shown: `{{ _t(message) }}`; mark it with `N_("…")`. What stands in
    `public="…"` is found without a mark, and `public=f"…"` by its pattern; values in it are translated too
    if the catalogue has them. A percent sign in a template's text is written `%%`. `make translations`
    (or `ops/translations.py police_board`) brings the catalogues up to date; a test fails for what is missing.
6.  Signing with the card (signing.py): the table `pending_signatures_table(metadata)`; the handlers
    `signing_handlers(CardSigning(PendingSignatures(db, table, clock, entropy), issuers, trust,
    get_to_sign, on_signed))`; on the page `{{ f.card_signing(reference) }}`. `get_to_sign(session, reference)`
    gives `ToSign(files=[DataFile…])` and refuses what is not theirs; `on_signed(session, reference, signed)`
    keeps the container and returns the next path. Sign-ins that people see again: `sign_ins_table(metadata)`,
    `record_sign_in`, `list_sign_ins` (sign_ins.py).
7.  How often: `@post("/x", rate_limit=RateLimit(20, timedelta(minutes=10)))` counts by address;
    `check_rate(request, "email_link", address, RateLimit(5, timedelta(hours=1)))` by a key of yours. Both answer 429.
8.  No inline script or style: the policy forbids them. A page works without script; only signing in and
    signing with the card need one.

A handler that answers JSON sets the option `no_csrf=True` only if it changes nothing or proves its
caller otherwise; a script sends the token from `<meta name="csrf-token">` as `X-CSRF-Token`.
"""


def N_(message: str) -> str:  # noqa: N802  gettext's own name for it
    """Mark a text for translation that is shown later, by `_t()` in a template."""
    return message
