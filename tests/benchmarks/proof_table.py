"""The table of every method: the tests that show it to be right, and its effect and cost as the proof's parts measured them.

It reads what `proof` wrote. A figure that was not measured is a dash, never a number from elsewhere.
"""

from dataclasses import dataclass
from statistics import median
from typing import Any

from app.refresh.methods import OBJECTIVES, ONLINE
from tests.benchmarks.proof_cost import EXPO, PAD, SEVERAL, SOUP
from tests.benchmarks.proof_several import TAKEN_OUT
from tests.benchmarks.proof_soups import half

Found = dict[str, Any]
HEADS = ("method", "arXiv", "works: the tests", "effect", "cost")
EXPLAINED = "| PARL, full bilevel SAIL | 2308.02585, 2406.15567 | not imitated: they need second derivatives through the policy | – | – |"


@dataclass(frozen=True)
class Decoding:
    """A way of answering: the `arm` whose effect some part measured, and what the part `cost` `timed`."""

    name: str
    paper: str
    tests: tuple[str, ...]
    arm: str = ""
    timed: str = ""


DECODING = (
    Decoding("Linear Alignment", "2401.11458", ("test_rules_are_used_with_the_prompted_nucleus", "test_without_the_mask_it_is_transformers_guidance"), "linear_aligned ratio=2", "linear_aligned ratio=2"),
    Decoding("… under a KL budget", "ours", ("test_kl_budget_is_kept_and_used_up",), "linear_aligned kl_budget=0.5 ratio=20", "linear_aligned kl_budget=0.5 ratio=10"),
    Decoding("… of several principles", "2401.11458", ("test_two_principles_by_hand", "test_several_principles_and_a_negative_weight"), "several", SEVERAL.name),
    Decoding("Amulet", "2502.19148", ("test_one_step_is_the_whole_game", "test_alpha_0_is_the_prompted_arm"), "amulet amulet_alpha=2", "amulet"),
    Decoding("PAD", "2410.04070", ("test_guided_by_hand", "test_weight_0_is_the_original_and_weight_1_the_personal_model_among_the_first_tokens"), "adapter_guided", PAD),
    Decoding("best of n", "–", ("test_the_annotators_taste_decides", "test_the_answers_are_the_prompted_arms_and_the_best_of_one_is_it"), "best_of_n", "best_of_n count=4 annotator=implicit"),
    Decoding("Personalized Soups", "2310.11564", ("test_a_blend_is_the_model_with_the_weighted_deltas_merged", "test_a_soup_of_one_is_it_and_order_does_not_matter"), "soup", SOUP),
    Decoding("ExPO", "2404.16792", ("test_expo_goes_from_the_original_model_through_the_version_and_beyond",), "expo", EXPO),
)  # fmt: skip
TESTS = {
    "dpo": ("test_dpo_by_hand", "test_every_objective_is_trls"),
    "ipo": ("test_ipo_of_means_by_hand", "test_every_objective_is_trls"),
    "ipo_sum": ("test_ipo_of_means_by_hand",),
    "slic": ("test_slic_by_hand", "test_every_objective_is_trls"),
    "ulma": ("test_ulma_by_hand",),
    "aihf": ("test_aihf_by_hand_and_at_its_neutral_value",),
    "hpo": ("test_hpo_by_hand_and_at_its_neutral_value",),
    "fa": ("test_alignment_by_likelihood_alone",),
    "rwr": ("test_alignment_by_likelihood_alone",),
    "ca": ("test_conditional_alignment_answers_by_the_reward_that_is_asked_for", "test_conditional_alignment_is_measured_as_it_is_asked_and_never_published"),
    "oaif": ("test_only_the_judge_steers_the_answers_shorter_or_longer",),
    "sail": ("test_sail_labels_by_its_own_reward_and_learns_from_choices_beside",),
    "osp": ("test_a_doubt_is_osps_soft_label", "test_at_its_neutral_value_a_method_is_oaif"),
    "optune": ("test_optune_answers_anew_where_the_reward_was_lowest_and_keeps_the_other_answers", "test_at_its_neutral_value_a_method_is_oaif"),
    "bpo": ("test_bpo_is_measured_against_a_policy_that_was", "test_at_its_neutral_value_a_method_is_oaif"),
    "sapo": ("test_sapo_rejects_what_its_average_makes_of_a_cut_answer",),
    "mpo": ("test_mpo_without_hard_pairs_is_dpo_on_the_pairs",),
    "dpo with sft_weight 1": ("test_aihf_is_trls_loss_with_likelihood_beside_it_and_fa_that_alone",),
    "dpo, reference previous": ("test_renewals_are_spread_evenly_and_make_the_policy_the_reference",),
    "dpo, reference ema": ("test_an_average_moves_as_trls_callback_moves_its_reference",),
}  # fmt: skip


def methods_table(measured: dict[str, Found]) -> list[str]:
    """What the columns mean, and the table.

    Args:
        measured: what there is of the parts, by name.
    """
    rows = [_decoding(method, measured) for method in DECODING]
    rows += [_learning(name, measured.get("methods", {}).get("rows", {})) for name in TESTS]
    lines = [_line(HEADS), _line(["---"] * len(HEADS)), *map(_line, rows), EXPLAINED]
    return [
        "*Effect* while decoding: fidelity against the asked arm, of PAD and mixtures against the plain one, of several principles answers that "
        "follow both, and the share of fluent answers. While learning: choices kept aside that come out right, by how many nats, and "
        "answers in the manner that was learnt. *Cost* while decoding: seconds (else forwards) for each of the asked arm's, and what is paid once; "
        "while learning: seconds. Brackets are 95 % intervals.",
        "\n".join(lines),
    ]


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def _named(tests: tuple[str, ...]) -> str:
    return ", ".join(f"`{test}`" for test in tests)


