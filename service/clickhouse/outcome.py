"""What an error code of ClickHouse means for the one who asked: try again, never again, or your SQL is wrong.

An insert that fails for a reason not listed here is tried again: a block is given up only when its *content*
is known to be the cause, because giving up loses it.
"""

from service.errors import BlockRejected, QueryFailed, StoreError, StoreUnavailable

_CONTENT_CODES = frozenset(
    {
        6,  # CANNOT_PARSE_TEXT
        9,  # SIZES_OF_COLUMNS_DOESNT_MATCH
        19,  # SIZE_OF_FIXED_STRING_DOESNT_MATCH
        33,  # CANNOT_READ_ALL_DATA
        38,  # CANNOT_PARSE_DATE
        41,  # CANNOT_PARSE_DATETIME
        53,  # TYPE_MISMATCH
        69,  # ARGUMENT_OUT_OF_BOUND
        70,  # CANNOT_CONVERT_TYPE
        72,  # CANNOT_PARSE_NUMBER
        117,  # INCORRECT_DATA
        128,  # TOO_LARGE_ARRAY_SIZE
        131,  # TOO_LARGE_STRING_SIZE
        190,  # SIZES_OF_ARRAYS_DONT_MATCH
        321,  # VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
        349,  # CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
        407,  # DECIMAL_OVERFLOW
        469,  # VIOLATED_CONSTRAINT
    }
)
_AWAY_CODES = frozenset(
    {
        81,  # UNKNOWN_DATABASE: it can be made while the service waits
        192,  # UNKNOWN_USER
        193,  # WRONG_PASSWORD
        194,  # REQUIRED_PASSWORD
        202,  # TOO_MANY_SIMULTANEOUS_QUERIES
        203,  # NO_FREE_CONNECTION
        209,  # SOCKET_TIMEOUT
        210,  # NETWORK_ERROR
        225,  # NO_ZOOKEEPER
        236,  # ABORTED
        279,  # ALL_CONNECTION_TRIES_FAILED
        516,  # AUTHENTICATION_FAILED
        999,  # KEEPER_EXCEPTION
    }
)
_SHOWN_CHARACTERS = 600


def insert_error(code: int | None, message: str) -> StoreError:
    """Give the error of a failed insert: BlockRejected for bad content, else StoreUnavailable."""
    if code in _CONTENT_CODES:
        return BlockRejected(f"ClickHouse refuses the block: {shorten(message)}")
    return StoreUnavailable(f"ClickHouse could not store the block now: {shorten(message)}")


def query_error(code: int | None, message: str) -> StoreError:
    """Give the error of a failed statement: StoreUnavailable when the server is away, else QueryFailed."""
    if code in _AWAY_CODES:
        return StoreUnavailable(f"ClickHouse cannot answer now: {shorten(message)}")
    return QueryFailed(shorten(message))


def shorten(message: str) -> str:
    """Give ClickHouse's own words without the stack trace, at most 600 characters."""
    text = message.partition("Stack trace:")[0].removeprefix("DB::Exception: ").strip()
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + " …"
