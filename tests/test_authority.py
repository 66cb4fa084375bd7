"""Who is the owner: with a token, without one, on a Space, by login; and what the log keeps to itself."""

import logging

import pytest
from pydantic import SecretStr

import app.authority
from app.authority import Authority, is_owners_login
from app.errors import NotAllowedError
from app.log_tail import LINES, LONGEST_LINE, LogTail
from app.settings import Settings

WRONG = ["", None, "wrong", "the owner's ", 7, ["the owner's"], "\ud800", "ключ"]


def test_on_ones_own_machine_without_a_token_everybody_is_the_owner():
    open_ = Authority()
    assert open_.is_open
    for token in WRONG:
        open_.authorise(token)


@pytest.mark.parametrize("token", WRONG)
def test_only_the_token_is_the_token(token: object):
    guarded = Authority(SecretStr("the owner's"))
    guarded.authorise("the owner's")
    assert not guarded.is_open
    with pytest.raises(NotAllowedError, match="PLUMBLINE_ADMIN_TOKEN"):
        guarded.authorise(token)
    with pytest.raises(NotAllowedError):
        guarded.sign_in(token)


@pytest.mark.parametrize("token", WRONG)
def test_on_a_space_without_a_token_nobody_is_and_the_message_says_how_to_set_one(token: object):
    space = Authority(None, "ann/plumb", "ann")
    assert not space.is_open
    with pytest.raises(NotAllowedError, match=r"set the secret PLUMBLINE_ADMIN_TOKEN in the Space's settings.*as ann"):
        space.authorise(token)


@pytest.mark.parametrize(
    ("username", "space", "author", "is_owner"),
    [
        ("ann", "ann/plumb", "ann", True),
        ("Ann", "ann/plumb", "ann", True),
        ("bob", "ann/plumb", "ann", False),
        ("", "ann/plumb", "ann", False),
        ("", "ann/plumb", "", False),
        ("ann", "", "ann", False),  # outside a Space Gradio makes logins up
        ("ann", "ann/plumb", "", False),
    ],
)
def test_the_login_of_a_space_s_account_is_the_owner_s(username: str, space: str, author: str, is_owner: bool):
    assert is_owners_login(username, space, author) is is_owner
    authority = Authority(SecretStr("the owner's"), space, author)
    if is_owner:
        authority.authorise(authority.sign_in("", username))
    else:
        with pytest.raises(NotAllowedError):
            authority.sign_in("", username)


def test_a_key_stands_for_the_token_until_it_is_given_back_or_too_old(monkeypatch: pytest.MonkeyPatch):
    guarded = Authority(SecretStr("the owner's"))
    one, other = guarded.sign_in("the owner's"), guarded.sign_in("the owner's")
    assert one != other and "the owner's" not in (one, other) and len(one) > 40
    guarded.authorise(one)
    guarded.sign_out(one)
    with pytest.raises(NotAllowedError):
        guarded.authorise(one)
    guarded.authorise(other)
    monkeypatch.setattr(app.authority, "KEY_SECONDS", 0.0)
    with pytest.raises(NotAllowedError):
        guarded.authorise(guarded.sign_in("the owner's"))
    with pytest.raises(NotAllowedError):
        Authority(SecretStr("the owner's")).authorise(other)  # another process knows no keys of this one


def test_the_settings_of_a_space_come_without_a_prefix(monkeypatch: pytest.MonkeyPatch):
    assert (Settings().space_id, Settings().space_author_name) == ("", "")
    monkeypatch.setenv("SPACE_ID", "ann/plumb")
    monkeypatch.setenv("SPACE_AUTHOR_NAME", "ann")
    assert (Settings().space_id, Settings().space_author_name) == ("ann/plumb", "ann")


def test_the_log_keeps_its_last_lines_without_secrets():
    settings = Settings(admin_token=SecretStr("hunter2"), judge_key=SecretStr("key-of-the-judge"))
    tail = LogTail(settings.secrets())
    log = logging.Logger("app.test")
    log.addHandler(tail)
    log.warning("asked with %s and %s", "hunter2", "key-of-the-judge")
    assert tail.lines()[0].endswith("WARNING app.test: asked with *** and ***")
    log.info("x" * 10_000)
    assert len(tail.lines()[1]) == LONGEST_LINE
    for number in range(LINES + 5):
        log.info("line %s\n", number)
    assert len(tail.lines()) == LINES and tail.lines()[-1].endswith(f"line {LINES + 4}")
    assert not tail.lines()[0].endswith("line 0")


def test_the_log_is_remembered_from_its_start_to_its_end():
    tail = LogTail([])
    tail.start()
    tail.start()
    try:
        logging.getLogger("app.somewhere").info("the owner did something")
        assert [line.partition(" INFO ")[2] for line in tail.lines()] == ["app.somewhere: the owner did something"]
    finally:
        tail.stop()
    logging.getLogger("app.somewhere").info("and again")
    assert len(tail.lines()) == 1
