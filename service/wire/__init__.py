"""Bytes to values and back: the event API, replies and the journal's records. No I/O, no clock, no rule."""
