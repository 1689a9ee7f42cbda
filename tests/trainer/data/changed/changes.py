"""All changes of a data set that leave its labels and parts as they are, by their names."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tests.trainer.data.changed import changed_files as files
from tests.trainer.data.changed import changed_tables as tables
from tests.trainer.data.changed.data_set import DataSet

Change = Callable[[DataSet, Random], DataSet]

CHANGES: dict[str, Change] = {
    each.__name__: each
    for each in (
        files.wrapped,
        files.with_documents,
        files.with_a_list_beside,
        files.with_leftovers,
        files.suffix_changed,
        files.renumbered,
        files.named_with_blanks,
        files.named_with_umlauts,
        files.named_with_dots,
        files.folders_renamed,
        files.deeper,
        files.folder_doubled,
        files.with_thumbnails,
        files.with_masks,
        files.with_masks_beside,
        files.with_an_image_beside,
        tables.rows_shuffled,
        tables.columns_shuffled,
        tables.encoded,
        tables.with_crlf,
        tables.delimited,
        tables.quoted,
        tables.stems,
        tables.paths,
        tables.paths_of_another_machine,
        tables.with_index,
        tables.with_sizes,
        tables.with_notes,
        tables.with_dates,
        tables.with_annotators,
        tables.with_constant,
        tables.with_checksums,
        tables.as_json,
        tables.tables_in_a_folder,
        tables.table_renamed,
        tables.columns_renamed,
        tables.with_old_copy,
        tables.with_part_of_rows,
        tables.with_an_own_split,
        tables.with_clean_rows,
        tables.rewritten,
        tables.without_zeros,
        tables.with_repeated_rows,
        tables.with_predictions,
        tables.with_a_side_table,
        tables.with_older_labels,
        tables.with_class_list,
        tables.with_class_counts,
    )
}
