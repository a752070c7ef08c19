"""A hub, by huggingface_hub. Files are uploaded beside the repository and appear in it with one commit: whole, or not at all.

The token comes from the settings alone: what a machine's user once logged in with is nobody's permission to publish.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.conf import settings

from core.errors import Conflict, DomainError, require
from training.pushing.tree import Piece
from training.pushing.watch import Halted, Watch, WatchedFile

if TYPE_CHECKING:
    from huggingface_hub import DatasetInfo, HfApi

KIND = "dataset"
BY_ITSELF = {".gitattributes"}  # in a repository that was only just made


class HubPlace:
    """One repository of datasets."""

    def __init__(self, target: str, *, is_public: bool) -> None:
        self.target, self._is_public = target, is_public

    @property
    def _api(self) -> "HfApi":
        from huggingface_hub import HfApi
        from huggingface_hub.utils import disable_progress_bars, logging

        disable_progress_bars()
        logging.set_verbosity_error()  # what goes wrong is raised
        return HfApi(endpoint=settings.WHETSTONE.hub_endpoint or None, token=_token(), library_name="whetstone")

    def begin(self, *, is_ours: bool) -> None:
        """Make the repository, private unless asked otherwise. Raises Conflict where there is one that is not ours."""
        with self._faults():
            made = self._api.create_repo(self.target, repo_type=KIND, private=not self._is_public, exist_ok=True)
            require(
                made.repo_id == self.target,
                f"The hub calls this repository {made.repo_id}.",
                how="Give the name as the hub writes it.",
            )
            there = self._api.dataset_info(self.target)
            if not is_ours and _names(there) - BY_ITSELF:
                raise Conflict(
                    f"There is a dataset {self.target} on the hub already, and this project did not push it.",
                    how="Choose another name.",
                )
            require(
                there.private or self._is_public,
                f"{self.target} is public on the hub.",
                how="Ask for a public push, make it private there, or choose another name.",
            )

    def send(self, pieces: Sequence[Piece], watch: Watch) -> str:
        """Upload the files and commit them, with the deletion of what an earlier push left. Returns the commit.

        What the hub has already, from an attempt that broke off, is not sent again. Raises DomainError, and Halted.
        """
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        files = [WatchedFile(piece.path, piece.name) for piece in pieces]
        try:
            with self._faults():
                added = []
                for piece, file in zip(pieces, files, strict=True):
                    # A file object takes the plain upload, which every hub has, and whose progress can be seen.
                    added.append(CommitOperationAdd(piece.name, file))
                    require(
                        added[-1].upload_info.sha256.hex() == piece.sha256,
                        f"The stored file {piece.name} is damaged, so nothing was pushed.",
                        how="Restore it from a backup.",
                    )
                    file.watched_by(watch)
                there = self._api.dataset_info(self.target)
                gone = sorted(_names(there) - BY_ITSELF - {piece.name for piece in pieces})
                commit = self._api.create_commit(
                    self.target,
                    [*added, *(CommitOperationDelete(name) for name in gone)],
                    commit_message="Push a dataset frozen by Whetstone",
                    repo_type=KIND,
                    num_threads=2,
                )
        finally:
            for file in files:
                file.close()
        for piece in pieces:
            watch.is_there(piece.name, piece.sha256, piece.n_bytes)
        return str(commit.oid)

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """What the hub says, in a sentence."""
        from httpx2 import HTTPError
        from huggingface_hub.errors import HFValidationError, OfflineModeIsEnabled

        try:
            yield
        except (DomainError, Halted):
            raise
        except OfflineModeIsEnabled as problem:
            raise DomainError(
                "This worker may ask no hub.", how="Unset HF_HUB_OFFLINE where the workers are started."
            ) from problem
        except HFValidationError as problem:
            raise DomainError(
                f"“{self.target}” is no name of a repository.", how="Write owner/name, as on the hub."
            ) from problem
        except (HTTPError, RuntimeError, ValueError) as problem:
            raise self._said(_root(problem)) from problem

    def _said(self, problem: BaseException) -> Exception:
        from httpx2 import HTTPError

        if isinstance(problem, (Halted, DomainError)):
            return problem
        response = getattr(problem, "response", None)
        if response is not None:
            sentence, how = _answered(response.status_code, self.target, _words(problem))
        elif isinstance(problem, HTTPError):
            sentence = f"The hub could not be reached: {_words(problem)}."
            how = "Look at the network and at WHETSTONE_HUB_ENDPOINT, then go on with the push."
        else:
            sentence, how = f"The hub's client gave up: {_words(problem)}.", "Go on with the push later."
        # A hub that repeats what it was sent must not get the token onto a page.
        return DomainError(sentence.replace(_token(), "…") if _token() else sentence, how=how)


def _names(there: "DatasetInfo") -> set[str]:
    return {sibling.rfilename for sibling in there.siblings or ()}


def _token() -> str:
    token = settings.WHETSTONE.hub_token
    return token.get_secret_value() if token else ""


def _root(problem: BaseException) -> BaseException:
    """The client wraps what an upload raised in an error of its own."""
    while isinstance(problem, RuntimeError) and problem.__cause__ is not None:
        problem = problem.__cause__
    return problem


def _words(problem: Any) -> str:
    text = getattr(problem, "server_message", None) or str(problem) or type(problem).__name__
    return str(text).strip().splitlines()[0].rstrip(".")[:200]


def _answered(code: int, target: str, said: str) -> tuple[str, str]:
    match code:
        case 401:
            return "The hub does not accept the token.", "Set a valid WHETSTONE_HUB_TOKEN and start the workers again."
        case 403:
            return (
                f"The token may not write to {target}.",
                "Choose an owner that it may write for, or set a WHETSTONE_HUB_TOKEN with the right to write.",
            )
        case 404:
            return f"The hub has no {target}, or hides it from this token.", "Look at the owner's name."
        case 413 | 507:
            return f"The hub takes no more: {said}.", "Free some room there, or push without the votes."
        case 429:
            return "The hub has had too many requests.", "Go on with the push in a few minutes."
        case _ if code >= 500:
            return f"The hub answers with an error ({code}).", "Go on with the push later."
    return f"The hub refuses it ({code}): {said}.", "Change what it names, and push again."
