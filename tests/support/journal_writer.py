"""A process that appends to a journal as fast as it can and reports each entry that it was promised.

``python -m tests.support.journal_writer FOLDER`` writes the session id of every appended entry to standard
output, one a line, until it is killed. It closes a segment now and then.
"""

import sys
from pathlib import Path

from service.journal import Journal
from tests.support.entries import make_entry

ENTRIES_A_SEGMENT = 50


def main(folder: Path) -> None:
    """Append until killed."""
    journal = Journal.open(folder, durability="os", max_bytes=2**30)
    session_id = 0
    while True:
        session_id += 1
        journal.append([make_entry(session_id=session_id)])
        sys.stdout.write(f"{session_id}\n")
        sys.stdout.flush()
        if session_id % ENTRIES_A_SEGMENT == 0:
            journal.rotate()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
