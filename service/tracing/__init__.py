"""Spans: where the time of a request and of a block goes, for those that are kept."""
