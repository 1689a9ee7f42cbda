"""Changes of the tables of a data set that leave its labels and parts as they are: spreadsheets and colleagues."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import PurePosixPath
from random import Random

from tests.trainer.data.changed.changed_files import renumbered
from tests.trainer.data.changed.data_set import DataSet, Table

_LABEL_COLUMNS = ("label", "category", "class_id", "dx", "ClassName")


def _tables(data: DataSet, change: Callable[[Table], Table]) -> DataSet:
    return replace(data, tables={path: change(table) for path, table in data.tables.items()})


def _with_column(data: DataSet, name: str, cell: Callable[[int], str], *, at: int | None = None) -> DataSet:
    """Insert a column into every table with a header, as the last one or at a place."""

    def change(table: Table) -> Table:
        if not table.columns or table.form == "mapping":
            return table
        place = len(table.columns) if at is None else at
        columns = (*table.columns[:place], name, *table.columns[place:])
        if place <= table.id_at:
            id_at, inner = table.id_at + 1, place
        else:
            id_at, inner = table.id_at, place - 1
        cells = tuple((*row[:inner], cell(row_number), *row[inner:]) for row_number, row in enumerate(table.cells))
        return replace(table, columns=columns, cells=cells, id_at=id_at)

    return _tables(data, change)


def rows_shuffled(data: DataSet, random: Random) -> DataSet:
    def change(table: Table) -> Table:
        order = list(range(len(table.images)))
        random.shuffle(order)
        return replace(table, images=tuple(table.images[i] for i in order), cells=tuple(table.cells[i] for i in order))

    return _tables(data, change)


def columns_shuffled(data: DataSet, random: Random) -> DataSet:
    def change(table: Table) -> Table:
        if not table.columns:
            return table
        order = list(range(len(table.columns)))
        random.shuffle(order)
        rows = []
        for row in table.cells:
            full = [*row[: table.id_at], "", *row[table.id_at :]]
            shuffled = [full[i] for i in order]
            del shuffled[order.index(table.id_at)]
            rows.append(tuple(shuffled))
        return replace(
            table,
            columns=tuple(table.columns[i] for i in order),
            cells=tuple(rows),
            id_at=order.index(table.id_at),
        )

    return _tables(data, change)


def encoded(data: DataSet, random: Random) -> DataSet:
    encoding = random.choice(["utf-8-sig", "utf-16"])
    return _tables(data, lambda table: table if table.form != "rows" else replace(table, encoding=encoding))


def with_crlf(data: DataSet, random: Random) -> DataSet:
    return _tables(data, lambda table: replace(table, newline="\r\n"))


def delimited(data: DataSet, random: Random) -> DataSet:
    delimiter = random.choice([";", "\t", "|", ","])
    return _tables(data, lambda table: replace(table, delimiter=delimiter))


def quoted(data: DataSet, random: Random) -> DataSet:
    return _tables(data, lambda table: replace(table, quoted=True))


def stems(data: DataSet, random: Random) -> DataSet:
    return _tables(data, lambda table: replace(table, spelling="stem") if table.spelling == "name" else table)


def paths(data: DataSet, random: Random) -> DataSet:
    return _tables(data, lambda table: replace(table, spelling="path") if table.spelling == "name" else table)


def paths_of_another_machine(data: DataSet, random: Random) -> DataSet:
    front = random.choice(["/home/ann/data/", "./", "/kaggle/input/images/", "C:/Users/ann/"])
    return _tables(data, lambda table: replace(table, front=front) if table.spelling == "path" else table)


def with_index(data: DataSet, random: Random) -> DataSet:
    return _with_column(data, random.choice(["", "Unnamed: 0", "index"]), str, at=0)


def with_sizes(data: DataSet, random: Random) -> DataSet:
    data = _with_column(data, "width", lambda row: str(640 + row % 3))
    return _with_column(data, "height", lambda row: str(480 - row % 2))


def with_notes(data: DataSet, random: Random) -> DataSet:
    texts = ["", "looks blurred", "taken at night, with flash", "second photo of the day", "ok"]
    return _with_column(data, "notes", lambda row: texts[row % 5])


def with_dates(data: DataSet, random: Random) -> DataSet:
    return _with_column(data, random.choice(["date", "created_at"]), lambda row: f"2024-0{1 + row % 9}-1{row % 7}")


def with_annotators(data: DataSet, random: Random) -> DataSet:
    return _with_column(data, random.choice(["annotator", "photographer"]), lambda row: f"ann{row % 4}")


def with_constant(data: DataSet, random: Random) -> DataSet:
    return _with_column(data, random.choice(["source", "license", "version"]), lambda row: "A1")


def with_checksums(data: DataSet, random: Random) -> DataSet:
    return _with_column(data, random.choice(["md5", "sha1"]), lambda row: f"{random.getrandbits(128):032x}")


def as_json(data: DataSet, random: Random) -> DataSet:
    """Save tables of file names as JSON, as pandas and Hugging Face do it. A sample submission stays CSV."""
    suffix, form = random.choice([(".jsonl", "lines"), (".ndjson", "lines"), (".json", "lines"), (".json", "records")])
    tables = {}
    for path, table in data.tables.items():
        pure = PurePosixPath(path)
        names_files = table.form == "rows" and table.columns and table.spelling != "stem"
        if pure.suffix == ".csv" and names_files and pure.stem != "sample_submission":
            path, table = str(pure.with_suffix(suffix)), replace(table, form=form, encoding="utf-8")
        tables[path] = table
    return replace(data, tables=tables)


def tables_in_a_folder(data: DataSet, random: Random) -> DataSet:
    if any("/" in path for path in data.tables):
        return data
    name = random.choice(["meta", "annotations", "csv"])
    return replace(data, tables={f"{name}/{path}": table for path, table in data.tables.items()})


def table_renamed(data: DataSet, random: Random) -> DataSet:
    if len(data.tables) != 1:
        return data
    (path, table), *_ = data.tables.items()
    pure = PurePosixPath(path)
    new = random.choice(["annotations", "targets", "data_final", "Book1", "metadata"])
    return replace(data, tables={str(pure.with_stem(new)): table})


def columns_renamed(data: DataSet, random: Random) -> DataSet:
    ids = random.choice(["id", "Image", "image_id", "file", "fname", "Image_Name", "ID"])
    targets = random.choice(["class", "Target", "Label", "y", "diagnosis", "species"])

    def change(table: Table) -> Table:
        if not table.columns:
            return table
        columns = list(table.columns)
        columns[table.id_at] = ids
        columns = [targets if each in _LABEL_COLUMNS else each for each in columns]
        return replace(table, columns=tuple(columns))

    return _tables(data, change)


def with_old_copy(data: DataSet, random: Random) -> DataSet:
    """Keep a copy of every table under another name."""
    copies = {}
    for path, table in data.tables.items():
        pure = PurePosixPath(path)
        copies[str(pure.with_name(f"{pure.stem} (1){pure.suffix}"))] = table
    return replace(data, tables=data.tables | copies)


def with_part_of_rows(data: DataSet, random: Random) -> DataSet:
    """Put a sample of the rows beside each table."""
    parts = {}
    for path, table in data.tables.items():
        pure = PurePosixPath(path)
        head = replace(table, images=table.images[:5], cells=table.cells[:5])
        parts[str(pure.with_name(f"{pure.stem}_sample{pure.suffix}"))] = head
    return replace(data, tables=data.tables | parts)


def with_an_own_split(data: DataSet, random: Random) -> DataSet:
    """Divide the rows of a competition's training table, for other programs."""
    pairs = [("train_split", "test_split"), ("my_train", "my_val"), ("train_old", "test_old"), ("X_train", "X_test")]
    first, second = random.choice(pairs)
    return _with_rows_of_training(data, {first: slice(0, 16), second: slice(16, None)})


