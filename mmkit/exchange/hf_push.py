"""Uploads a written folder to a repository of the hub; what lies on this machine stays whatever happens."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from huggingface_hub import CommitOperationAdd, HfApi, get_token, is_offline_mode
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.utils._validators import validate_repo_id

from mmkit import __version__
from mmkit.errors import MmkitError
from mmkit.exchange.card import CARD
from mmkit.exchange.card_edit import edit_card
from mmkit.exchange.card_license import License

FAULTS: tuple[type[Any], ...] = (OSError, ValueError, RuntimeError, *HfHubHTTPError.__bases__)
"""What an upload may end in; the last are those of the HTTP library that huggingface_hub uses, which has changed."""
LOG_IN = "log in with `hf auth login`, or set HF_TOKEN to a token that may write"


@dataclass(frozen=True)
class Pushed:
    """What an upload has done.

    Attributes:
        commit: huggingface_hub's ``CommitInfo``. url: of the repository.
        card_stays: the repository had a card already, which was left as it is.
    """

    commit: Any
    url: str
    card_stays: bool


def require_hub(repo: str, token: str | bool | None = None) -> None:
    """What can be known before anything is written.

    Raises:
        MmkitError: the name is none, there is no token, or the hub may not be asked.
    """
    try:
        validate_repo_id(repo)
    except HFValidationError:
        raise MmkitError(
            f"{repo!r} is no name of a repository; write NAME/REPO: letters, digits, '-', '_' and '.', at most 96 in all"
        ) from None
    if is_offline_mode():
        raise MmkitError(f"{repo} cannot be uploaded to: HF_HUB_OFFLINE is set; unset it")
    if not isinstance(token, str) and get_token() is None:
        raise MmkitError(f"{repo} cannot be uploaded to without a token: {LOG_IN}")


def push(
    folder: Path,
    repo: str,
    *,
    private: bool | None = None,
    token: str | bool | None = None,
    revision: str | None = None,
    create_pr: bool = False,
    message: str = "Upload model",
    description: str | None = None,
    tags: Sequence[str] = (),
    stated: License | None = None,
) -> Pushed:
    """Create the repository where there is none, and upload everything in the folder in one commit.

    A card that the repository has already may have been edited there: it stays, with ``tags`` added to it, and with the
    licence where it states none. The folder stays as it is.

    Args:
        private: of a new repository; one that is there has to be so already.

    Raises:
        MmkitError: it is public though ``private`` was asked for, may not be written, or cannot be reached; or its card
            states another licence.
    """
    require_hub(repo, token)
    api = HfApi(token=token, library_name="mmkit", library_version=__version__)
    try:
        made = api.create_repo(repo, private=private, exist_ok=True)
        if private and not api.model_info(made.repo_id).private:
            raise MmkitError(
                f"{made.repo_id} is there already, and public; make it private on the hub, or name another repository"
            )
        if revision is not None and not revision.startswith("refs/pr"):
            api.create_branch(made.repo_id, branch=revision, exist_ok=True)
        stays = api.file_exists(made.repo_id, CARD, revision=revision)
        files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
        card = files.pop(CARD, None)
        there = partial(api.hf_hub_download, made.repo_id, CARD, revision=revision) if stays else None
        edit = partial(edit_card, whose=f"the card of {repo}", tags=tags, stated=stated)
        with TemporaryDirectory() as beside:
            if tags or stated is not None:
                card = _card(card, there, Path(beside) / CARD, edit)
            elif stays:
                card = None
            files |= {CARD: card} if card is not None else {}
            commit = api.create_commit(
                made.repo_id,
                [CommitOperationAdd(name, path) for name, path in files.items()],
                revision=revision,
                create_pr=create_pr,
                commit_message=message,
                commit_description=description,
            )
    except FAULTS as error:
        given = error if isinstance(error, OSError) else OSError(str(error))
        raise MmkitError(f"{repo} could not be uploaded to: {_why(api, error)}") from given
    return Pushed(commit, str(made), stays)


def _card(own: Path | None, there: Callable[[], str] | None, copy: Path, edit: Callable[[Path], bool]) -> Path | None:
    """The card to upload: the folder's own, or the repository's, each with what is added to it; None: it has one that stays.

    Raises:
        MmkitError: there is no card.
    """
    source = there() if there is not None else own
    if source is None:
        raise MmkitError(
            "tags and a license are written into a card, and here is none; push the model, or leave them out"
        )
    shutil.copyfile(source, copy)
    return copy if edit(copy) or there is None else None


def _why(api: HfApi, error: BaseException) -> str:
    """The reason, and what mends it."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, HfHubHTTPError):
        cause = cause.__cause__
    said = (str(error).strip() or type(error).__name__).splitlines()[0]
    if cause is None:
        return f"{api.endpoint} cannot be reached: {said}; check the network, or HF_ENDPOINT"
    status = cause.response.status_code
    if status == 401:
        return f"{api.endpoint} does not know the token; {LOG_IN}"
    if status == 403:
        return f"the token may not write there; name a repository of yours, or {LOG_IN}"
    return f"{api.endpoint} answers {status}: {cause.server_message or said}"


def push_saved(
    save: Callable[[Path], object],
    repo_id: str,
    *,
    message: str,
    commit_message: str | None = None,
    commit_description: str | None = None,
    private: bool | None = None,
    token: str | bool | None = None,
    revision: str | None = None,
    create_pr: bool = False,
    tags: str | Sequence[str] | None = None,
    stated: License | None = None,
) -> Any:
    """Upload what ``save`` writes into a folder of its own; the options are those of transformers' ``push_to_hub``.

    Returns:
        huggingface_hub's ``CommitInfo``.
    """
    require_hub(repo_id, token)
    with TemporaryDirectory() as folder:
        save(Path(folder))
        return push(
            Path(folder),
            repo_id,
            private=private,
            token=token,
            revision=revision,
            create_pr=create_pr,
            message=commit_message or message,
            description=commit_description,
            tags=[tags] if isinstance(tags, str) else tags or (),
            stated=stated,
        ).commit
