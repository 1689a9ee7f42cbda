"""Training a work item: cross-validation, teachers, saved networks and the stored outcome."""
