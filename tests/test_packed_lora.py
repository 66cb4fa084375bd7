"""A LoRA over a packed layer gives what peft's own forward gives, forwards and backwards; attention stays in float32 under autocast."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor

from app.attention import IN_FLOAT32
from app.model import LanguageModel
from app.packed import pack_linears
from app.packed_lora import Adapted, pack_adapters

CLOSE = {torch.float32: 1e-5, torch.bfloat16: 3e-2}


def a_model(**config: object) -> torch.nn.Module:
    """One packed layer under an adapter whose B is not zero."""
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(48, 80)).requires_grad_(False)
    pack_linears(model)
    adapted = get_peft_model(model, LoraConfig(r=4, lora_alpha=12, target_modules=["0"], **config))
    layer = model[0]
    torch.nn.init.normal_(layer.lora_B["default"].weight, std=0.3)
    return adapted.eval().base_model.model


def results(model: torch.nn.Module, inputs: Tensor, bf16: bool) -> list[Tensor]:
    """The output, and the gradients of the input and of A and B of a weighted sum of it."""
    inputs, layer = inputs.clone().requires_grad_(), model[0]
    matrices = [layer.lora_A["default"].weight, layer.lora_B["default"].weight]
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        out = model(inputs)
    loss = (out.float() * torch.arange(1, 81) / 80).sum()
    return [out.detach(), *torch.autograd.grad(loss, [inputs, *matrices])]


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("shape", [(1,), (2, 5), (3, 100)])
def test_output_and_gradients_are_those_of_pefts_own_forward(shape: tuple[int, ...], bf16: bool):
    model, inputs = a_model(), torch.randn(*shape, 48, generator=torch.Generator().manual_seed(2))
    theirs = results(model, inputs, bf16)
    assert pack_adapters(model) == 1 and isinstance(model[0].forward, Adapted)
    close = CLOSE[torch.bfloat16 if bf16 else torch.float32]
    for ours, plain in zip(results(model, inputs, bf16), theirs, strict=True):
        assert ours.dtype == plain.dtype and ours.shape == plain.shape
        assert float((ours.float() - plain.float()).norm() / plain.float().norm()) < close


def test_it_is_one_operation_that_autograd_sees():
    model = a_model()
    pack_adapters(model)
    assert type(model(torch.ones(2, 48)).grad_fn).__name__ == "_AdaptedLinearBackward"


@pytest.mark.parametrize("config", [{"lora_dropout": 0.5}, {"use_dora": True}, {"lora_bias": True}])
def test_what_is_more_than_a_plain_lora_is_left_to_peft(config: dict[str, object]):
    model, inputs = a_model(**config), torch.randn(3, 48)
    theirs = model(inputs)
    pack_adapters(model)
    ours = model(inputs)
    assert type(ours.grad_fn).__name__ != "_AdaptedLinearBackward" and torch.equal(ours, theirs)


def test_off_and_two_at_once_are_left_to_peft():
    model, inputs = a_model(), torch.randn(3, 48)
    layer = model[0]
    layer.update_layer("other", 2, lora_alpha=4, config=LoraConfig(r=2))
    torch.nn.init.normal_(layer.lora_B["other"].weight)
    layer.set_adapter(["default", "other"])
    both = model(inputs)
    pack_adapters(model)
    assert torch.equal(model(inputs), both)
    layer.enable_adapters(False)
    assert torch.equal(model(inputs), layer.base_layer(inputs))


def test_a_model_learns_through_it_and_its_attention_stays_in_float32(
    llama: LanguageModel, monkeypatch: pytest.MonkeyPatch
):
    assert llama._model.config._attn_implementation == IN_FLOAT32
    llama.new_adapter("learns", 4, 0)
    seen: list[torch.dtype] = []
    attention = torch.nn.functional.scaled_dot_product_attention

    def watched(query: Tensor, *rest: object, **how: object) -> Tensor:
        out = attention(query, *rest, **how)
        seen.append(out.dtype)
        return out

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
    ids = torch.tensor([[5, 6, 7, 8, 9]])
    exact = llama.logits(ids, torch.ones_like(ids), "learns")
    with torch.autocast("cpu", torch.bfloat16):
        logits = llama.logits(ids, torch.ones_like(ids), "learns")
    layers = llama._model.config.num_hidden_layers
    assert seen == [torch.float32] * 2 * layers
    assert logits.dtype == torch.bfloat16
    torch.testing.assert_close(logits.float(), exact, atol=0.05, rtol=0.05)
