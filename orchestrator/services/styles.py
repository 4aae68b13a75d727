"""The styles of a caller: those of the service, and those that the caller has made."""

from __future__ import annotations

import re
from collections.abc import Mapping

from orchestrator.domain.keys import Caller
from orchestrator.domain.plans import MAX_OWN_STYLES, Plans
from orchestrator.domain.style_pictures import StylePicture
from orchestrator.domain.styles import OWN, OWN_NAME, OWN_PREFIX, Style, StyleWords
from orchestrator.ports import StyleStore
from orchestrator.services.style_book import StyleBook, Styles
from orchestrator.services.submitting.quotas import NotInPlan


class UnknownStyle(Exception):
    """The caller has no style of this name. ``detail``: a sentence with the names that there are."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class StyleService:
    """All methods that take a caller raise Unavailable."""

    def __init__(self, book: StyleBook, store: StyleStore, plans: Plans) -> None:
        self._book, self._store, self._plans = book, store, plans

    def now(self) -> Styles:
        """The service's styles."""
        return self._book.now()

    def title(self, name: str) -> str:
        """Of a style of the service's; of any other its name."""
        found = self.now().by_name.get(name)
        return found.title if found else name

    def picture(self, name: str) -> StylePicture | None:
        """The picture of a style of the service's, if it has one."""
        now = self.now()
        return now.pictures.get(name) if name in now.by_name else None

    def check_name(self, name: str) -> None:
        """Raises UnknownStyle for what no caller can have, without asking the store: before a photo is read."""
        if name not in self.now().by_name and not re.fullmatch(OWN_NAME, name):
            raise UnknownStyle(self._named([]))

    async def words(self, caller: Caller, name: str) -> StyleWords:
        """What the style says now. Raises UnknownStyle."""
        found = self.now().by_name.get(name)
        if found is None:
            own = await self.own(caller) if name.startswith(OWN_PREFIX) else {}
            if name not in own:
                raise UnknownStyle(self._named(own))
            found = own[name]
        return found.words

    async def own(self, caller: Caller) -> Mapping[str, Style]:
        """The caller's own styles, by name."""
        return await self._store.all(caller.owner)

    async def put(self, caller: Caller, name: str, style: Style) -> None:
        """Make the style the caller's own, or replace it; jobs that were submitted before keep its old words. Raises
        NotInPlan, TooManyStyles, KeyNotFound when the key was revoked meanwhile."""
        plan = self._plans.of(caller.plan)
        if not plan.allows_style(name):
            raise NotInPlan(f"your plan has these styles: {', '.join(plan.styles or ())}", "name")
        most = MAX_OWN_STYLES if plan.custom_styles is None else plan.custom_styles
        if most == 0:
            raise NotInPlan("your plan has no styles of your own", "name")
        await self._store.put(caller.owner, name, style, most)

    async def delete(self, caller: Caller, name: str) -> None:
        """Raises StyleNotFound."""
        await self._store.delete(caller.owner, name)

    def _named(self, own: Mapping[str, Style] | list[str]) -> str:
        known = [*self.now().by_name, *own]
        return f"there is no such style; there are {', '.join(known)}, and {OWN} ones that begin with {OWN_PREFIX}"
