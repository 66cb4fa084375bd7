"""Limits by visitor, address and all: who is refused, for how long, and that nothing is counted where nobody visits."""

import math
import time
from ipaddress import ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from app.address import client_address
from app.errors import InputError, LimitError, NotAllowedError
from app.label import Label
from app.limit_settings import LimitSettings
from app.limits import Limits, Visit, at_once, in_words, seconds_to_wait, spend, visiting
from storage.store import Store
from tests.rounds import a_round

HOME, AWAY = "192.0.2.1", "192.0.2.2"


def anybody(token: str) -> None:
    """No owner's token is set."""


def limits(**settings: str | int) -> Limits:
    return Limits(LimitSettings(**settings), anybody)


def refusal(counting: Limits, rater: str, address: str, kind: str = "votes", cost: int = 1) -> LimitError:
    with pytest.raises(LimitError) as caught:
        counting.take(kind, rater, address, cost)
    return caught.value


def test_a_visitor_is_refused_and_others_at_the_same_address_are_not():
    counting = limits(votes="2/hour")
    for _ in range(2):
        counting.take("votes", "ann", HOME)
    told = refusal(counting, "ann", HOME)
    assert "2 votes per hour are the most for one visitor" in str(told) and 0 < told.seconds <= 2 * 3600
    assert in_words(told.seconds) in str(told)
    counting.take("votes", "bob", HOME)


def test_new_secrets_do_not_help_an_address_nor_new_addresses_everybody():
    counting = limits(votes="1/hour", address=3, everybody=5)
    for number in range(3):
        counting.take("votes", f"rater {number}", HOME)
    assert "one address" in str(refusal(counting, "another", HOME))
    for number in range(2):
        counting.take("votes", f"away {number}", AWAY)
    assert "everybody together" in str(refusal(counting, "yet another", "192.0.2.3"))


def test_who_is_refused_has_used_nothing_of_the_others():
    counting = limits(votes="1/hour", address=2)
    counting.take("votes", "ann", HOME)
    for _ in range(20):
        refusal(counting, "ann", HOME)
    counting.take("votes", "bob", HOME)
    (state,) = [state for state in counting.describe() if state.kind == "votes"]
    assert (state.used, state.refused, state.rates, state.times_address) == (2, 20, "1/hour", 2)


def test_without_an_address_or_a_rater_only_what_is_known_counts():
    counting = limits(votes="1/hour", address=1, everybody=4)
    for _ in range(2):
        counting.take("votes", "", "")
    counting.take("votes", "", HOME)
    assert "one address" in str(refusal(counting, "", HOME))
    counting.take("votes", "ann", "")
    assert "everybody" in str(refusal(counting, "bob", ""))


@pytest.mark.parametrize("settings", [{"votes": "off"}, {"address": 0, "everybody": 0}])
def test_what_is_off_refuses_nobody(settings: dict):
    counting = limits(**settings)
    for _ in range(5000):
        counting.take("votes", "" if settings.get("address") == 0 else "ann", HOME)
    assert next(state.used for state in counting.describe() if state.kind == "votes") == 5000


def test_the_longer_of_two_windows_holds():
    counting = limits(votes="50/minute;3/day")
    for _ in range(3):
        counting.take("votes", "ann", HOME)
    assert "3 votes per day" in str(refusal(counting, "ann", HOME))


def test_a_cost_beyond_the_limit_is_told_that_waiting_does_not_help():
    told = refusal(limits(tokens="100/minute"), "ann", HOME, "tokens", 480)
    assert "asks for 480" in str(told) and "ask for less" in str(told) and told.seconds == 0


def test_costs_add_up():
    counting = limits(tokens="1000/hour")
    counting.take("tokens", "ann", HOME, 480)
    counting.take("tokens", "ann", HOME, 480)
    assert "480 more" in str(refusal(counting, "ann", HOME, "tokens", 480))
    counting.take("tokens", "ann", HOME, 40)


def test_uploads_are_counted_for_all_together():
    counting = limits(upload_mb="10/hour")
    counting.take("upload_mb", "", HOME, 8)
    assert "megabytes" in str(refusal(counting, "", AWAY, "upload_mb", 4))


def test_a_window_passes():
    counting = limits(votes="1/second")
    counting.take("votes", "ann", HOME)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            counting.take("votes", "ann", HOME)
            return
        except LimitError as error:
            time.sleep(error.seconds)
    pytest.fail("what is allowed once a second was refused for half a minute")


@given(
    st.integers(1, 1000),
    st.integers(1, 86400),
    st.integers(0, 1000),
    st.integers(0, 1000),
    st.floats(0.001, 1),
)
@example(703, 760, 0, 760, 0.5)  # the wait is a whole second that a sum of floats falls short of
def test_whoever_waits_as_long_as_told_is_let_in_and_a_second_less_is_too_short(
    amount: int, expiry: int, before: int, now: int, share: float
):
    left = expiry * share
    room = amount - 1

    def counted(seconds: float) -> float:
        if seconds <= left:
            return before * (left - seconds) / expiry + now
        return now * max(0.0, expiry - (seconds - left)) / expiry

    if math.floor(counted(0)) <= room:
        return
    wait = seconds_to_wait(room, expiry, before, left if before else 0.0, now, left)
    assert math.floor(counted(wait)) <= room
    assert wait == 1 or math.floor(counted(wait - 1) + 1e-6) > room


