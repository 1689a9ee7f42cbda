"""Drawings for the report: pure functions from values to shapes, which a template writes as SVG."""
