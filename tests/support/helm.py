"""Helm itself, without its program: the library of the package helm-python-sdk, which is Helm's own Go code.

It runs in a process of its own (``python -m tests.support.helm CHART RELEASE``), since Go's threads must not be in one
that forks.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from tests.support.programs import ran

Document = dict[str, Any]
RELEASE, NAMESPACE = "reroom", "rooms"


@dataclass(frozen=True)
class Rendered:
    """A chart with certain values: its objects, or the sentence with which Helm refuses the values."""

    documents: list[Document]
    refusal: str
    findings: list[str]
    """Of ``helm lint --strict``, where that was asked for."""

    def kind(self, kind: str) -> dict[str, Document]:
        """The objects of a kind by their names."""
        return {each["metadata"]["name"]: each for each in self.documents if each["kind"] == kind}

    def one(self, kind: str, name: str) -> Document:
        return self.kind(kind)[name]


def render(
    chart: Path, values: Mapping[str, Document], *, release: str = RELEASE, lint: bool = False
) -> dict[str, Rendered]:
    """The chart with each of the named values. Raises CalledProcessError when Helm cannot load it."""
    program = [sys.executable, "-m", "tests.support.helm", str(chart), release, *(["lint"] if lint else [])]
    done = ran(*program, input=json.dumps(values), check=True)
    return {
        name: Rendered(
            [document for text in each["texts"] for document in yaml.safe_load_all(text) if document],
            each["refusal"],
            each["findings"],
        )
        for name, each in json.loads(done.stdout).items()
    }


def main(chart: str, release: str, *lint: str) -> None:
    """Read {name: values} from standard input, and write {name: {texts, refusal, findings}}."""
    import helm_python

    answers = {}
    with helm_python.Chart.load(chart) as loaded:
        for name, values in json.load(sys.stdin).items():
            texts: dict[str, str] = {}
            refusal = ""
            try:
                texts = loaded.render(values, name=release, namespace=NAMESPACE)
            except helm_python.HelmError as error:
                refusal = str(error)
            found = (
                helm_python.lint(chart, values, strict=True, namespace=NAMESPACE)["messages"] if lint else []
            )
            answers[name] = {
                "texts": [text for file, text in sorted(texts.items()) if file.endswith(".yaml")],
                "refusal": refusal,
                "findings": [f"{each['path']}: {each['error']}" for each in found],
            }
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
