"""The list of admin tokens: what is kept, what is in force, and when it changes."""

import stat
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import ConfigError, TokenInvalid
from service.http.admin_tokens import (
    MAX_TOKENS,
    Scope,
    create_token,
    list_tokens,
    plain_copy,
    prepare_admin_tokens,
    revoke_token,
)

NOW = 1_764_000_000.0


def first_token(folder: Path) -> str:
    """Read what the first start left for the owner."""
    return (folder / "admin-token").read_text().strip()


def names(folder: Path) -> list[str]:
    """Give the names of all tokens."""
    return [token.name for token in list_tokens(folder)]


class TestFirstStart:
    def test_token_is_made_and_may_do_everything(self, tmp_path: Path) -> None:
        """Who owns the folder finds a token in it that works."""
        found = prepare_admin_tokens(tmp_path, now=NOW).find(first_token(tmp_path))

        assert found is not None
        assert (found.name, found.scope) == ("admin-token", Scope.WRITE)

    def test_token_of_an_older_version_stays_good(self, tmp_path: Path) -> None:
        """A folder with a token and no list gets the list."""
        (tmp_path / "admin-token").write_text("made-earlier\n")

        assert prepare_admin_tokens(tmp_path, now=NOW).find("made-earlier") is not None
        assert stat.S_IMODE((tmp_path / "admin-token").stat().st_mode) == 0o600

    def test_later_start_changes_nothing(self, tmp_path: Path) -> None:
        """A restart makes no token and keeps the times."""
        prepare_admin_tokens(tmp_path, now=NOW)
        before = list_tokens(tmp_path)
        prepare_admin_tokens(tmp_path, now=NOW + 1)

        assert list_tokens(tmp_path) == before

    def test_token_put_into_the_file_takes_the_place_of_the_former(self, tmp_path: Path) -> None:
        """Whoever manages secrets as files may go on so."""
        prepare_admin_tokens(tmp_path, now=NOW)
        former = first_token(tmp_path)
        (tmp_path / "admin-token").write_text("mine\n")
        tokens = prepare_admin_tokens(tmp_path, now=NOW)

        assert tokens.find("mine") is not None
        assert tokens.find(former) is None
        assert names(tmp_path) == ["admin-token"]

    def test_deleted_file_comes_back_neither_itself_nor_by_a_new_token(self, tmp_path: Path) -> None:
        """The copy in plain is the owner's to delete."""
        prepare_admin_tokens(tmp_path, now=NOW)
        token = first_token(tmp_path)
        (tmp_path / "admin-token").unlink()

        assert prepare_admin_tokens(tmp_path, now=NOW).find(token) is not None
        assert not (tmp_path / "admin-token").exists()

    def test_revoked_first_token_stays_revoked(self, tmp_path: Path) -> None:
        """Its copy is deleted too, so that no start takes it up again; no new one is made either."""
        prepare_admin_tokens(tmp_path, now=NOW)
        token = first_token(tmp_path)
        revoke_token(tmp_path, "admin-token")

        assert prepare_admin_tokens(tmp_path, now=NOW).find(token) is None
        assert names(tmp_path) == []

    def test_many_starts_at_once_agree(self, tmp_path: Path) -> None:
        """However many starts make the list at once, there is one token in it."""
        with ThreadPoolExecutor(8) as starts:
            found = list(starts.map(lambda _: prepare_admin_tokens(tmp_path, now=NOW), range(32)))

        assert all(tokens.find(first_token(tmp_path)) for tokens in found)
        assert names(tmp_path) == ["admin-token"]


