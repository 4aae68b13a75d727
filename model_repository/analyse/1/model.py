"""`analyse`: what is in a photo. The first stage of `restyle` alone, by the same code."""

import asyncio
import sys
from pathlib import Path

import triton_python_backend_utils as pb_utils

# Triton gives a model only its own folder, but both models must see a photo in the same way, and a copy of the code
# would drift. So it is taken from the folder of `restyle` beside this one, which every repository on a disk has, in a
# container or not. (From S3, Triton would copy each model to a temporary folder of its own.)
# The path is not resolved: a folder of either model may be a link.
sys.path.append(str(Path(__file__).absolute().parents[2] / "restyle" / "1"))

from restyle.analysis import analyse
from restyle.models import DEPTH, DETECTOR
from restyle.releases import open_releases
from restyle.request import parse_photo
from restyle.serving import Served, answer, calls_of
from restyle.triton_io import TritonModels


class TritonPythonModel:
    """An async decoupled BLS model: many photos at once on one event loop, one response each."""

    def initialize(self, args):
        try:
            self.releases = open_releases(self._served, pb_utils.Logger.log_warn)
        except ValueError as error:
            raise pb_utils.TritonModelException(str(error)) from error

    async def execute(self, requests):
        await asyncio.gather(*(answer(pb_utils, request, "analyse", self.releases) for request in requests))

    def _served(self, release):
        models = TritonModels(pb_utils, release)
        return Served(
            run=lambda values: analyse(parse_photo(values), release, models),
            calls=calls_of(release, DEPTH, DETECTOR),
        )
