"""What every component with weights does: build, move, save, learn."""

import io
import pickle
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from mmkit.interfaces import HasAssets
from mmkit.model.checkpoint import unique
from mmkit.model.tensor_file import aligned
from mmkit.testing.check import MODULES, BrokenError, NotApplicable, check, require
from mmkit.testing.subject import Subject
from mmkit.wiring.empty import empty_weights


@check("silver", MODULES, "draw fresh weights from torch's global generator only")
def same_seed_gives_same_weights(subject: Subject) -> None:
    """Two builds with one seed have the same weights."""
    first, second = subject.build(seed=3).state_dict(), subject.build(seed=3).state_dict()
    require(list(first) == list(second), "the names of the weights differ")
    for name, value in first.items():
        require(torch.equal(value, second[name]), f"{name} differs")


@check("silver", MODULES, "make buffers in full and parameters only where they are registered; read no weights then")
def builds_without_weights(subject: Subject) -> None:
    """Built without weights, on the meta device, it has the same names, shapes and buffers."""
    whole, empty = subject.built, subject.empty()
    shapes = {name: tuple(p.shape) for name, p in whole.named_parameters()}
    require(shapes == {name: tuple(p.shape) for name, p in empty.named_parameters()}, "names or shapes differ")
    real = [name for name, p in empty.named_parameters() if not p.is_meta]
    require(not real, f"with memory of their own: {', '.join(real[:5])}")
    kept = set(whole.state_dict())
    for name, buffer in whole.named_buffers():
        other = dict(empty.named_buffers()).get(name)
        if other is None or other.is_meta:
            raise BrokenError(f"the buffer {name} is missing or has no values")
        if name not in kept:
            require(torch.equal(other, buffer), f"the buffer {name}, which no checkpoint holds, has other values")


@check("bronze", MODULES, "register weights as parameters and what else is needed as buffers, or save it as assets")
def weights_round_trip(subject: Subject) -> None:
    """Weights saved as safetensors, loaded into one built without weights, give the same output, bit for bit."""
    with tempfile.TemporaryDirectory(dir=subject.folder) as name:
        assets, file = Path(name) / "assets", Path(name) / "weights.safetensors"
        if isinstance(subject.built, HasAssets):
            assets.mkdir()
            subject.built.save_assets(assets)
        tensors, aliases = unique(subject.built.state_dict())
        save_file(tensors, file)
        with empty_weights():
            again = subject.build(assets=assets if assets.is_dir() else None, load_weights=False)
        state = {key: aligned(tensor) for key, tensor in load_file(file).items()}
        again.load_state_dict({**state, **{alias: state[of] for alias, of in aliases.items()}}, assign=True)
    with torch.no_grad():
        got = subject.run(again.eval(), subject.inputs)
    wanted = subject.outputs()
    require(got.sizes == wanted.sizes and torch.equal(got.values, wanted.values), "the output is another one")


@check("silver", MODULES, "hold tensors as parameters or buffers, so that .to() moves them")
def tensors_are_registered(subject: Subject) -> None:
    """Every tensor that the module holds is a parameter or a buffer, so that it moves to a device with it."""
    loose = []
    for name, module in subject.built.named_modules():
        for attribute, value in vars(module).items():
            if isinstance(value, Tensor) and attribute not in ("_parameters", "_buffers"):
                loose.append(f"{name}.{attribute}".lstrip("."))
    require(not loose, f"plain attributes: {', '.join(loose[:5])}")


@check("silver", MODULES, "take the type and the device of new tensors from the input or from a weight")
def moves_to_float64(subject: Subject) -> None:
    """In float64 it gives float64, close to the float32 result."""
    module = subject.build().double()
    with torch.no_grad():
        got = subject.run(module, subject.inputs, torch.float64)
    if subject.component.kind != "head":  # a loss may be summed in float32
        require(got.values.dtype == torch.float64, f"the output is {got.values.dtype}")
    subject.close(got.values, subject.outputs().values, "float64 beside float32", times=10)


