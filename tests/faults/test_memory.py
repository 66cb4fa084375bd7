"""A model that is too large for the machine: a sentence, and the one that was loaded before goes on answering."""

import json
import struct
from pathlib import Path

import torch
from transformers import AutoConfig

from tests.faults.conftest import child

TOO_LARGE = """
import resource
import torch
from app.errors import ModelError
from app.model import LanguageModel
torch.set_num_threads(1)
small = LanguageModel.load(sys.argv[1], "cpu", "float32")
ids = torch.tensor([small.chat_ids([{"role": "user", "content": "Tea?"}])])
before = small.logits(ids, torch.ones_like(ids), None)
used = int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmSize:"))) * 1024
resource.setrlimit(resource.RLIMIT_AS, (used + 700 * 2**20,) * 2)
for _ in range(2):
    try:
        LanguageModel.load(sys.argv[2], "cpu", "float32")
    except ModelError as error:
        print(error, flush=True)
assert torch.equal(small.logits(ids, torch.ones_like(ids), None), before)
print("still there", flush=True)
"""


def large(folder: Path, small: Path) -> Path:
    """A model of 1.6 GB in four tensors that nobody ever wrote: the file is a hole behind its header."""
    folder.mkdir()
    for file in small.iterdir():
        if not file.name.endswith(".safetensors"):
            (folder / file.name).write_bytes(file.read_bytes())
    config = AutoConfig.from_pretrained(small)
    config.update({"num_hidden_layers": 1, "hidden_size": 4096, "intermediate_size": 32768, "head_dim": 8})
    config.save_pretrained(folder)
    with torch.device("meta"):
        from transformers import AutoModelForCausalLM

        tensors = AutoModelForCausalLM.from_config(config).state_dict()
    header, end = {}, 0
    for name, tensor in tensors.items():
        header[name] = {
            "dtype": "F32",
            "shape": list(tensor.shape),
            "data_offsets": [end, end := end + 4 * tensor.numel()],
        }
    written = json.dumps({**header, "__metadata__": {"format": "pt"}}).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(written)) + written)
        file.truncate(8 + len(written) + end)
    assert end > 1.5e9
    return folder


def test_a_model_that_does_not_fit_leaves_the_old_one_answering(tiny_folders: dict[str, Path], tmp_path: Path):
    folder = large(tmp_path / "large", tiny_folders["llama"])
    with child(TOO_LARGE, tiny_folders["llama"], folder) as process:
        out, err = process.communicate()
    assert process.returncode == 0, err[-2000:]
    *told, last = out.splitlines()
    assert last == "still there"
    assert len(told) == 2 and all(
        line.startswith(f"the model {str(folder)!r} could not be loaded: ") for line in told
    ), out
