"""The rules of ingestion: pure functions over plain values. No I/O, no clock."""