def with_clean_rows(data: DataSet, random: Random) -> DataSet:
    """Put most rows of a competition's training table beside it."""
    return _with_rows_of_training(data, {random.choice(["train_clean", "train_small", "train_v2"]): slice(2, None)})


def _with_rows_of_training(data: DataSet, parts: dict[str, slice]) -> DataSet:
    found = [path for path in data.tables if PurePosixPath(path).stem == "train"]
    if not found or not data.tests:
        return data
    table = data.tables[found[0]]
    further = {
        str(PurePosixPath(found[0]).with_stem(stem)): replace(table, images=table.images[rows], cells=table.cells[rows])
        for stem, rows in parts.items()
    }
    return replace(data, tables=data.tables | further)


def rewritten(data: DataSet, random: Random) -> DataSet:
    """Let a program or another system change how the tables write names."""
    change = random.choice([str.upper, str.lower, lambda name: name.replace("/", "\\"), lambda name: f" {name} "])
    return _tables(data, lambda table: replace(table, rewritten=change))


def without_zeros(data: DataSet, random: Random) -> DataSet:
    """Let a spreadsheet take the numbers of images for numbers."""
    if data.texts or any(table.spelling != "stem" for table in data.tables.values()):
        return data
    data = renumbered(data, random)

    def number(name: str) -> str:
        return str(int(name)) if name.isdecimal() else name  # another change may have renamed the file

    return _tables(data, lambda table: replace(table, rewritten=number))