def test_nothing_is_counted_where_nobody_visits():
    counting = limits(votes="1/hour", at_once=1)
    with visiting(Visit(counting, HOME)):
        spend("votes", "ann")
    for _ in range(100):
        spend("votes", "ann")
    with at_once("ann"), at_once("ann"):
        pass
    assert {state.kind: state.used for state in counting.describe()}["votes"] == 1, "the visit's own one"


def test_a_use_case_counts_for_whoever_visits(tmp_path):
    store = Store(tmp_path)
    store.add_round(a_round("r1", "Why?"))
    counting, label = limits(votes="2/hour"), Label(store)
    with visiting(Visit(counting, HOME)):
        label.vote("r1", "first", "ann")
        label.vote("r1", "first", "ann")
        with pytest.raises(LimitError, match="2 votes per hour"):
            label.vote("r1", "second", "ann")
        label.vote("r1", "tie", "bob")
    label.vote("r1", "second", "ann")  # nobody visits any more
    assert {(vote.rater, vote.choice) for vote, _ in store.votes()} == {("ann", "first"), ("bob", "tie")}


def test_places_at_the_same_time_are_given_back():
    counting = limits(at_once=2, at_once_address=3)
    with visiting(Visit(counting, HOME)):
        with at_once("ann"), at_once("ann"):
            with pytest.raises(LimitError, match="2 are the most for one visitor"), at_once("ann"):
                pass
            with at_once("bob"), pytest.raises(LimitError, match="3 are the most for one address"), at_once("cid"):
                pass
        for _ in range(10):
            with at_once("ann"):
                pass
    assert not counting._open


def test_open_streams_by_address_and_in_all():
    counting = limits(streams=1, streams_everybody=2)
    with counting.stream(HOME), counting.stream(AWAY):
        with pytest.raises(LimitError, match="1 are the most for one address"), counting.stream(HOME):
            pass
        with pytest.raises(LimitError, match="2 are the most for everybody"), counting.stream("192.0.2.3"):
            pass


@pytest.mark.parametrize("rates", ["", "fast", "0/minute", "-1/minute", "10 per fortnight", "1/minute;nonsense"])
def test_malformed_rates_are_refused_at_the_start(rates: str):
    with pytest.raises(ValidationError, match="must be rates such as"):
        LimitSettings(votes=rates)


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PLUMBLINE_LIMIT_VOTES", "7/minute")
    monkeypatch.setenv("PLUMBLINE_LIMIT_ADDRESS", "0")
    settings = LimitSettings()
    assert (settings.votes, settings.address) == ("7/minute", 0)


def test_the_owner_changes_limits_and_nobody_else_does():
    def owner(token: str) -> None:
        if token != "kept":
            raise NotAllowedError("this needs the owner's token")

    counting = Limits(LimitSettings(votes="1/hour"), owner)
    counting.take("votes", "ann", HOME)
    with pytest.raises(NotAllowedError):
        counting.override("guessed", votes="9/hour")
    refusal(counting, "ann", HOME)
    counting.override("kept", votes="9/hour", at_once=1)
    counting.take("votes", "ann", HOME)
    assert counting.settings.at_once == 1
    with pytest.raises(InputError, match="rates such as"):
        counting.override("kept", votes="many")
    with pytest.raises(InputError, match="no limit 'vote'"):
        counting.override("kept", vote="1/hour")
    assert counting.settings.votes == "9/hour"


def test_the_defaults_do_not_stop_fifty_raters_behind_one_address():
    counting = Limits(LimitSettings(), anybody)
    for number in range(50):
        for _ in range(120):
            counting.take("votes", f"rater {number}", HOME)
        for _ in range(20):
            counting.take("comparisons", f"rater {number}", HOME)
            counting.take("tokens", f"rater {number}", HOME, 3 * 160)


# --- whose address it is


@pytest.mark.parametrize(
    ("forwarded", "proxies", "address"),
    [
        ([], 0, "198.51.100.7"),
        (["203.0.113.9"], 0, "198.51.100.7"),
        (["203.0.113.9"], 1, "203.0.113.9"),
        (["6.6.6.6, 203.0.113.9"], 1, "203.0.113.9"),
        (["6.6.6.6", "203.0.113.9, 10.0.0.2"], 2, "203.0.113.9"),
        (["203.0.113.9"], 2, "198.51.100.7"),
        (["not an address"], 1, "198.51.100.7"),
        (["::ffff:203.0.113.9"], 1, "203.0.113.9"),
        (["[2001:db8:1:2:3::4]"], 1, "2001:db8:1:2::/64"),
    ],
)
def test_the_address_is_the_peers_but_for_what_trusted_proxies_append(forwarded: list, proxies: int, address: str):
    assert client_address("198.51.100.7", forwarded, proxies) == address


@given(st.lists(st.text(), max_size=4))
def test_what_a_visitor_sends_does_not_change_their_address_behind_one_proxy(sent: list[str]):
    assert client_address("10.0.0.2", [*sent, "203.0.113.9"], 1) == "203.0.113.9"
    assert client_address("10.0.0.2", sent, 0) == "10.0.0.2"


@given(st.ip_addresses(v=6).filter(lambda a: not a.ipv4_mapped))
def test_one_network_of_ipv6_is_one_address(address):
    found = ip_network(client_address(str(address), [], 0))
    assert found.prefixlen == 64 and address in found
