"""The finalists of a study as a document: what `search compare --json` prints. docs/json.md describes every field."""

from __future__ import annotations

from search.report.documents.encode import Document, moment
from search.report.finalists.comparison import Comparison
from storage.stores import Stores

SCHEMA = "retable.comparison"
VERSION = 1
"""As in `search.report.documents.status`."""


def comparison_document(stores: Stores, comparison: Comparison) -> Document:
    """The document of a comparison, the leader first."""
    estimates = comparison.estimates
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "generated": moment(stores.database.now()),
        "database": stores.database.name,
        "study": comparison.study,
        "metric": comparison.metric,
        "reliability": estimates.reliability,
        "noise": estimates.noise,
        "finalists": [
            {
                "trial": row.number,
                "name": str(row.name),
                "rounds": row.rounds,
                "mean": row.mean,
                "value": row.shrunk,
                "standard_error": row.error,
                "averaged": row.averaged,
                "gap_to_leader": row.gap_to_leader,
                "gap_standard_error": None if row is estimates.leader else row.gap_error,
                "tied": row.tied,
                "eliminated": row.eliminated,
                "chance_best": row.chance_best,
                "search_value": comparison.trials[row.number].value,
                "recipe": comparison.trials[row.number].recipe,
            }
            for row in estimates.rows
        ],
        "conclusions": comparison.conclusions,
        "doubts": comparison.doubts,
    }
