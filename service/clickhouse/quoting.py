"""Texts as SQL says them."""


def quoted(text: str) -> str:
    """Give the text as a SQL string."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