def _decoding(method: Decoding, measured: dict[str, Found]) -> list[str]:
    effect, cost = "–", "–"
    if method.arm in ("soup", "expo"):
        if "blends" in measured:
            effect = _mixture(method.arm, measured["blends"])
    elif method.arm in ("adapter_guided", "best_of_n"):
        if "blends" in measured:
            further = measured["blends"]["further"]
            key = "guided minus baseline" if method.arm == "adapter_guided" else "best minus prompted"
            (one,) = (f for f in further["figures"] if f["name"].startswith(method.arm))
            judge = "markers" if method.arm == "adapter_guided" else "implicit"
            effect = f"{judge} {_gain(further[key])}, fluent {_share(one['scores']['fluent'])}"
    elif method.arm == "several":
        if "several" in measured:
            effect = _several(measured["several"])
    elif method.arm and "strength" in measured:
        effect, cost = _arm(method.arm, measured["strength"])
    timed = measured.get("cost", {"versions": {}, "arms": {}})
    name = method.timed.format(**timed["versions"]) if timed["versions"] else method.timed
    if name in timed["arms"]:
        cost = f"{median(timed['arms'][name]['seconds of prompted']):.2f} times the seconds"
        mixing = timed["seconds to mix"].get(name.rpartition("@ ")[2])
        cost += f", {median(mixing):.3f} s once" if mixing else ""
    return [method.name, method.paper, _named(method.tests), effect, cost]


def _arm(arm: str, strength: Found) -> tuple[str, str]:
    figures = {one["name"]: one for one in strength["figures"]}
    if arm not in figures:
        return "–", "–"
    (win,) = (
        w
        for w in strength["wins"]
        if w["judge"] == "classifier" and {w["one"], w["other"]} == {arm, "principle_prompted"}
    )
    sign = 1 if win["one"] == arm else -1
    low, high = sorted(sign * end for end in win["gain"]["interval"])
    gain = {"mean": sign * win["gain"]["value"], "low": low, "high": high, "n": win["gain"]["n"]}
    times = figures[arm]["forwards"] / figures["principle_prompted"]["forwards"]
    fluent = _share(figures[arm]["scores"]["fluent"])
    return f"classifier {_gain(gain)}, fluent {fluent}", f"{times:.2f} times the forwards"


def _several(found: Found) -> str:
    ways, step = found["ways"], found["steps"][f"{TAKEN_OUT} minus aligned with both in one prompt"]
    shown = {
        "weights 1 and 1": ways[SEVERAL.name],
        "the first alone": ways["aligned with the first"],
        "asked for both in one prompt": ways["asked for both in one prompt"],
    }
    both = ", ".join(f"{name} {_share(way['both'])}" for name, way in shown.items())
    before, after = ways["aligned with both in one prompt"]["second"], ways[TAKEN_OUT]["second"]
    return (
        f"both in one answer: {both}; fluent {_share(ways[SEVERAL.name]['fluent'])}; told both, and the second at -1 beside it: the "
        f"second shows in {_share(after)}, without that in {_share(before)}, implicit {_gain(step['implicit second'])}"
    )


def _mixture(kind: str, blends: Found) -> str:
    markers, versions = blends[kind]["markers"], blends["versions"]
    one, other = blends["styles"]
    if kind == "soup":
        equal = markers[SOUP.format(**versions)]
        best = blends["both"]["markers"][f"baseline @ {blends['both']['mixture']}"]
        first, second = blends["both"]["styles"]
        return (
            f"halves: {one} {_share(equal[one])}, {other} {_share(equal[other])}, both {_share(equal['both'])}, fluent {_share(equal['fluent'])}; "
            f"the best found, {_soup(blends['both']['searched'][0])}: {first} {_share(best[first])}, {second} {_share(best[second])}, both {_share(best['both'])}, "
            f"fluent {_share(best['fluent'])}"
        )
    itself, past = (markers[f"baseline @ {versions[half(one)]}{times}"] for times in ("", "*2"))
    return f"{one} {_share(itself[one])} at 0, {_share(past[one])} at +1; fluent {_share(itself['fluent'])}, {_share(past['fluent'])}"


def _soup(found: Found) -> str:
    parts = " + ".join(f"{weight:g} {style}" for style, weight in zip(found["styles"], found["weights"], strict=True))
    return f"{parts}, half-trained" if found["half_trained"] else parts


def _learning(name: str, rows: dict[str, Found]) -> list[str]:
    known = OBJECTIVES.get(name) or ONLINE.get(name)
    paper = known.paper if known else {"dpo, reference previous": "2406.12168", "dpo, reference ema": "2405.20830"}.get(name, "2404.19733")  # fmt: skip
    if name not in rows:
        return [name, paper, _named(TESTS[name]), "–", "–"]
    row = rows[name]
    low, high = row["margin"]["interval"]
    effect = (
        f"right {_share(row['accuracy'])}, {row['margin']['value']:+.1f} nats [{low:+.1f}, {high:+.1f}], in the manner {_share(row['style'])}, "
        f"well formed {_share(row['well_formed'])}"
    )
    if "asked for the lowest" in row:
        effect += f"; asked for the lowest reward, in the manner {_share(row['asked for the lowest']['style'])}"
    return [name, paper, _named(TESTS[name]), effect, f"{row['seconds']:.0f} s, {row['steps']} steps"]


def _share(found: Found) -> str:
    low, high = found["interval"]
    return f"{found['value']:.2f} [{low:.2f}, {high:.2f}] (n = {found['n']})"


def _gain(found: Found) -> str:
    return f"{found['mean']:+.2f} [{found['low']:+.2f}, {found['high']:+.2f}] (n = {found['n']})"