class TestCreateAndRevoke:
    @pytest.mark.parametrize("scope", list(Scope))
    def test_created_token_is_good_at_once(self, tmp_path: Path, scope: Scope) -> None:
        """The list in force follows the file, without being told."""
        tokens = prepare_admin_tokens(tmp_path, now=NOW)
        found = tokens.find(create_token(tmp_path, "new", scope, now=NOW))

        assert found is not None
        assert (found.name, found.scope, found.created_at) == ("new", scope, int(NOW))

    def test_revoked_token_is_good_no_more_and_others_are(self, tmp_path: Path) -> None:
        """Rotation: the second is good before the first is not."""
        tokens = prepare_admin_tokens(tmp_path, now=NOW)
        old, new = (create_token(tmp_path, name, Scope.READ, now=NOW) for name in ("old", "new"))
        assert tokens.find(old) is not None
        assert tokens.find(new) is not None
        revoke_token(tmp_path, "old")

        assert tokens.find(old) is None
        assert tokens.find(new) is not None
        assert tokens.find(first_token(tmp_path)) is not None

    def test_token_itself_is_in_no_file(self, tmp_path: Path) -> None:
        """What is kept is the hash, in files for the owner only."""
        token = create_token(tmp_path, "new", Scope.READ, now=NOW)
        content = b"".join(path.read_bytes() for path in tmp_path.iterdir())

        assert token.encode() not in content
        assert sha256(token.encode()).hexdigest().encode() in content
        assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}

    @pytest.mark.parametrize("name", ["", " ", "-x", "a b", "a\n", "a/b", "ä", "x" * 65, "\x1b[2J"])
    def test_odd_name_is_refused(self, tmp_path: Path, name: str) -> None:
        """A name is shown in tables and typed in shells."""
        with pytest.raises(TokenInvalid, match="no name for a token"):
            create_token(tmp_path, name, Scope.READ, now=NOW)

    def test_name_is_given_once(self, tmp_path: Path) -> None:
        """A second one of a name would be revoked with the first, or not."""
        create_token(tmp_path, "new", Scope.READ, now=NOW)
        with pytest.raises(TokenInvalid, match="There is a token called new"):
            create_token(tmp_path, "new", Scope.READ, now=NOW)

    def test_unknown_name_cannot_be_revoked(self, tmp_path: Path) -> None:
        """Who mistypes a name is told, and does not think that the token has ended."""
        with pytest.raises(TokenInvalid, match="No token is called nwe"):
            revoke_token(tmp_path, "nwe")

    def test_there_is_a_bound(self, tmp_path: Path) -> None:
        """Every request is compared with all tokens."""
        for number in range(MAX_TOKENS - 1):
            create_token(tmp_path, f"token-{number}", Scope.READ, now=NOW)
        with pytest.raises(TokenInvalid, match="which is the most"):
            create_token(tmp_path, "one-more", Scope.READ, now=NOW)

    def test_many_at_once_lose_nothing(self, tmp_path: Path) -> None:
        """Changes of several processes come one after the other."""
        with ThreadPoolExecutor(8) as commands:
            list(
                commands.map(
                    lambda number: create_token(tmp_path, f"token-{number}", Scope.READ, now=NOW), range(40)
                )
            )

        assert len(names(tmp_path)) == 41

    def test_plain_copy_is_told_while_it_is_there(self, tmp_path: Path) -> None:
        """The owner is reminded of it until it is deleted."""
        prepare_admin_tokens(tmp_path, now=NOW)
        before = plain_copy(tmp_path)
        (tmp_path / "admin-token").unlink()

        assert before is not None
        assert before.name == "admin-token"
        assert plain_copy(tmp_path) is None


class TestFind:
    @given(given_token=st.text() | st.binary().map(lambda data: data.decode("utf-8", "surrogateescape")))
    def test_nothing_but_a_token_is_found(
        self, tmp_path_factory: pytest.TempPathFactory, given_token: str
    ) -> None:
        """Whatever a header may hold: no error, and no token."""
        folder = tmp_path_factory.getbasetemp() / "one-list"
        folder.mkdir(exist_ok=True)

        assert prepare_admin_tokens(folder, now=NOW).find(given_token) is None

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "is damaged"),
            (b"{", "is damaged"),
            (b'{"version":1}', "is damaged"),
            (
                b'{"version":1,"tokens":[{"name":"a","scope":"root","sha256":"","created_at":1}]}',
                "is damaged",
            ),
            (
                '{"version":1,"tokens":[{"name":"a","scope":"read","sha256":"é","created_at":1}]}'.encode(),
                "is dam",
            ),
            (b'{"version":2,"tokens":[]}', "has version 2, not 1"),
        ],
    )
    def test_damaged_list_lets_nobody_in(self, tmp_path: Path, content: bytes, message: str) -> None:
        """Neither the running service nor the next start guesses, and the sentence names the file."""
        tokens = prepare_admin_tokens(tmp_path, now=NOW)
        tokens.find(first_token(tmp_path))
        (tmp_path / "admin-tokens.json").write_bytes(content)

        with pytest.raises(ConfigError, match=f"admin-tokens.json {message}"):
            tokens.find(first_token(tmp_path))
        with pytest.raises(ConfigError, match=f"admin-tokens.json {message}"):
            prepare_admin_tokens(tmp_path, now=NOW)

    def test_lost_list_lets_nobody_in(self, tmp_path: Path) -> None:
        """What was in force is in force no more when its list is gone."""
        tokens = prepare_admin_tokens(tmp_path, now=NOW)
        tokens.find(first_token(tmp_path))
        (tmp_path / "admin-tokens.json").unlink()

        with pytest.raises(ConfigError, match="cannot be read: No such file"):
            tokens.find(first_token(tmp_path))
