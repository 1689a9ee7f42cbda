"""The service: command line, workers, tuning, selection and export."""
