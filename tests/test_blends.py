"""Mixtures of adapter versions: how they are written, and that the sum is exact to the last layer."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from app import blends
from app.errors import InputError, ModelError
from app.model import LOADED_ADAPTERS, LanguageModel

# --- how a mixture is written


@pytest.mark.parametrize(
    ("text", "weights", "name"),
    [
        ("v3*1.5", {"v3": 1.5}, "v3*1.5"),
        ("v3*1", {"v3": 1.0}, "v3"),
        ("v3*0", {}, ""),
        (" v10 * 0.50 + v2*0.5 ", {"v2": 0.5, "v10": 0.5}, "v2*0.5+v10*0.5"),
        ("v4+v2*0.125", {"v2": 0.125, "v4": 1.0}, "v2*0.125+v4"),
        ("v2*0+v4*1.000", {"v4": 1.0}, "v4"),
    ],
)
def test_one_mixture_has_one_name(text, weights, name):
    assert blends.is_blend(text)
    assert blends.parse(text) == weights and list(blends.parse(text)) == list(weights)
    assert blends.name(weights) == name


def test_expo_goes_from_the_original_model_through_the_version_and_beyond():
    found = {alpha: blends.expo("v3", alpha) for alpha in (-1, -0.5, 0, 0.15, 2)}
    assert found == {-1: "none", -0.5: "v3*0.5", 0: "v3", 0.15: "v3*1.15", 2: "v3*3"}
    for alpha in (-1.05, 2.05):
        with pytest.raises(InputError, match="must lie from -1, the original model, to 2"):
            blends.expo("v3", alpha)


def test_a_soup_is_written_in_the_order_of_its_versions_and_without_what_has_no_share():
    assert blends.soup({"v10": 0.5, "v2": 0.5, "v4": 0.0}) == "v2*0.5+v10*0.5"
    assert blends.soup({"v2": 0.0}) == "none"
    assert blends.soup({"v2": 1 / 3, "v3": 1.0}) == "v2*0.333+v3"


@given(st.dictionaries(st.integers(1, 999), st.integers(1, 3000), min_size=1, max_size=4))
def test_a_name_reads_back_as_what_it_names(thousandths):
    weights = {f"v{number}": thousandths[number] / 1000 for number in sorted(thousandths)}
    assert blends.parse(blends.name(weights)) == weights


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("v3*", "reads like"),
        ("v3*-1", "reads like"),
        ("v3*nan", "reads like"),
        ("v3*1e2", "reads like"),
        ("v3*0.1234", "three decimals"),
        ("+v3", "reads like"),
        ("../v3*2", "reads like"),
        ("none*2", "reads like"),
        ("v3*2*2", "reads like"),
        ("v3*3.001", "weight of v3 is 3.001; it must be 0 to 3"),
        ("v3*0.5+v3*0.5", "names a version twice"),
        ("v1+v2+v3+v4+v5", "mixes 5 versions; 4"),
    ],
)
def test_what_is_no_mixture_is_refused_in_words(text, message):
    with pytest.raises(InputError, match=message.replace("*", r"\*")):
        blends.parse(text)


# --- what it computes


@pytest.fixture(params=["llama", "gpt2"])
def kind(request):
    return request.param


@pytest.fixture
def folders(kind, tiny_folders, tmp_path):
    """Adapters of different ranks, scalings and layers, saved: v1 of everything, v2 rank-stabilised and of some layers only."""
    model = LanguageModel.load(str(tiny_folders[kind]))
    some = ["q_proj", "down_proj"] if kind == "llama" else ["c_fc"]
    model.new_adapter("v1", rank=4, seed=1)
    model._peft.add_adapter(
        "v2", LoraConfig(task_type="CAUSAL_LM", r=3, lora_alpha=5, use_rslora=True, target_modules=some)
    )
    torch.manual_seed(5)
    found = {}
    for version in ("v1", "v2"):
        with torch.no_grad():
            for key, parameter in model._model.named_parameters():
                if f".{version}." in key:
                    parameter.normal_(0, 0.1)
        model.save_adapter(version, tmp_path / version)
        found[version] = tmp_path / version
    return found


SCALINGS = {"v1": 8 / 4, "v2": 5 / 3**0.5}


def some_ids(model):
    return torch.tensor([model.chat_ids([{"role": "user", "content": "Why is the sky blue?"}])])


def logits_of(model, adapter):
    ids = some_ids(model)
    return model.logits(ids, torch.ones_like(ids), adapter).detach()


def merged(folder, folders, weights):
    """A plain transformers model with every weight moved by hand."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        for version, weight in weights.items():
            tensors = load_file(folders[version] / "adapter_model.safetensors")
            for key in [key for key in tensors if ".lora_A." in key]:
                layer = model.get_submodule(key.removeprefix("base_model.model.").partition(".lora_A.")[0])
                delta = weight * SCALINGS[version] * tensors[key.replace(".lora_A.", ".lora_B.")] @ tensors[key]
                layer.weight += delta.T if isinstance(layer, Conv1D) else delta
    return model