@check("silver", MODULES, "take the device of new tensors from the input; lengths stay on the CPU")
def moves_to_an_accelerator(subject: Subject) -> None:
    """On an accelerator it gives what it gives on the CPU."""
    if not torch.cuda.is_available():
        raise NotApplicable("no accelerator here")
    module = subject.build().cuda()
    with torch.no_grad():
        got = subject.run(module, subject.inputs, "cuda")
    subject.close(got.values.cpu(), subject.outputs().values, "accelerator beside CPU", times=1000)


@check("silver", MODULES, "compute what needs more range (norms, softmax, sums) in float32")
def runs_in_bfloat16(subject: Subject) -> None:
    """Under bfloat16 autocast the output is finite and near that of float32."""
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        got = subject.run(subject.built, subject.inputs)
    require(bool(got.values.isfinite().all()), "the output is not finite")
    wanted = subject.outputs().values
    worst = float((got.values.float() - wanted).abs().max()) / max(1.0, float(wanted.abs().max()))
    require(worst < 0.1, f"the output differs by {worst:.2f} of the largest value")


@check("bronze", MODULES, "turn dropout and other random parts off in evaluation mode")
def is_deterministic(subject: Subject) -> None:
    """In evaluation mode the same input gives the same output, whatever the random state."""
    first = subject.outputs().values
    torch.rand(7)
    require(torch.equal(first, subject.outputs().values), "the second output is another one")


@check("bronze", MODULES, "use every parameter in forward, or remove it; detach nothing on the way")
def gradients_reach_every_weight(subject: Subject) -> None:
    """Every trainable parameter gets a finite gradient, and frozen ones get none."""
    module = subject.build().train()
    trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
    if not trained:
        raise NotApplicable("it has no parameters")
    torch.manual_seed(0)
    output = subject.run(module, subject.inputs).values.float()
    if output.requires_grad:
        weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(5))
        (output * weights).sum().backward()
    gradients = {name: p.grad for name, p in trained.items()}
    exempt = _unused(subject, module)
    without = [name for name, gradient in gradients.items() if gradient is None and name not in exempt]
    require(not without, f"without gradient: {', '.join(without[:5])}")
    odd = [name for name, gradient in gradients.items() if gradient is not None and not gradient.isfinite().all()]
    require(not odd, f"gradient not finite: {', '.join(odd[:5])}")
    frozen = subject.build().requires_grad_(False)
    require(not subject.run(frozen, subject.inputs).values.requires_grad, "frozen, its output still asks for gradients")


@check("silver", MODULES, "keep training mode free of what cannot be computed, for example statistics over one row")
def trains_on_one_sample(subject: Subject) -> None:
    """In training mode a batch of one sample gives a finite output."""
    output = subject.run(subject.build().train(), subject.inputs[:1]).values
    require(bool(output.isfinite().all()), "the output is not finite")


@check("silver", ("adapter", "head"), "hold no lambdas, open files or generators")
def travels_to_a_worker(subject: Subject) -> None:
    """Without its weights it pickles to little, and still counts tokens or makes targets there."""
    from mmkit.model.weightless import weightless

    twin = weightless(subject.built)
    buffer = io.BytesIO()
    pickle.dump(twin, buffer)
    require(buffer.tell() < 1_000_000, f"it pickles to {buffer.tell():,} bytes")
    again = pickle.loads(buffer.getvalue())
    if subject.component.kind == "adapter":
        got, wanted = again.num_tokens(9), subject.built.num_tokens(9)
        require(got == wanted, f"there num_tokens(9) is {got}, here {wanted}")


def _unused(subject: Subject, module: Any) -> set[str]:
    """What a backbone's forward does not touch: the table and the output layer, which embed and logits use."""
    if subject.component.kind != "backbone":
        return set()
    used = set()
    ids = torch.arange(3)
    module.zero_grad()
    hidden = module.embed(ids)
    if module.generates:
        width = int(module.hidden_dim)
        module.logits(torch.randn(3, width)).sum().backward()
        used |= {name for name, p in module.named_parameters() if p.grad is not None}
        module.zero_grad()
    if hidden.requires_grad:
        hidden.sum().backward()
        used |= {name for name, p in module.named_parameters() if p.grad is not None}
    return used
