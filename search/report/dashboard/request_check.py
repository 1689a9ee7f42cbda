"""WSGI middleware that answers malformed requests, which Optuna Dashboard answers with 500 and a traceback in the log.

Optuna Dashboard 0.21 takes for granted that studies, trials and artifacts in an address exist, that query parameters
and bodies are well-formed, and that every program sends the header Accept-Encoding.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import parse_qs
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from search.report.dashboard.answers import path_of, refuse
from search.report.dashboard.body_check import body_problem

if TYPE_CHECKING:
    from optuna.artifacts import FileSystemArtifactStore
    from optuna.storages import BaseStorage

NOT_FOUND = "404 Not Found"
BAD_REQUEST = "400 Bad Request"
CONFLICT = "409 Conflict"
PARETO_FRONT = "pareto_front"
"""The plot of studies with several objectives. Studies of Retable have one."""

_STUDY = re.compile(r"/(?:api/studies|api/artifacts|csv|artifacts)/(?P<study>[^/]+)(?P<rest>/.*)?")
_TRIAL = re.compile(
    r"""/api/trials/([^/]+)/.*
      | /api/studies/[^/]+/([^/]+)/(?:note|skip)
      | (?:/api)?/artifacts/[^/]+/([^/]+)/.*
      | /api/artifacts/[^/]+/([0-9]+)""",
    re.VERBOSE,
)
_ARTIFACT = re.compile(r"/artifacts/(?:[^/]+/){1,2}(?P<artifact>[0-9a-fA-F-]+)")
_CHANGES_TRIAL = re.compile(r"/api/trials/([0-9]+)/(?:tell|user-attrs)")
_NUMBER = re.compile(r"[0-9]{1,18}")
_SHOWN = 100  # characters of a value in a reason


class RequestCheck:
    """WSGI middleware around Optuna Dashboard; see the module's docstring.

    Args:
        app: the dashboard.
        optuna_storage: Optuna storage of the dashboard's studies.
        artifact_store: pictures of trials and studies; None: no pictures.
    """

    def __init__(
        self, app: WSGIApplication, optuna_storage: BaseStorage, artifact_store: FileSystemArtifactStore | None
    ) -> None:
        self._app = app
        self._optuna_storage = optuna_storage
        self._artifact_store = artifact_store

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = path_of(environ).rstrip("/")
        missing = self._missing(path)
        if missing is not None:
            return refuse(start_response, missing, status=NOT_FOUND)
        malformed = _malformed(environ.get("QUERY_STRING", ""))
        if malformed is not None:
            return refuse(start_response, malformed, status=BAD_REQUEST)
        environ = {"HTTP_ACCEPT_ENCODING": "", **environ}
        problem = body_problem(environ, path)
        if problem is not None:
            return refuse(start_response, problem, status=BAD_REQUEST)
        finished = _CHANGES_TRIAL.fullmatch(path)
        if finished is not None and self._optuna_storage.get_trial(int(finished[1])).state.is_finished():
            return refuse(start_response, f"Trial {finished[1]} is finished and stays as it is.", status=CONFLICT)
        return self._app(environ, start_response)

    def _missing(self, path: str) -> str | None:
        """What the path names although it does not exist; None: everything exists."""
        study, trial = _STUDY.fullmatch(path), _TRIAL.fullmatch(path)
        if study is not None:
            if not self._is_study(study["study"]):
                return f"There is no study with the number {study['study'][:_SHOWN]!r}."
            if study["rest"] == f"/plot/{PARETO_FRONT}" and self._has_one_objective(int(study["study"])):
                return "A study with one objective has no Pareto front. The slice plot shows it."
        if trial is not None and not self._is_trial(number := next(filter(None, trial.groups()))):
            return f"There is no trial with the id {number[:_SHOWN]!r}."
        artifact = _ARTIFACT.fullmatch(path)
        if artifact is not None and not self._is_artifact(artifact["artifact"]):
            return f"There is no file of the artifact {artifact['artifact'][:_SHOWN]!r} on this machine."
        return None

    def _is_study(self, number: str) -> bool:
        try:
            return _NUMBER.fullmatch(number) is not None and bool(
                self._optuna_storage.get_study_name_from_id(int(number))
            )
        except KeyError:
            return False

    def _has_one_objective(self, study_id: int) -> bool:
        return len(self._optuna_storage.get_study_directions(study_id)) == 1

    def _is_trial(self, number: str) -> bool:
        try:
            return _NUMBER.fullmatch(number) is not None and self._optuna_storage.get_trial(int(number)) is not None
        except KeyError:
            return False

    def _is_artifact(self, name: str) -> bool:
        from optuna.artifacts.exceptions import ArtifactNotFound

        if self._artifact_store is None:
            return True  # the dashboard says that there are none
        try:
            self._artifact_store.open_reader(name).close()
        except (ArtifactNotFound, OSError):
            return False
        return True


def _malformed(query: str) -> str | None:
    """Why a query cannot be answered; None if it can."""
    for value in parse_qs(query, keep_blank_values=True).get("after", ()):
        if _NUMBER.fullmatch(value) is None:
            return f"The parameter after is a number of trials, 0 or more, and not {value[:_SHOWN]!r}."
    return None
