"""`restyle`: builds the pipelines; ``restyle.serving`` streams their events and translates their errors."""

import asyncio

import triton_python_backend_utils as pb_utils

from restyle.kept import Kept, limits_from_environment
from restyle.pipeline import Restyler
from restyle.prompt import Prompts
from restyle.releases import open_releases
from restyle.request import parse_request
from restyle.serving import Served, answer, calls_of
from restyle.triton_io import TritonModels
from restyle.work import work_of


class TritonPythonModel:
    """An async decoupled BLS model: many requests at once on one event loop, each a stream of events."""

    def initialize(self, args):
        try:
            self.kept = Kept(limits_from_environment())
            self.releases = open_releases(self._served, pb_utils.Logger.log_warn)
        except ValueError as error:
            raise pb_utils.TritonModelException(str(error)) from error

    async def execute(self, requests):
        await asyncio.gather(*(answer(pb_utils, request, "restyle", self.releases) for request in requests))

    def _served(self, release):
        prompts = Prompts(release.tokenizer, release.frame)
        restyler = Restyler(release, prompts, TritonModels(pb_utils, release), self.kept)
        return Served(
            run=lambda values: restyler.restyle(parse_request(values, release)),
            calls=calls_of(release, *release.versions),
            work=work_of(release),
        )
