"""Everything before the first trial: reading the data, checking the request, creating the study."""
