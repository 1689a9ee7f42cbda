"""The report of ``search check``: the data as a search would read them, dataset shift, copies, suspicious labels."""
