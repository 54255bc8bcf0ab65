"""Makes the archives of this folder. Needs torch 2.13 (a CPU build is enough) and safetensors.

    python make.py

kinds.bin holds every kind of tensor that is read, kinds.safetensors the same as contiguous float32.
"""
import pickle

import torch
from safetensors.torch import save_file

generator = torch.Generator().manual_seed(1)


def random(*shape):
    return torch.randn(*shape, generator=generator)


def kinds():
    base = random(6, 8)
    tied = random(5, 4)
    return {
        "plain": random(3, 4),
        "vector": random(7),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 4),
        "cube": random(2, 3, 4),
        "half": random(4, 3).half(),
        "brain": random(4, 3).bfloat16(),
        "double": random(4, 3).double(),
        "odd.half": torch.tensor([65504.0, 6e-8, -0.0, float("inf"), 1e-7]).half(),
        "odd.double": torch.tensor([1e300, 1e-300, 0.1, 1 + 2**-24, 1 + 3 * 2**-24]).double(),
        "transposed": random(4, 6).t(),
        "cut.rows": base[2:5],
        "cut.columns": base[:, 3:6],
        "stepped": base[::2, ::3],
        "expanded": random(4, 1).expand(4, 3),
        "permuted": random(2, 3, 4).permute(2, 0, 1),
        "tied.first": tied,
        "tied.second": tied,
        "parameter": torch.nn.Parameter(random(2, 3)),
    }


tensors = kinds()
torch.save(tensors, "kinds.bin")
save_file(
    {name: tensor.detach().float().contiguous().clone() for name, tensor in tensors.items()},
    "kinds.safetensors")

# With the attribute `_metadata`, which modules give to their state.
module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
module.load_state_dict({
    "0.weight": torch.arange(6.0).view(2, 3), "0.bias": torch.tensor([0.5, -0.5]),
    "1.weight": torch.ones(2), "1.bias": torch.zeros(2)})
torch.save(module.state_dict(), "state-dict.bin")

few = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor([7.0])}
for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
    torch.save(few, f"protocol-{protocol}.bin", pickle_protocol=protocol)
torch.serialization.set_crc32_options(False)
torch.save(few, "without-checksums.bin")
torch.serialization.set_crc32_options(True)
torch.save({"a": torch.arange(4), "b": torch.tensor([True])}, "integers.bin")
torch.save({"a": torch.ones(2).to(torch.float8_e4m3fn)}, "float8.bin")
torch.save({"a": torch.ones(2, dtype=torch.complex64)}, "complex.bin")
torch.save({"model": few, "step": 3}, "nested.bin")
torch.save(few, "legacy.bin", _use_new_zipfile_serialization=False)
