"""Packed linear layers give what plain ones give, forwards and backwards, in every dtype, with and without adapters."""

import pytest
import torch
from torch import Tensor

from app.model import LanguageModel
from app.packed import Packed, pack_linears

SHAPES = [(1,), (2,), (3, 1), (2, 5), (1, 1, 1), (0, 4), (7, 37), (2, 256), (257,)]
CLOSE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}


def a_layer(bias: bool, dtype: torch.dtype) -> torch.nn.Linear:
    torch.manual_seed(1)
    return torch.nn.Linear(48, 80, bias=bias, dtype=dtype).requires_grad_(False)


def through(layer: torch.nn.Linear, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """What comes out, and the gradient of the inputs of a weighted sum of it."""
    inputs = inputs.clone().requires_grad_()
    out = layer(inputs)
    (out.float() * torch.arange(1, 81) / 80).sum().backward()
    return out.detach(), inputs.grad


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_outputs_and_gradients_are_those_of_the_plain_layer(shape: tuple[int, ...], bias: bool, dtype: torch.dtype):
    inputs = torch.randn(*shape, 48, generator=torch.Generator().manual_seed(2)).to(dtype)
    layer = a_layer(bias, dtype)
    plain = through(layer, inputs)
    assert pack_linears(torch.nn.Sequential(layer)) == 1 and isinstance(layer.forward, Packed)
    for ours, theirs in zip(through(layer, inputs), plain, strict=True):
        assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
        torch.testing.assert_close(ours, theirs, atol=CLOSE[dtype], rtol=CLOSE[dtype])


def test_autocast_computes_in_its_dtype_and_gives_gradients_in_the_inputs():
    inputs = torch.randn(4, 48, generator=torch.Generator().manual_seed(2))
    layer = a_layer(True, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        plain = through(layer, inputs)
        pack_linears(layer)
        ours = through(layer, inputs)
    assert [part.dtype for part in ours] == [torch.bfloat16, torch.float32]
    for one, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(one, other, atol=2e-2, rtol=2e-2)


def test_what_was_packed_while_decoding_serves_training():
    layer = a_layer(False, torch.float32)
    pack_linears(layer)
    with torch.inference_mode():
        layer(torch.ones(2, 48))
    assert through(layer, torch.ones(2, 48))[1].isfinite().all()


def test_layers_that_learn_are_left_alone():
    layer = a_layer(False, torch.float32).requires_grad_()
    assert pack_linears(layer) == 0
    assert "forward" not in vars(layer)


def test_a_model_has_the_logits_and_the_names_it_had(tiny_model: LanguageModel):
    model = tiny_model._model
    packed = {name for name, layer in model.named_modules() if "forward" in vars(layer)}
    assert packed == {name for name, layer in model.named_modules() if type(layer) is torch.nn.Linear}
    ids = torch.tensor([[5, 6, 7, 8, 9]])
    with torch.inference_mode():
        ours = tiny_model.logits(ids, torch.ones_like(ids), None)
        for name in packed:
            del model.get_submodule(name).forward
        plain = tiny_model.logits(ids, torch.ones_like(ids), None)
    torch.testing.assert_close(ours, plain, atol=1e-4, rtol=1e-4)
