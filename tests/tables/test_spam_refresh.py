"""The spam list in force, and its weekly refresh."""

from pathlib import Path

import pytest

from service.errors import ConfigError, DownloadFailed
from service.tables.spam import (
    REFRESH_S,
    RETRY_S,
    STORED_LIST,
    SpamRefresh,
    store_spam_list,
    watch_spam_list,
)

NOW = 1_795_003_200.0


class Server:
    """Answers every question with ``content``, or fails without one."""

    def __init__(self, content: bytes | None) -> None:
        self.content = content
        self.asked = 0

    async def fetch(self, url: str) -> bytes:
        """Give what stands at the URL."""
        assert url == "https://lists.example/spam.txt"
        self.asked += 1
        if self.content is None:
            raise DownloadFailed("lists.example is away")
        return self.content


def refresh_from(server: Server, folder: Path) -> SpamRefresh:
    """Give the weekly refresh from that server into a folder."""
    return SpamRefresh("https://lists.example/spam.txt", folder, server.fetch)


def test_which_list_is_in_force(tmp_path: Path) -> None:
    """The operator's goes before the stored one, that before the one that is built in."""
    assert "semalt.com" in watch_spam_list(None, tmp_path).published.value
    store_spam_list(b"stored.example", tmp_path)
    assert watch_spam_list(None, tmp_path).published.value == {"stored.example"}
    own = tmp_path / "own.txt"
    own.write_text("own.example")
    assert watch_spam_list(own, tmp_path).published.value == {"own.example"}


async def test_a_stored_list_comes_into_force(tmp_path: Path) -> None:
    """A list that an update leaves in the data folder replaces the built-in one without a restart."""
    watched = watch_spam_list(None, tmp_path)
    store_spam_list(b"stored.example", tmp_path)
    await watched.refresh(NOW)
    await watched.refresh(NOW)
    assert watched.published.value == {"stored.example"}


@pytest.mark.parametrize("content", [b"", b"# nothing", b"<html>\n", b"\xff\xfe"])
def test_what_is_no_list_is_not_stored(tmp_path: Path, content: bytes) -> None:
    """An empty list, a page, or what is no text is refused."""
    with pytest.raises(ConfigError, match="the new spam list"):
        store_spam_list(content, tmp_path)
    assert list(tmp_path.iterdir()) == []


async def test_a_list_is_fetched_every_week(tmp_path: Path) -> None:
    """The first at once, the next when that one is a week old; a restart in between changes nothing."""
    server = Server(b"spam.example")
    refresh = refresh_from(server, tmp_path)
    await refresh.refresh(NOW)
    assert ((tmp_path / STORED_LIST).read_text(), refresh.problem) == ("spam.example", None)
    await refresh.refresh(NOW + REFRESH_S - 1)
    await refresh_from(server, tmp_path).refresh(NOW + REFRESH_S - 1)
    assert server.asked == 1
    await refresh.refresh(NOW + REFRESH_S)
    assert server.asked == 2


@pytest.mark.parametrize("content", [None, b"<html>"])
async def test_a_failed_refresh_keeps_the_old_list(tmp_path: Path, content: bytes | None) -> None:
    """The problem is there to be seen, and the fetch is tried again after an hour."""
    store_spam_list(b"old.example", tmp_path)
    later = (tmp_path / STORED_LIST).stat().st_mtime + REFRESH_S
    server = Server(content)
    refresh = refresh_from(server, tmp_path)
    await refresh.refresh(later)
    await refresh.refresh(later + RETRY_S - 1)
    assert server.asked == 1
    assert refresh.problem
    assert (tmp_path / STORED_LIST).read_text() == "old.example"

    server.content = b"new.example"
    await refresh.refresh(later + RETRY_S)
    assert refresh.problem is None
    assert (tmp_path / STORED_LIST).read_text() == "new.example"
