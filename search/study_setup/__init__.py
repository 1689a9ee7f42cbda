"""Steps before the first trial: reading the data, checking the request, creating or resuming the study."""
