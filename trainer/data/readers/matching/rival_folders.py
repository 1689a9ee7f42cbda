"""Weigh the folder of an image that an id names exactly against a folder where another spelling of the id fits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from trainer.data.names.parts import Split, folder_split
from trainer.data.readers.matching.id_spellings import differ_in_one_number, slashes, unpadded
from trainer.data.readers.matching.image_files import IMAGE_SUFFIXES, ImageFiles
from trainer.data.readers.matching.lookup_errors import ImageAmbiguousError, ImageLookupError
from trainer.data.readers.matching.name_index import NameIndex, stem_of
from trainer.data.readers.matching.twins import Twins, apart, names_images

_FEW = 4  # least number of ids for each exact name, where the names may be chance hits
_MOST = 0.9  # least share of the other ids that a folder holds which speaks against chance hits
_CLOSE = 0.5  # least difference of two scores from which one of two folders is the obvious one


class RivalFolders:
    """Finds the ids whose exact file lies beside the folder that holds the images of all other ids.

    A training folder with 0001.png to 0999.png fits the ids 1 to 999. A single ``extra/1.png`` is no image of them,
    though its name is the id.
    """

    def __init__(self, files: ImageFiles, names: NameIndex, split: Split) -> None:
        self._files, self._names, self._split = files, names, split
        self._twins = Twins(files, names, split)

    def replaced(self, cells: Iterable[str], found: Mapping[str, str]) -> dict[str, str | ImageLookupError]:
        """The file of each id of ``found`` whose exact name is a chance hit, or the error if nothing decides.

        Args:
            cells: all ids of the column.
            found: the files of those that name one exactly, by id.
        """
        return {**self._twins.doubtful(found), **self._weighed(cells, found)}

    def _weighed(self, cells: Iterable[str], found: Mapping[str, str]) -> dict[str, str | ImageLookupError]:
        """`replaced`, by the scores of the folders.

        Each folder gets a score: twice the share of the ids that it holds in any spelling, 1 for a folder of the split
        or one called ``images`` or the like, and 1 for exact names (2 if another extension stands against it).
        """
        ids = list(dict.fromkeys(cells))
        if len(found) == len(ids) and self._all_at_home(found.values()):
            return {}
        opposite: Split = "test" if self._split == "train" else "train"
        elsewhere = frozenset(self._files.paths_below(opposite))
        if not found or len({path.rpartition("/")[0] for path in self._files.paths if path not in elsewhere}) < 2:
            return {}
        rivals = {cell: others for cell, path in found.items() if (others := self._rivals(cell, path))}
        if not rivals and len(found) * _FEW > len(ids):
            return {}
        spelled = {cell: [*self._spelled(cell), *([found[cell]] if cell in found else [])] for cell in ids}
        held: dict[str, set[str]] = defaultdict(set)
        for cell, paths in spelled.items():
            for path in paths:
                for folder in PurePosixPath(path).parents:
                    held[f"{folder}/"].add(cell)
                held[str(PurePosixPath(path).parent)].add(cell)  # not in a folder below
        replaced: dict[str, str | ImageLookupError] = self._strays(ids, found, held)
        for cell, others in rivals.items():
            path = found[cell]
            best, margin = path, -float("inf")
            for other in others:
                mine, its = apart(path, other)
                own = (
                    2 * len(held[mine]) / len(ids)
                    + self._is_home(path, mine, other, its)
                    + self._exactness(cell, other)
                )
                score = 2 * len(held[its]) / len(ids) + self._is_home(other, its, path, mine)
                if score - own > margin:
                    best, margin = other, score - own
            if margin >= _CLOSE:
                replaced[cell] = best
            elif margin > -_CLOSE:
                replaced[cell] = ImageAmbiguousError(cell, [path, best])
        return replaced

    def _strays(
        self, ids: Sequence[str], found: Mapping[str, str], held: Mapping[str, Collection[str]]
    ) -> dict[str, str | ImageLookupError]:
        """An error for each of the few exact names that lie beside a folder of the split that holds the other ids.

        The image of such an id is missing in that folder.
        """
        if len(found) * _FEW > len(ids):
            return {}
        most = _MOST * (len(ids) - len(found))
        homes = [folder for folder, cells in held.items() if len(cells) >= most and folder[-1:] == "/"]
        homes = [folder for folder in homes if folder_split(folder[:-1].rpartition("/")[2]) == self._split]
        return {
            cell: ImageLookupError(
                f"{cell!r} is the name of {path}, but {homes[0]} holds the images of the other ids under other "
                "spellings: move the image there, or write its path into the table"
            )
            for cell, path in found.items()
            if homes and "/" not in slashes(cell) and not path.startswith(homes[0])
        }

    def _all_at_home(self, paths: Iterable[str]) -> bool:
        """Whether exact names in folders of the split, or else in ``images``, leave no other folder a chance."""
        folders = {path.rpartition("/")[0]: path for path in paths}
        if self._files.paths_below(self._split):
            return all(self._files.below_split(path, self._split) is not None for path in folders.values())
        return all(any(map(names_images, folder.split("/"))) for folder in folders)

    def _rivals(self, cell: str, path: str) -> list[str]:
        """Files in other folders than ``path`` that another spelling of the id names; none for a whole path."""
        if "/" in cell and slashes(cell) == path:
            return []
        folder = PurePosixPath(path).parent
        return [other for other in self._spelled(cell) if other != path and PurePosixPath(other).parent != folder]

    def _spelled(self, cell: str) -> list[str]:
        """The files that an id names in another case, with other leading zeros, or without its extension."""
        pure = PurePosixPath(slashes(cell))
        if pure.is_absolute() or ".." in pure.parts:
            return []
        stem = stem_of(pure)
        padded = self._names.by_unpadded_stem.get(unpadded(stem), [])
        padded = [path for path in padded if differ_in_one_number(PurePosixPath(path).stem, stem)]
        return list(dict.fromkeys([*self._twins.inside(pure, padded), *self._twins.of(cell)]))

    def _is_home(self, path: str, folder: str, rival: str, rivals_folder: str) -> bool:
        """Whether the images of this split lie in the folder of a file by its name, and not in that of its rival."""
        in_split = self._files.below_split(path, self._split) is not None
        if in_split or self._files.below_split(rival, self._split) is not None:
            return in_split
        return names_images(PurePosixPath(folder).name) and not names_images(PurePosixPath(rivals_folder).name)

    def _exactness(self, cell: str, other: str) -> int:
        suffix = PurePosixPath(slashes(cell)).suffix.lower()
        return 2 if suffix in IMAGE_SUFFIXES and suffix != PurePosixPath(other).suffix.lower() else 1