@pytest.mark.parametrize(
    "weights", [{"v1": 1.5}, {"v2": 0.25}, {"v1": 0.5, "v2": 0.5}, {"v1": 1.0, "v2": 2.0}], ids=blends.name
)
def test_a_blend_is_the_model_with_the_weighted_deltas_merged(kind, tiny_folders, folders, weights):
    model = LanguageModel.load(str(tiny_folders[kind]))
    before = logits_of(model, None)
    model.blend_adapter("blend", weights, folders)
    expected = merged(tiny_folders[kind], folders, weights)(input_ids=some_ids(model)).logits.detach()
    assert torch.allclose(logits_of(model, "blend"), expected, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(expected, before, atol=1e-2)
    assert torch.allclose(logits_of(model, None), before, atol=1e-6)


def test_a_soup_of_one_is_it_and_order_does_not_matter(kind, tiny_folders, folders):
    model = LanguageModel.load(str(tiny_folders[kind]))
    model.blend_adapter("one", {"v2": 1.0}, folders)
    model.blend_adapter("ab", {"v1": 0.5, "v2": 0.5}, folders)
    model.blend_adapter("ba", {"v2": 0.5, "v1": 0.5}, folders)
    model.blend_adapter("nothing", {"v1": 0.0}, folders)
    assert torch.allclose(logits_of(model, "one"), logits_of(model, "v2"), atol=1e-5)
    assert torch.allclose(logits_of(model, "ab"), logits_of(model, "ba"), atol=1e-5)
    assert torch.allclose(logits_of(model, "nothing"), logits_of(model, None), atol=1e-6)


def test_a_blend_makes_room_and_is_made_again_where_it_answers_still(tiny_folders, folders, kind):
    model = LanguageModel.load(str(tiny_folders[kind]))
    model.blend_adapter("blend", {"v1": 0.5, "v2": 1.5}, folders)
    before = logits_of(model, "blend")
    for i in range(LOADED_ADAPTERS):
        model.load_adapter(f"other{i}", folders["v2"])
    assert "blend" not in model._peft.peft_config and "v1" not in model._peft.peft_config
    with torch.inference_mode():  # as the engine asks for it
        again = logits_of(model, "blend")
    assert torch.equal(again, before)
    assert len(model._loaded) == LOADED_ADAPTERS
    model.drop_adapter("v1")
    assert torch.equal(logits_of(model, "blend"), before)


def test_a_part_that_is_gone_is_an_error_and_the_model_goes_on(kind, tiny_folders, folders, tmp_path):
    model = LanguageModel.load(str(tiny_folders[kind]))
    before = logits_of(model, None)
    with pytest.raises(ModelError, match="is not there any more"):
        model.blend_adapter("blend", {"v1": 0.5, "v9": 0.5}, {**folders, "v9": tmp_path / "v9"})
    assert torch.allclose(logits_of(model, None), before, atol=1e-6)
    model.blend_adapter("blend", {"v1": 1.0}, folders)
    assert torch.allclose(logits_of(model, "blend"), logits_of(model, "v1"), atol=1e-5)
