"""`restyle`: builds the pipeline; ``restyle.serving`` streams its events and translates its errors."""

import asyncio

import triton_python_backend_utils as pb_utils

from restyle.kept import Kept, limits_from_environment
from restyle.models import EDGES
from restyle.pipeline import Restyler
from restyle.prompt import Prompts
from restyle.release import load_release
from restyle.request import parse_request
from restyle.serving import answer
from restyle.triton_io import TritonModels
from restyle.work import work_of


class TritonPythonModel:
    """An async decoupled BLS model: many requests at once on one event loop, each a stream of events."""

    def initialize(self, args):
        try:
            self.release = load_release()
            prompts = Prompts(self.release.tokenizer, self.release.frame)
            kept = Kept(limits_from_environment())
        except ValueError as error:
            raise pb_utils.TritonModelException(str(error)) from error
        self.calls = {EDGES: -1, **self.release.versions}
        self.work = work_of(self.release)
        models = TritonModels(pb_utils, self.release.versions)
        self.restyler = Restyler(self.release, prompts, models, kept)

    async def execute(self, requests):
        await asyncio.gather(
            *(
                answer(pb_utils, request, "restyle", self.calls, self._events, self.work)
                for request in requests
            )
        )

    def _events(self, values):
        return self.restyler.restyle(parse_request(values, self.release))
