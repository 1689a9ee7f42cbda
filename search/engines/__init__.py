"""Engines start and restart workers: as local processes, or on a Ray cluster."""