def with_repeated_rows(data: DataSet, random: Random) -> DataSet:
    def change(table: Table) -> Table:
        if table.form == "mapping":
            return table
        some = random.sample(range(len(table.images)), 3)
        images = (*table.images, *(table.images[i] for i in some))
        return replace(table, images=images, cells=(*table.cells, *(table.cells[i] for i in some)))

    return _tables(data, change)


def with_predictions(data: DataSet, random: Random) -> DataSet:
    """Keep what an earlier network said about the images, right or wrong."""
    kinds = sorted(set(data.labels.values()))
    numbers = tuple(sorted(data.images))
    name, column = random.choice([("predictions.csv", "prediction"), ("oof_resnet.csv", "pred")])
    cells = tuple((random.choice(kinds),) for _ in numbers)
    table = Table(images=numbers, columns=("image", column), cells=cells, spelling="name")
    return replace(data, tables=data.tables | {name: table})


def with_a_side_table(data: DataSet, random: Random) -> DataSet:
    """Keep what is known of the photos around the data, in a table of its own."""
    if data.texts or any(table.form != "rows" or table.delimiter == " " for table in data.tables.values()):
        return data
    numbers = tuple(sorted(data.labels))
    name, column, values = random.choice(
        [
            ("photos.csv", "light", ("sun", "shade")),
            ("who.csv", "checked_by", ("Eva", "Tom", "Ann")),
            ("sizes.csv", "kb", ("100", "101", "102", "103")),
        ]
    )
    cells = tuple((random.choice(values),) for _ in numbers)
    table = Table(images=numbers, columns=("image", column), cells=cells, spelling="name")
    return replace(data, tables_beside=data.tables_beside | {name: table})


def with_older_labels(data: DataSet, random: Random) -> DataSet:
    """Keep a column of the labels before their correction."""
    kinds = sorted(set(data.labels.values()))
    name = random.choice(["old_label", "label_v1", "label_before_review", "predicted"])
    return _with_column(data, name, lambda row: random.choice(kinds))


def with_class_list(data: DataSet, random: Random) -> DataSet:
    kinds = sorted(set(data.labels.values()))
    name = random.choice(["classes.txt", "labels.txt", "class_names.txt"])
    return replace(data, beside=data.beside | {data.wrapper + name: "".join(f"{kind}\n" for kind in kinds).encode()})


def with_class_counts(data: DataSet, random: Random) -> DataSet:
    kinds = sorted(set(data.labels.values()))
    rows = "".join(f"{kind},{list(data.labels.values()).count(kind)}\n" for kind in kinds)
    return replace(data, beside=data.beside | {data.wrapper + "counts.csv": f"class,images\n{rows}".encode()})
